"""One version in memory, and who still needs it."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from penstock.runtime.memory import Footprint

_log = logging.getLogger("penstock.runtime")


class Loaded:
    """One version of one component in memory.

    It is unloaded once: when its slot has let it go (`evict`) and the last bundle that serves it has drained, whichever
    comes last. Who makes that so also unloads, so nothing here is ever called from a request.

    Attributes:
        slot, version: what it is.
        model: what the user's `load` returned; gone once it is unloaded.
        footprint: what loading and warming it up took.
        seconds_loading: in the user's `load`.
        left: it was rolled back from; `roll_back` does not return to it.
    """

    __slots__ = (
        "_changed",
        "_evicted",
        "_n_bundles",
        "_unload",
        "footprint",
        "left",
        "model",
        "seconds_loading",
        "slot",
        "version",
    )

    def __init__(
        self, slot: str, version: str, model: Any, footprint: Footprint, unload: Callable[[Any], object] | None
    ) -> None:
        self.slot = slot
        self.version = version
        self.model = model
        self.footprint = footprint
        self.seconds_loading = 0.0
        self.left = False
        self._unload = unload
        self._changed = threading.Condition()
        self._n_bundles = 0
        self._evicted = False

    def hold(self) -> None:
        """A bundle needs it from now on."""
        with self._changed:
            self._n_bundles += 1

    def let_go(self) -> None:
        """A bundle has drained; unload if it was the last, and the slot has let go too."""
        with self._changed:
            self._n_bundles -= 1
            due = self._evicted and not self._n_bundles
            self._changed.notify_all()
        if due:
            self._dispose()

    def evict(self) -> None:
        """The slot keeps it no longer; unload now, or when the last bundle has drained."""
        with self._changed:
            self._evicted = True
            due = not self._n_bundles
        if due:
            self._dispose()

    @property
    def idle(self) -> bool:
        """No bundle needs it, so it could be unloaded now."""
        return not self._n_bundles

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no bundle needs it; return False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._n_bundles, timeout_s)

    def _dispose(self) -> None:
        """Give the memory back. A fault in the user's `unload` is logged: what serves meanwhile is not concerned."""
        model = self.model
        del self.model
        try:
            if self._unload is not None:
                self._unload(model)
        except Exception:  # noqa: BLE001 - it is the user's code, and whoever returned the last lease is not to blame
            _log.exception("slot %s: unload of version %s failed", self.slot, self.version)
