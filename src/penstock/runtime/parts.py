"""A slot or a pipeline, as a mounted server sees it: components by name, and one set that serves."""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import UnknownPart
from penstock.runtime.lease import Bundle, Pointer
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.report import SlotState
from penstock.runtime.shelf import Shelf
from penstock.runtime.slot import Slot
from penstock.runtime.stage import Stage


class Mounted:
    """Components under one pointer.

    Attributes:
        shelves: component -> its versions in memory.
    """

    def __init__(self, slots: Pipeline | Slot[Any]) -> None:
        self._slots = slots
        self.shelves: Mapping[str, Shelf] = (
            slots.shelves if isinstance(slots, Pipeline) else {slots.name: slots.seat.shelf}
        )

    @property
    def pointer(self) -> Pointer:
        """What leases read."""
        return self._stage.pointer

    @property
    def versions(self) -> dict[str, str]:
        """Component -> the version that serves; those that have none are missing."""
        return self.versions_in(None)

    @property
    def canary(self) -> dict[str, str] | None:
        """Component -> the version that serves the canary's requests; None while no canary is split off."""
        canary = self.pointer.canary
        return None if canary is None else self.versions_in(canary)

    @property
    def release(self) -> str | None:
        """What whoever switched to it calls the set that serves."""
        return self.pointer.current.release

    @property
    def states(self) -> dict[str, SlotState]:
        """Component -> what it has in memory."""
        return self._slots.states if isinstance(self._slots, Pipeline) else {self._slots.name: self._slots.state}

    def versions_in(self, bundle: Bundle | None) -> dict[str, str]:
        """Return component -> version of a bundle; of what serves for None."""
        loaded = (bundle or self.pointer.current).loaded
        return {name: loaded[shelf].version for name, shelf in self.shelves.items() if shelf in loaded}

    def label(self, versions: Mapping[str, str]) -> str:
        """Return what `X-Model-Version` says: a slot's version, or `acoustic-1.2.0+vocoder-1.3.0`."""
        if isinstance(self._slots, Slot):
            return next(iter(versions.values()), "")
        return "+".join(f"{name}-{version}" for name, version in sorted(versions.items()))

    def prepare(self, versions: Mapping[str, str]) -> None:
        """As `Pipeline.prepare`."""
        if isinstance(self._slots, Pipeline):
            self._slots.prepare(versions)
        else:
            self._slots.prepare(self._only(versions))

    def switch(self, versions: Mapping[str, str], release: str | None) -> None:
        """As `Pipeline.switch`."""
        if isinstance(self._slots, Pipeline):
            self._slots.switch(versions, release=release)
        else:
            self._slots.switch(self._only(versions), release=release)

    def split(self, versions: Mapping[str, str] | None, release: str | None) -> None:
        """As `Pipeline.split`."""
        if isinstance(self._slots, Pipeline):
            self._slots.split(versions, release=release)
        else:
            self._slots.split(None if versions is None else self._only(versions), release=release)

    def give_up(self, versions: Mapping[str, str]) -> None:
        """As `Pipeline.give_up`."""
        if isinstance(self._slots, Pipeline):
            self._slots.give_up(versions)
        else:
            self._slots.give_up(self._only(versions))

    def roll_back(self, component: str, to: str | None) -> None:
        """Serve an earlier version of one component: the warm one, or a named one, loaded where it must be."""
        if to is None:
            stage = self._stage
            with stage.lock:
                stage.roll_back(self.shelves[component])
        elif isinstance(self._slots, Pipeline):
            self._slots.swap({component: to})
        else:
            self._slots.swap(to)

    @property
    def _stage(self) -> Stage:
        return self._slots.stage if isinstance(self._slots, Pipeline) else self._slots.seat.stage

    def _only(self, versions: Mapping[str, str]) -> str:
        for name in versions:
            if name not in self.shelves:
                raise UnknownPart(part=name, known=", ".join(self.shelves))
        return next(iter(versions.values()))
