"""A pipeline: slots whose versions serve together, so that no request mixes them."""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import UnknownPart
from penstock.kernel.names import checked_version
from penstock.runtime.lease import Bundle, Parts, PipelineLease, Pointer
from penstock.runtime.report import PipelineReport, report_of
from penstock.runtime.seat import joined
from penstock.runtime.shelf import Shelf
from penstock.runtime.slot import Slot
from penstock.runtime.stage import Stage, Switched


class Whole:
    """What a pipeline's leases read: the stage's pointer, and a bundle in which no part is missing."""

    __slots__ = ("name", "pointer", "shelves")

    def __init__(self, name: str, pointer: Pointer, shelves: Mapping[str, Shelf]) -> None:
        self.name = name
        self.pointer = pointer
        self.shelves = shelves

    def pick(self, bundle: Bundle) -> Parts | None:
        """Return the parts of a bundle; None when one is missing."""
        if bundle.parts is None and len(bundle.loaded) == len(self.shelves):
            bundle.parts = Parts({part: bundle.loaded[shelf] for part, shelf in self.shelves.items()})
        return bundle.parts

    def missing(self, bundle: Bundle) -> str:
        """Return the parts that a bundle lacks."""
        return ", ".join(part for part, shelf in self.shelves.items() if shelf not in bundle.loaded)


class Pipeline:
    """Serves one consistent set of versions, one of each part, and swaps any of them in one step.

    A slot belongs to one pipeline for good. Its own `swap`, `roll_back` and `lease` go on working, and go through the
    pipeline: `slot.swap(version)` is `pipeline.swap({part: version})`, so every set that ever serves is one that was
    switched to as a whole. What a pipeline cannot see is a request that takes two leases on two slots: take one here.

    Safe to use from any number of threads and event loops, as a slot is.

    Args:
        slots: part -> slot. What they serve already goes on serving.
        name: what messages call it.
    """

    def __init__(self, slots: Mapping[str, Slot[Any]], *, name: str = "pipeline") -> None:
        if not slots:
            raise ValueError("a pipeline needs slots")
        self._shelves = {part: slot.seat.shelf for part, slot in slots.items()}
        self._stage: Stage = joined(name, [slot.seat for slot in slots.values()])
        self._whole = Whole(name, self._stage.pointer, self._shelves)

    def swap(
        self, versions: Mapping[str, str], *, drain_first: bool = False, drain_timeout_s: float = 30.0
    ) -> PipelineReport:
        """Serve these versions of these parts, all or nothing; the other parts stay as they are.

        Everything is loaded, warmed up and checked first, then one pointer moves for the whole set. Raises what
        `Slot.swap` raises, and UnknownPart; nothing has changed then. `drain_first` is as in `Slot.swap`.
        """
        wanted = {self._shelf(part): checked_version(version) for part, version in versions.items()}
        with self._stage.swapping:
            return self._report(self._stage.swap(wanted, drain_first=drain_first, drain_timeout_s=drain_timeout_s))

    def roll_back(self) -> PipelineReport:
        """Serve the set that served before, at once: all of it is still warm, and no load is waited for.

        To take one part back alone, call its slot's `roll_back`. A set with a version that was rolled back from is not
        returned to. Raises NothingWarm when there is no other, or when a part of it is no longer in memory.
        """
        with self._stage.lock:
            return self._report(self._stage.roll_back())

    def lease(self, *, wait_s: float = 0.0) -> PipelineLease:
        """Pin the set that serves, for one request: `with pipeline.lease() as parts`, or `async with`.

        `parts[name]` is a model, `parts.versions` says which versions they are. Raises SlotEmpty while a part has no version
        yet; `wait_s` is as in `Slot.lease`.
        """
        return PipelineLease(self._whole, wait_s)

    @property
    def versions(self) -> dict[str, str]:
        """Part -> the version that serves; parts that have none are missing, and all are during a drain-swap."""
        loaded = self._stage.pointer.current.loaded
        return {part: loaded[shelf].version for part, shelf in self._shelves.items() if shelf in loaded}

    def _shelf(self, part: str) -> Shelf:
        if part not in self._shelves:
            raise UnknownPart(part=part, known=", ".join(self._shelves))
        return self._shelves[part]

    def _report(self, switched: Switched) -> PipelineReport:
        parts = {part: report_of(shelf, switched) for part, shelf in self._shelves.items() if shelf in switched.after}
        return PipelineReport(parts, switched.seconds_switching, switched.seconds_closed)
