"""Swapping: prepare everything beside what serves, move one pointer, then let go of what is left over.

A slot has a stage of its own until it joins a pipeline; the pipeline's stage then swaps all its slots under one pointer.
So a slot cannot be swapped behind its pipeline's back: there is only one pointer, whoever moves it.
"""

import concurrent.futures
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.kernel.errors import NothingWarm, SwapRefused
from penstock.runtime.drain import Drain
from penstock.runtime.lease import Bundle, Pointer
from penstock.runtime.loaded import Loaded
from penstock.runtime.memory import Footprint
from penstock.runtime.shelf import Prepared, Shelf

_log = logging.getLogger("penstock.runtime")


@dataclass(frozen=True, slots=True)
class Switched:
    """What a swap did.

    Attributes:
        before: shelf -> the version that served before; a shelf that had none is missing.
        after: shelf -> what serves now.
        prepared: of each shelf that changed, what it took.
        seconds_switching: how long the pointer took to move.
        seconds_closed: how long no lease was given out; 0 but for a drain-swap.
    """

    before: Mapping[Shelf, str]
    after: Mapping[Shelf, Loaded]
    prepared: Mapping[Shelf, Prepared]
    seconds_switching: float = 0.0
    seconds_closed: float = 0.0


class Stage:
    """Shelves that swap together.

    Every method but `draining` is called with `lock` held: swaps are serialised, leases never wait for them.

    Attributes:
        pointer: what leases read.
        lock: held through a whole swap, loading included.
        drain: where its bundles wait for their leases.
    """

    def __init__(self, name: str, shelves: Sequence[Shelf]) -> None:
        self.pointer = Pointer()
        self.lock = threading.Lock()
        self._name = name
        self._shelves = tuple(shelves)
        self.drain = Drain(name)
        self._drains = [self.drain]
        self._earlier: list[dict[Shelf, Loaded]] = []

    def take_over(self, others: Sequence["Stage"]) -> None:
        """Serve what the shelves serve on other stages, which then `leave`."""
        self.pointer.current = Bundle(self._serving())
        self._drains += [other.drain for other in others]

    def leave(self) -> None:
        """Serve nothing any more, because another stage took over; leases that are out are waited for as ever."""
        self._point(Bundle({}))

    def draining(self, shelf: Shelf) -> tuple[str, ...]:
        """Return the versions of one shelf that still have leases out, though they serve no longer."""
        return tuple(version for drain in self._drains for version in drain.versions(shelf))

    def swap(self, wanted: Mapping[Shelf, str], *, drain_first: bool, drain_timeout_s: float) -> Switched:
        """Serve these versions, all of them or none.

        Raises SwapRefused (DoesNotFit before anything is loaded); what served before still serves then.
        """
        before = self._versions()
        changed = {shelf: version for shelf, version in wanted.items() if before.get(shelf) != version}
        if not changed:
            return Switched(before, self._serving(), {})
        if drain_first:
            return self._drain_swap(changed, drain_timeout_s)
        self._make_room(changed)
        prepared = self._prepare(changed)
        seconds = self._publish(prepared)
        return Switched(before, self._serving(), prepared, seconds)

    def roll_back(self, shelf: Shelf | None = None) -> Switched:
        """Serve the set that served before, or the earlier version of one shelf; no load.

        A version that was rolled back from is not returned to. Raises NothingWarm.
        """
        before = self._versions()
        target = self._earlier_set() if shelf is None else _one(shelf)
        if not target:
            serving = ", ".join(f"{shelf.name} {version}" for shelf, version in before.items()) or "nothing"
            raise NothingWarm(slot=shelf.name if shelf else self._name, serving=serving)
        prepared = {shelf: Prepared(loaded, reused=True) for shelf, loaded in target.items()}
        seconds = self._publish(prepared, leaving=True)
        return Switched(before, self._serving(), prepared, seconds)

    def _serving(self) -> dict[Shelf, Loaded]:
        return {shelf: shelf.serving for shelf in self._shelves if shelf.serving is not None}

    def _versions(self) -> dict[Shelf, str]:
        return {shelf: loaded.version for shelf, loaded in self._serving().items()}

    def _earlier_set(self) -> dict[Shelf, Loaded]:
        """Return what must change to serve the last earlier set in which nothing was rolled back from."""
        now = self._serving()
        for earlier in self._earlier:
            differs = {shelf: loaded for shelf, loaded in earlier.items() if now.get(shelf) is not loaded}
            if differs and earlier.keys() == now.keys() and not any(loaded.left for loaded in earlier.values()):
                return differs
        return {}

    def _make_room(self, changed: Mapping[Shelf, str]) -> None:
        ahead = Footprint()
        for shelf, version in changed.items():
            if shelf.find(version) is None:
                ahead += shelf.make_room(version, ahead)

    def _prepare(self, changed: Mapping[Shelf, str]) -> dict[Shelf, Prepared]:
        prepared: dict[Shelf, Prepared] = {}
        try:
            for shelf, version in changed.items():
                prepared[shelf] = shelf.prepare(version)
        except BaseException:
            for each in prepared.values():
                if not each.reused:
                    each.loaded.evict()
            raise
        return prepared

    def _publish(self, prepared: Mapping[Shelf, Prepared], *, leaving: bool = False) -> float:
        """Serve what is prepared; return how long the switch took, in seconds."""
        before = self._serving()
        after = before | {shelf: each.loaded for shelf, each in prepared.items()}
        seconds = self._point(Bundle(after))
        for shelf, each in prepared.items():
            shelf.adopt(each.loaded, leaving=leaving)
        known = [each for each in self._earlier if each != before]
        if before and not leaving:
            known.insert(0, before)
        self._earlier = [each for each in known if all(loaded in shelf.ready() for shelf, loaded in each.items())]
        return seconds

    def _point(self, bundle: Bundle) -> float:
        old = self.pointer.current
        began_s = time.perf_counter()
        self.pointer.current = bundle
        seconds = time.perf_counter() - began_s
        self.drain.retire(old)
        if old.reopened is not None:
            old.reopened.set_result(None)
        return seconds

    def _drain_swap(self, changed: Mapping[Shelf, str], timeout_s: float) -> Switched:
        """Let no lease out, wait for those that are out, unload, load, and let leases out again."""
        before = self._versions()
        began_s = time.perf_counter()
        self._point(Bundle({}, reopened=concurrent.futures.Future()))
        try:
            self._unload_for(changed, began_s + timeout_s)
            prepared = self._prepare(changed)
        except BaseException as error:
            self._restore(before)
            if isinstance(error, SwapRefused):
                now = ", ".join(f"{s.name} {v}" for s, v in self._versions().items())
                raise SwapRefused(**error.facts | {"now": f"Serving again: {now or 'nothing'}"}) from error
            raise
        seconds = self._publish(prepared)
        return Switched(before, self._serving(), prepared, seconds, time.perf_counter() - began_s)

    def _unload_for(self, changed: Mapping[Shelf, str], until_s: float) -> None:
        """Unload all versions of the shelves that change, but for one that is to serve."""
        doomed = {
            shelf: [loaded for loaded in shelf.ready() if loaded.version != version]
            for shelf, version in changed.items()
        }
        for shelf, versions in doomed.items():
            for loaded in versions:
                if not loaded.wait_idle(until_s - time.perf_counter()):
                    why = f"leases on version {loaded.version} did not come back in time"
                    raise SwapRefused(slot=shelf.name, version=changed[shelf], why=why, now=shelf.now())
        for shelf, versions in doomed.items():
            shelf.give_up(versions)

    def _restore(self, before: Mapping[Shelf, str]) -> None:
        """Serve again what served before a drain-swap failed, loading again what was unloaded for it."""
        again: dict[Shelf, Prepared] = {}
        for shelf, version in before.items():
            if shelf.serving is None:
                try:
                    again[shelf] = shelf.prepare(version)
                except SwapRefused:
                    _log.exception("slot %s: version %s could not be loaded again", shelf.name, version)
        self._publish(again)


def _one(shelf: Shelf) -> dict[Shelf, Loaded]:
    earlier = shelf.earlier()
    return {} if earlier is None else {shelf: earlier}
