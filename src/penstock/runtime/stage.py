"""Swapping: prepare everything beside what serves, move one pointer, then let go of what is left over.

A slot has a stage of its own until it joins a pipeline; the pipeline's stage then swaps all its slots under one pointer.
So a slot cannot be swapped behind its pipeline's back: there is only one pointer, whoever moves it.
"""

import concurrent.futures
import logging
import threading
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.kernel.errors import NothingWarm, SlotEmpty, StillServing, SwapRefused
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

    Leases wait for none of its locks.

    Attributes:
        pointer: what leases read.
        swapping: held through a whole swap, loading included, by whoever calls `swap` or `prepare`.
        lock: held while what serves changes, so that a rollback does not wait for another version's load. Whoever calls
            anything but `swap` and `prepare` holds it; those two take it.
        drain: where its bundles wait for their leases.
    """

    def __init__(self, name: str, shelves: Sequence[Shelf]) -> None:
        self.pointer = Pointer()
        self.swapping = threading.Lock()
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
        self.split(None)
        old, self.pointer.current = self.pointer.current, Bundle({})
        self.drain.retire(old)

    def draining(self, shelf: Shelf) -> tuple[str, ...]:
        """Return the versions of one shelf that still have leases out, though they serve no longer."""
        return tuple(version for drain in self._drains for version in drain.versions(shelf))

    def swap(self, wanted: Mapping[Shelf, str], *, drain_first: bool, drain_timeout_s: float) -> Switched:
        """Serve these versions, all of them or none.

        Raises SwapRefused (DoesNotFit before anything is loaded); what served before still serves then.
        """
        if drain_first:
            with self.lock:
                missing = self._missing(wanted)
                if any(shelf.find(version) is None for shelf, version in missing.items()):
                    self._refuse_while_split(missing)
                    return self._drain_swap(missing, drain_timeout_s)
        prepared: dict[Shelf, Prepared] = {}
        # A rollback may have changed another part meanwhile; then there is more to prepare.
        while (switched := self._publish_if_ready(wanted, prepared)) is None:
            try:
                self._prepare(wanted, prepared)
            except BaseException:
                _discard(prepared)
                raise
        return switched

    def prepare(self, wanted: Mapping[Shelf, str]) -> dict[Shelf, Prepared]:
        """Make these versions ready, all of them or none, and keep them so; return what that took.

        Raises SwapRefused (DoesNotFit before anything is loaded). What serves is not touched.
        """
        prepared: dict[Shelf, Prepared] = {}
        while not self._pinned_if_ready(wanted, prepared):
            try:
                self._prepare(wanted, prepared)
            except BaseException:
                _discard(prepared)
                raise
        return prepared

    def switch(self, wanted: Mapping[Shelf, str], release: str | None) -> Switched:
        """Serve these versions, which must be ready: no load. Raises SwapRefused, and nothing has changed then."""
        missing = self._missing(wanted)
        if not missing:
            self.pointer.current.release = release
            return Switched(self._versions(), self._serving(), {})
        ready = {shelf: Prepared(_found(shelf, version), reused=True) for shelf, version in missing.items()}
        return self._publish(ready, release=release)

    def split(self, wanted: Mapping[Shelf, str] | None, release: str | None = None) -> None:
        """Serve the canary's requests with these versions, which must be ready, beside what serves now; None ends it.

        The set stays as it is when what serves changes. Raises SwapRefused and SlotEmpty, and nothing has changed then.
        """
        canary = None if wanted is None else self._canary(wanted)
        old = self.pointer.canary
        if old is not None and canary is not None and old.loaded == canary:
            old.release = release
            return
        self.pointer.canary = None if canary is None else Bundle(canary, release=release)
        if old is not None:
            self.drain.retire(old)

    def _canary(self, wanted: Mapping[Shelf, str]) -> dict[Shelf, Loaded]:
        chosen = {shelf: _found(shelf, version) for shelf, version in wanted.items()}
        together = self._serving() | chosen
        lacking = [shelf.name for shelf in self._shelves if shelf not in together]
        if lacking:
            raise SlotEmpty(slot=self._name, parts=", ".join(lacking))
        for shelf, loaded in chosen.items():
            shelf.pin(loaded)
        return together

    def give_up(self, unwanted: Mapping[Shelf, str]) -> None:
        """Let go of versions that are ready and do not serve; what is not in memory is none of its business.

        Raises StillServing, and nothing has changed then.
        """
        canary = self.pointer.canary.loaded if self.pointer.canary else {}
        found = {shelf: shelf.find(version) for shelf, version in unwanted.items()}
        for shelf, loaded in found.items():
            if loaded is not None and loaded in (shelf.serving, canary.get(shelf)):
                whom = "it serves" if loaded is shelf.serving else "it serves the canary's requests"
                raise StillServing(slot=shelf.name, version=loaded.version, why=whom)
        for shelf, loaded in found.items():
            if loaded is not None:
                shelf.give_up([loaded])

    def _refuse_while_split(self, missing: Mapping[Shelf, str]) -> None:
        if self.pointer.canary is not None:
            shelf, version = next(iter(missing.items()))
            why = "a canary is split off, and its versions cannot be unloaded; end the split first"
            raise SwapRefused(slot=shelf.name, version=version, why=why, now=shelf.now())

    def roll_back(self, shelf: Shelf | None = None) -> Switched:
        """Serve the set that served before, or the earlier version of one shelf; no load.

        A version that was rolled back from is not returned to. Raises NothingWarm.
        """
        target = self._earlier_set() if shelf is None else _earlier_one(shelf)
        if not target:
            raise NothingWarm(slot=shelf.name if shelf else self._name, serving=self._in_words())
        return self._publish({each: Prepared(loaded, reused=True) for each, loaded in target.items()}, leaving=True)

    def _serving(self) -> dict[Shelf, Loaded]:
        return {shelf: shelf.serving for shelf in self._shelves if shelf.serving is not None}

    def _versions(self) -> dict[Shelf, str]:
        return {shelf: loaded.version for shelf, loaded in self._serving().items()}

    def _in_words(self) -> str:
        return ", ".join(f"{shelf.name} {version}" for shelf, version in self._versions().items()) or "nothing"

    def _missing(self, wanted: Mapping[Shelf, str], prepared: Container[Shelf] = ()) -> dict[Shelf, str]:
        """Return what neither serves nor is prepared."""
        now = self._versions()
        return {s: version for s, version in wanted.items() if s not in prepared and now.get(s) != version}

    def _earlier_set(self) -> dict[Shelf, Loaded]:
        """Return what must change to serve the last earlier set in which nothing was rolled back from."""
        now = self._serving()
        for earlier in self._earlier:
            differs = {shelf: loaded for shelf, loaded in earlier.items() if now.get(shelf) is not loaded}
            fits = earlier.keys() == now.keys() and not any(loaded.left for loaded in earlier.values())
            if differs and fits and _still_ready(earlier):
                return differs
        return {}

    def _prepare(self, wanted: Mapping[Shelf, str], prepared: dict[Shelf, Prepared]) -> None:
        """Add what is missing to what is prepared: what is warm as it is, the rest by loading it."""
        with self.lock:
            missing = self._missing(wanted, prepared)
            warm = {shelf: shelf.find(version) for shelf, version in missing.items()}
            prepared |= {shelf: Prepared(found, reused=True) for shelf, found in warm.items() if found is not None}
            cold = {shelf: version for shelf, version in missing.items() if warm[shelf] is None}
            ahead = Footprint()
            for shelf, version in cold.items():
                ahead += shelf.make_room(version, ahead)
        for shelf, version in cold.items():
            prepared[shelf] = shelf.load(version)

    def _publish_if_ready(self, wanted: Mapping[Shelf, str], prepared: dict[Shelf, Prepared]) -> Switched | None:
        with self.lock:
            if self._lacks(wanted, prepared):
                return None
            if not prepared:
                return Switched(self._versions(), self._serving(), {})
            return self._publish(prepared)

    def _pinned_if_ready(self, wanted: Mapping[Shelf, str], prepared: dict[Shelf, Prepared]) -> bool:
        with self.lock:
            if self._lacks(wanted, prepared):
                return False
            for shelf, each in prepared.items():
                shelf.pin(each.loaded)
            return True

    def _lacks(self, wanted: Mapping[Shelf, str], prepared: dict[Shelf, Prepared]) -> bool:
        """Return whether more must be prepared; a version that was warm may have been given up meanwhile."""
        for shelf in [s for s, each in prepared.items() if each.reused and each.loaded not in s.ready()]:
            del prepared[shelf]
        return bool(self._missing(wanted, prepared))

    def _publish(
        self, prepared: Mapping[Shelf, Prepared], *, leaving: bool = False, release: str | None = None
    ) -> Switched:
        """Serve what is prepared, note what is kept, and only then let go of what is not."""
        before = self._serving()
        after = before | {shelf: each.loaded for shelf, each in prepared.items()}
        switched = Switched({shelf: each.version for shelf, each in before.items()}, after, prepared)
        old, bundle = self.pointer.current, Bundle(after, release=release)
        began_s = time.perf_counter()
        self.pointer.current = bundle
        switched = replace(switched, seconds_switching=time.perf_counter() - began_s)
        over = [loaded for shelf, each in prepared.items() for loaded in shelf.adopt(each.loaded, leaving=leaving)]
        known = [each for each in self._earlier if each != before]
        if before and not leaving:
            known.insert(0, before)
        self._earlier = [each for each in known if _still_ready(each)]
        if old.reopened is not None:
            old.reopened.set_result(None)
        self.drain.retire(old)
        for loaded in over:
            loaded.evict()
        return switched

    def _drain_swap(self, missing: Mapping[Shelf, str], timeout_s: float) -> Switched:
        """Let no lease out, wait for those that are out, unload, load, and let leases out again."""
        before = self._versions()
        began_s = time.perf_counter()
        prepared: dict[Shelf, Prepared] = {}
        try:
            old, self.pointer.current = self.pointer.current, Bundle({}, reopened=concurrent.futures.Future())
            self.drain.retire(old)
            self._unload_for(missing, began_s + timeout_s)
            for shelf, version in missing.items():
                found = shelf.find(version)
                prepared[shelf] = shelf.load(version) if found is None else Prepared(found, reused=True)
        except BaseException as error:
            _discard(prepared)
            self._restore(before)
            if isinstance(error, SwapRefused):
                raise SwapRefused(**error.facts | {"now": f"Serving again: {self._in_words()}"}) from error
            raise
        switched = self._publish(prepared)
        return replace(switched, before=before, seconds_closed=time.perf_counter() - began_s)

    def _unload_for(self, missing: Mapping[Shelf, str], until_s: float) -> None:
        """Unload all versions of the shelves that change, but for one that is to serve."""
        doomed = {
            shelf: [loaded for loaded in shelf.ready() if loaded.version != version]
            for shelf, version in missing.items()
        }
        for shelf, versions in doomed.items():
            for loaded in versions:
                if not loaded.wait_idle(until_s - time.perf_counter()):
                    why = f"leases on version {loaded.version} did not come back in time"
                    raise SwapRefused(slot=shelf.name, version=missing[shelf], why=why, now=shelf.now())
        for shelf, versions in doomed.items():
            shelf.give_up(versions)

    def _restore(self, before: Mapping[Shelf, str]) -> None:
        """Serve again what served before a drain-swap failed, loading again what was unloaded for it."""
        again: dict[Shelf, Prepared] = {}
        for shelf, version in before.items():
            if shelf.serving is None:
                try:
                    again[shelf] = shelf.load(version)
                except SwapRefused:
                    _log.exception("slot %s: version %s could not be loaded again", shelf.name, version)
        self._publish(again)


def _discard(prepared: Mapping[Shelf, Prepared]) -> None:
    """Unload what was loaded for a swap that is not to be."""
    for each in prepared.values():
        if not each.reused:
            each.loaded.evict()


def _found(shelf: Shelf, version: str) -> Loaded:
    """Return a version that is ready; raise SwapRefused when it is not."""
    found = shelf.find(version)
    if found is None:
        raise SwapRefused(slot=shelf.name, version=version, why="it is not prepared", now=shelf.now())
    return found


def _still_ready(versions: Mapping[Shelf, Loaded]) -> bool:
    return all(loaded in shelf.ready() for shelf, loaded in versions.items())


def _earlier_one(shelf: Shelf) -> dict[Shelf, Loaded]:
    earlier = shelf.earlier()
    return {} if earlier is None else {shelf: earlier}
