"""Waits for the leases on what no longer serves, and lets it go when the last one is back."""

import logging
import threading
from queue import SimpleQueue

from penstock.runtime.lease import Bundle
from penstock.runtime.shelf import Shelf

_log = logging.getLogger("penstock.runtime")


class Drain:
    """Lets go of bundles whose leases are back.

    Where none is out, that happens at once in the caller; else in a thread that lives only while a bundle is draining,
    so that no request and no event loop ever runs a user's `unload`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._draining: set[Bundle] = set()
        self._runs = False
        # A lease can come back inside the garbage collector, in any thread, at any line: only SimpleQueue.put is safe there.
        self._returned: SimpleQueue[Bundle] = SimpleQueue()

    def retire(self, bundle: Bundle) -> None:
        """Let go of a bundle that serves no longer: now, or with its last lease."""
        bundle.retired = self._returned.put
        with self._lock:
            leased = bool(bundle.leases)
            if leased:
                self._draining.add(bundle)
            starts, self._runs = leased and not self._runs, leased or self._runs
        if not leased:
            bundle.let_go()
        elif starts:
            self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name=f"penstock-drain-{self._name}", daemon=True).start()
        except RuntimeError:
            # No thread to be had: what serves is not concerned, and the next swap tries again.
            self._runs = False
            _log.exception("%s: what was replaced stays in memory until the next swap", self._name)

    def versions(self, shelf: Shelf) -> tuple[str, ...]:
        """Return which versions of one component are draining."""
        with self._lock:
            found = (bundle.loaded.get(shelf) for bundle in self._draining)
            return tuple(loaded.version for loaded in found if loaded is not None)

    def _run(self) -> None:
        more = True
        while more:
            bundle = self._returned.get()
            with self._lock:
                # A bundle is announced twice when its last two leases come back together, and also where `retire` saw it empty.
                known = bundle in self._draining
            if known:
                bundle.let_go()
            with self._lock:
                self._draining.discard(bundle)
                more = self._runs = bool(self._draining)
            del bundle  # waiting for the next one must not keep this one's memory
