"""What a swap tells who asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.runtime.loaded import Loaded
from penstock.runtime.shelf import Prepared, Shelf
from penstock.runtime.stage import Switched


@dataclass(frozen=True, slots=True)
class SwapReport:
    """What became of one slot.

    Attributes:
        slot: its name.
        version: what serves now.
        previous: what served before, None when nothing did; the same as `version` when nothing had to change.
        seconds_loading: in the user's `load`; 0 for a version that was warm.
        seconds_warming: in warm-up and check.
        seconds_switching: to move the pointer, once everything was ready. Nothing waits for it.
        seconds_closed: during which no lease was given out; 0 but for `drain_first`.
        reused: the version was warm, or serves already: nothing was loaded.
        ram_bytes, gpu_bytes: what loading and warming it up took; 0 where that is not known.
    """

    slot: str
    version: str
    previous: str | None
    seconds_loading: float
    seconds_warming: float
    seconds_switching: float
    seconds_closed: float
    reused: bool
    ram_bytes: int
    gpu_bytes: int

    @property
    def changed(self) -> bool:
        """Another version serves than before."""
        return self.version != self.previous


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What it took to make one version ready.

    Attributes:
        slot: its name.
        version: what is ready to be switched to.
        seconds_loading: in the user's `load`; 0 for a version that was in memory.
        seconds_warming: in warm-up and check.
        reused: it was in memory, or serves already: nothing was loaded.
        ram_bytes, gpu_bytes: what loading and warming it up took; 0 where that is not known.
    """

    slot: str
    version: str
    seconds_loading: float
    seconds_warming: float
    reused: bool
    ram_bytes: int
    gpu_bytes: int


@dataclass(frozen=True, slots=True)
class SlotState:
    """What one slot has in memory.

    Attributes:
        serving: None before the first swap.
        warm: earlier versions that are kept, those worth rolling back to first.
        prepared: ready, and kept until they are switched to or given up; some may be warm ones.
        draining: serve no longer, but still have leases out.
        failed: version -> why it did not get into memory, the last few.
    """

    serving: str | None
    warm: tuple[str, ...]
    prepared: tuple[str, ...]
    draining: tuple[str, ...]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """What became of a pipeline: one report for each of its parts, also of those that stayed as they were.

    Attributes:
        parts: part -> report; a part that has no version yet is missing.
    """

    parts: Mapping[str, SwapReport]
    seconds_switching: float
    seconds_closed: float

    @property
    def versions(self) -> dict[str, str]:
        """Part -> the version that serves now."""
        return {part: each.version for part, each in self.parts.items()}

    @property
    def previous(self) -> dict[str, str | None]:
        """Part -> the version that served before; None where nothing did."""
        return {part: each.previous for part, each in self.parts.items()}

    @property
    def seconds_loading(self) -> float:
        """The time that all loads took together."""
        return sum(each.seconds_loading for each in self.parts.values())


def report_of(shelf: Shelf, switched: Switched) -> SwapReport:
    """Return what a swap did to one shelf, on which something serves."""
    serving = switched.after[shelf]
    prepared = switched.prepared.get(shelf) or Prepared(serving, reused=True)
    return SwapReport(
        slot=shelf.name,
        version=serving.version,
        previous=switched.before.get(shelf),
        seconds_loading=prepared.seconds_loading,
        seconds_warming=prepared.seconds_warming,
        seconds_switching=switched.seconds_switching if shelf in switched.prepared else 0.0,
        seconds_closed=switched.seconds_closed,
        reused=prepared.reused,
        ram_bytes=serving.footprint.ram_bytes,
        gpu_bytes=serving.footprint.gpu_bytes,
    )


def prepare_report_of(shelf: Shelf, prepared: Mapping[Shelf, Prepared], version: str) -> PrepareReport:
    """Return what it took to make a version ready; one that is not in `prepared` serves already."""
    took = prepared.get(shelf)
    loaded = took.loaded if took else shelf.serving
    return PrepareReport(
        slot=shelf.name,
        version=version,
        seconds_loading=took.seconds_loading if took else 0.0,
        seconds_warming=took.seconds_warming if took else 0.0,
        reused=took is None or took.reused,
        ram_bytes=loaded.footprint.ram_bytes if loaded else 0,
        gpu_bytes=loaded.footprint.gpu_bytes if loaded else 0,
    )


def state_of(shelf: Shelf, serving: Loaded | None, draining: tuple[str, ...]) -> SlotState:
    """Return what one shelf has in memory, given what a bundle serves of it."""
    return SlotState(
        serving=serving.version if serving else None,
        warm=tuple(loaded.version for loaded in shelf.kept),
        prepared=tuple(loaded.version for loaded in shelf.prepared),
        draining=draining,
        failed=shelf.failed,
    )
