"""A pipeline: slots whose versions serve together, so that no request mixes them."""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import UnknownPart
from penstock.kernel.names import checked_version
from penstock.runtime.lease import Bundle, Parts, PipelineLease, Pointer
from penstock.runtime.report import PipelineReport, PrepareReport, SlotState, prepare_report_of, report_of, state_of
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
        #: Part -> its versions in memory; for whoever mounts a pipeline.
        self.shelves = {part: slot.seat.shelf for part, slot in slots.items()}
        #: Where its parts swap together.
        self.stage: Stage = joined(name, [slot.seat for slot in slots.values()])
        self._whole = Whole(name, self.stage.pointer, self.shelves)

    def swap(
        self, versions: Mapping[str, str], *, drain_first: bool = False, drain_timeout_s: float = 30.0
    ) -> PipelineReport:
        """Serve these versions of these parts, all or nothing; the other parts stay as they are.

        Everything is loaded, warmed up and checked first, then one pointer moves for the whole set. Raises what
        `Slot.swap` raises, and UnknownPart; nothing has changed then. `drain_first` is as in `Slot.swap`.
        """
        wanted = self._wanted(versions)
        with self.stage.swapping:
            return self._report(self.stage.swap(wanted, drain_first=drain_first, drain_timeout_s=drain_timeout_s))

    def prepare(self, versions: Mapping[str, str]) -> dict[str, PrepareReport]:
        """Load these versions beside what serves, all or none of them; they then wait, ready, for `switch` or `give_up`.

        As `Slot.prepare`; the report is by part. Raises UnknownPart, too.
        """
        wanted = self._wanted(versions)
        with self.stage.swapping:
            prepared = self.stage.prepare(wanted)
        return {part: prepare_report_of(self.shelves[part], prepared, version) for part, version in versions.items()}

    def switch(self, versions: Mapping[str, str], *, release: str | None = None) -> PipelineReport:
        """Serve these versions, which are prepared or warm, all at once; the other parts stay as they are. Never loads.

        `release` names the set that serves from now on, for whoever asks. Raises SwapRefused when one of them is not ready,
        and UnknownPart; nothing has changed then.
        """
        wanted = self._wanted(versions)
        with self.stage.lock:
            return self._report(self.stage.switch(wanted, release))

    def split(self, versions: Mapping[str, str] | None, *, release: str | None = None) -> None:
        """Serve the canary's requests with these versions and what else serves now; None ends it.

        As `Slot.split`. The canary's set stays as it is when another version is switched to for everybody else. Raises
        SwapRefused when a version is not ready, SlotEmpty when a part has none, and UnknownPart.
        """
        wanted = None if versions is None else self._wanted(versions)
        with self.stage.lock:
            self.stage.split(wanted, release)

    def give_up(self, versions: Mapping[str, str]) -> None:
        """Let go of prepared or warm versions, all or none; as `Slot.give_up`. Raises UnknownPart, too."""
        unwanted = {self._shelf(part): version for part, version in versions.items()}
        with self.stage.lock:
            self.stage.give_up(unwanted)

    def roll_back(self) -> PipelineReport:
        """Serve the set that served before, at once: all of it is still warm, and no load is waited for.

        To take one part back alone, call its slot's `roll_back`. A set with a version that was rolled back from is not
        returned to. Raises NothingWarm when there is no other, or when a part of it is no longer in memory.
        """
        with self.stage.lock:
            return self._report(self.stage.roll_back())

    def lease(self, *, wait_s: float = 0.0) -> PipelineLease:
        """Pin the set that serves, for one request: `with pipeline.lease() as parts`, or `async with`.

        `parts[name]` is a model, `parts.versions` says which versions they are. Raises SlotEmpty while a part has no version
        yet; `wait_s` is as in `Slot.lease`.
        """
        return PipelineLease(self._whole, wait_s)

    @property
    def versions(self) -> dict[str, str]:
        """Part -> the version that serves; parts that have none are missing, and all are during a drain-swap."""
        return self._versions_in(self.stage.pointer.current)

    @property
    def canary(self) -> dict[str, str] | None:
        """Part -> the version that serves the canary's requests; None while no canary is split off."""
        canary = self.stage.pointer.canary
        return None if canary is None else self._versions_in(canary)

    @property
    def states(self) -> dict[str, SlotState]:
        """Part -> what it has in memory; what serves is one consistent set."""
        loaded = self.stage.pointer.current.loaded
        return {
            part: state_of(shelf, loaded.get(shelf), self.stage.draining(shelf)) for part, shelf in self.shelves.items()
        }

    def _versions_in(self, bundle: Bundle) -> dict[str, str]:
        return {part: bundle.loaded[shelf].version for part, shelf in self.shelves.items() if shelf in bundle.loaded}

    def _wanted(self, versions: Mapping[str, str]) -> dict[Shelf, str]:
        return {self._shelf(part): checked_version(version) for part, version in versions.items()}

    def _shelf(self, part: str) -> Shelf:
        if part not in self.shelves:
            raise UnknownPart(part=part, known=", ".join(self.shelves))
        return self.shelves[part]

    def _report(self, switched: Switched) -> PipelineReport:
        parts = {part: report_of(shelf, switched) for part, shelf in self.shelves.items() if shelf in switched.after}
        return PipelineReport(parts, switched.seconds_switching, switched.seconds_closed)
