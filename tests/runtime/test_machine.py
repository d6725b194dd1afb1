"""Any order of swaps, rollbacks, failures, leases and streams keeps every promise of the runtime."""

from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from penstock.kernel.errors import NothingWarm, SlotEmpty, StillServing, SwapRefused
from penstock.runtime import Pipeline
from penstock.runtime.request import REQUEST, Request
from tests.runtime.conftest import Maker, Model, fingerprint_of, gathered

PARTS = ("acoustic", "vocoder")
_PART = st.sampled_from(PARTS)
_VERSION = st.sampled_from(["1", "2", "3", "4"])
_FAULT = st.sampled_from([None, None, None, "load", "warm_up", "check"])


class Witness(Maker):
    """A maker that remembers every model it ever made."""

    def __init__(self, component: str) -> None:
        super().__init__(component)
        self.models: list[Model] = []

    def load(self, version: str) -> Model:
        self.models.append(super().load(version))
        return self.models[-1]


class Held:
    """A lease that is out, with what it must go on answering, and all models that must stay loaded for it."""

    def __init__(self, lease: Any, said: Iterator[dict[str, str]], versions: dict[str, str], needs: set[Model]) -> None:
        self.lease = lease
        self.said = said
        self.answer = {part: fingerprint_of(part, version) for part, version in versions.items()}
        self.needs = needs


class Swaps(RuleBasedStateMachine):
    """Two slots, joined in a pipeline at some moment, and requests that come and go.

    Attributes:
        serves: part -> the version that everybody gets.
        canary: the same for the canary's requests, while one is split off; only of a pipeline.
        prepared: what must stay ready.
    """

    held = Bundle("held")

    @initialize(keep=st.integers(0, 2))
    def begin(self, keep: int) -> None:
        self.keep = keep
        self.makers = {part: Witness(part) for part in PARTS}
        self.slots = {part: maker.slot(keep=keep) for part, maker in self.makers.items()}
        self.pipeline: Pipeline | None = None
        self.serves: dict[str, str] = {}
        self.canary: dict[str, str] | None = None
        self.prepared: set[tuple[str, str]] = set()
        self.out: list[Held] = []

    @precondition(lambda self: self.pipeline is None)
    @rule()
    def join(self) -> None:
        self.pipeline = Pipeline(self.slots)

    @rule(part=_PART, version=_VERSION, fault=_FAULT, drain_first=st.booleans())
    def swap(self, part: str, version: str, fault: str | None, drain_first: bool) -> None:
        self._swap({part: version}, fault, self.slots[part].swap, version, drain_first=drain_first and not self.out)

    @precondition(lambda self: self.pipeline)
    @rule(acoustic=_VERSION, vocoder=_VERSION, fault=_FAULT, drain_first=st.booleans())
    def swap_both(self, acoustic: str, vocoder: str, fault: str | None, drain_first: bool) -> None:
        assert self.pipeline
        wanted = {"acoustic": acoustic, "vocoder": vocoder}
        self._swap(wanted, fault, self.pipeline.swap, wanted, drain_first=drain_first and not self.out)

    def _swap(self, wanted: dict[str, str], fault: str | None, swap: Any, asked: Any, *, drain_first: bool) -> None:
        drain_first = drain_first and self.canary is None
        self._break(wanted, fault)
        changed = {part for part, version in wanted.items() if self.serves.get(part) != version}
        drained = drain_first and any(self.slots[part].seat.shelf.find(wanted[part]) is None for part in changed)
        try:
            swap(asked, drain_first=drain_first)
            self._served(wanted)
        except SwapRefused:
            assert fault
        if drained:
            self.prepared = {(part, version) for part, version in self.prepared if part not in changed}
        self._mend()

    def _served(self, versions: dict[str, str]) -> None:
        self.serves |= versions
        self.prepared -= set(versions.items())

    def _break(self, wanted: dict[str, str], fault: str | None) -> None:
        for part, version in wanted.items():
            if fault and self.serves.get(part) != version:
                self.makers[part].broken[fault].add(version)

    def _mend(self) -> None:
        for maker in self.makers.values():
            for versions in maker.broken.values():
                versions.clear()

    @rule(part=_PART, version=_VERSION, fault=_FAULT)
    def prepare(self, part: str, version: str, fault: str | None) -> None:
        self._break({part: version}, fault)
        try:
            self.slots[part].prepare(version)
            if self.serves.get(part) != version:
                self.prepared.add((part, version))
        except SwapRefused:
            assert fault
        self._mend()

    @rule(part=_PART, version=_VERSION)
    def switch(self, part: str, version: str) -> None:
        ready, n_loads = self._versions_ready(part), len(self.makers[part].loads)
        try:
            self.slots[part].switch(version)
            assert version in ready
            self._served({part: version})
        except SwapRefused:
            assert version not in ready
        assert len(self.makers[part].loads) == n_loads

    @precondition(lambda self: self.pipeline)
    @rule(part=_PART, version=_VERSION)
    def split(self, part: str, version: str) -> None:
        assert self.pipeline
        ready = self._versions_ready(part)
        try:
            self.pipeline.split({part: version})
        except SwapRefused:
            assert version not in ready
        except SlotEmpty:
            assert len(self.serves | {part: version}) < len(PARTS)
        else:
            self.canary = self.serves | {part: version}
            if self.serves.get(part) != version:
                self.prepared.add((part, version))

    @precondition(lambda self: self.canary)
    @rule()
    def end_split(self) -> None:
        assert self.pipeline
        self.pipeline.split(None)
        self.canary = None

    @rule(part=_PART, version=_VERSION)
    def give_up(self, part: str, version: str) -> None:
        try:
            self.slots[part].give_up(version)
            self.prepared.discard((part, version))
        except StillServing:
            assert version in (self.serves.get(part), (self.canary or {}).get(part))

    @rule(part=_PART)
    def roll_back_one(self, part: str) -> None:
        before, n_loads = self.slots[part].warm, len(self.makers[part].loads)
        try:
            report = self.slots[part].roll_back()
        except NothingWarm:
            return
        assert report.version in before
        assert len(self.makers[part].loads) == n_loads
        self._served({part: report.version})

    @precondition(lambda self: self.pipeline)
    @rule()
    def roll_back_all(self) -> None:
        assert self.pipeline
        try:
            self._served(self.pipeline.roll_back().versions)
        except NothingWarm:
            return

    @rule(target=held, part=_PART)
    def lease(self, part: str) -> Any:
        try:
            lease = self.slots[part].lease()
        except SlotEmpty:
            assert part not in self.serves
            return multiple()
        model = lease.__enter__()
        assert lease.version == model.version == self.serves[part]
        said = lease.stream({part: model.say()} for _ in range(1000))
        return self._taken(lease, said, {part: lease.version}, set(self._ready(PARTS if self.pipeline else (part,))))

    @precondition(lambda self: self.pipeline)
    @rule(target=held, canary=st.booleans())
    def lease_all(self, canary: bool) -> Any:
        assert self.pipeline
        token = REQUEST.set(Request(self.pipeline.stage.pointer, canary=canary))
        try:
            lease = self.pipeline.lease()
        except SlotEmpty:
            assert len(self.serves) < len(PARTS)
            return multiple()
        finally:
            REQUEST.reset(token)
        parts = lease.__enter__()
        assert parts.versions == (self.canary if canary and self.canary else self.serves)
        said = lease.stream({part: model.say() for part, model in parts.items()} for _ in range(1000))
        return self._taken(lease, said, dict(parts.versions), set(parts.values()))

    def _taken(self, lease: Any, said: Iterator[dict[str, str]], versions: dict[str, str], needs: set[Model]) -> Held:
        self.out.append(Held(lease, said, versions, needs))
        return self.out[-1]

    @rule(held=held)
    def go_on(self, held: Held) -> None:
        if held in self.out:
            assert next(held.said) == held.answer

    @rule(held=held)
    def leave_the_with(self, held: Held) -> None:
        held.lease.__exit__(None, None, None)  # the stream holds on

    @rule(held=consumes(held), closed=st.booleans())
    def end(self, held: Held, closed: bool) -> None:
        held.lease.__exit__(None, None, None)
        if closed:
            held.said.close()  # type: ignore[attr-defined]
        del held.said
        self.out.remove(held)

    def _ready(self, parts: tuple[str, ...]) -> list[Model]:
        """Return the models that serve."""
        shelves = (self.slots[part].seat.shelf for part in parts)
        return [shelf.serving.model for shelf in shelves if shelf.serving]

    def _versions_ready(self, part: str) -> set[str]:
        return {loaded.version for loaded in self.slots[part].seat.shelf.ready()}

    @invariant()
    def what_is_prepared_stays_ready(self) -> None:
        for part, version in self.prepared:
            assert version in self._versions_ready(part)
        if self.pipeline:
            assert self.pipeline.canary == self.canary

    @invariant()
    def what_was_swapped_in_serves(self) -> None:
        for part, slot in self.slots.items():
            assert slot.version == self.serves.get(part)
            assert len(slot.warm) <= self.keep
            assert slot.version not in slot.warm
            if part in self.serves:
                with slot.lease() as model:
                    assert model.say() == fingerprint_of(part, self.serves[part])

    @invariant()
    def every_lease_still_says_the_same(self) -> None:
        for each in self.out:
            assert all(model.n_unloads == 0 for model in each.needs)

    @invariant()
    def all_else_is_unloaded_once(self) -> None:
        needed = {model for each in self.out for model in each.needs}
        for slot in self.slots.values():
            needed |= {loaded.model for loaded in slot.seat.shelf.ready()}
            canary = slot.seat.pointer.canary
            needed |= {loaded.model for loaded in canary.loaded.values()} if canary else set()
        models = [model for maker in self.makers.values() for model in maker.models]
        assert gathered(lambda: all(model.n_unloads == (model not in needed) for model in models))

    def teardown(self) -> None:
        for each in getattr(self, "out", []):
            each.lease.__exit__(None, None, None)
            del each.said


Swaps.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSwaps = Swaps.TestCase
