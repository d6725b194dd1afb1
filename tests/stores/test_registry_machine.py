"""SqlRegistry does what the one in memory does, whatever the order of calls."""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.kernel.errors import PenstockError
from penstock.ports.registry import RegistryStore
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.stores.registry import SqlRegistry
from penstock.testing.contracts.registry_place import AT, BY, sample_version
from penstock.testing.registry import MemoryRegistry

_components = st.sampled_from(["acoustic", "vocoder"])
_numbers = st.sampled_from(["1.0.0-rc.1", "1.0.0", "1.0.0+b", "1.1.0", "1.10.0", "2.0.0"])
_words = st.sampled_from(["latest", "champion", "stable", "previous", "challenger", "night", "2.0.0"])


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sql = SqlRegistry(Path(self.folder.name) / "registry.db")
        self.memory = MemoryRegistry()
        self.now = AT

    def both(self, call: Callable[[RegistryStore], Any]) -> None:
        """Do the same to both; both answer the same, or refuse with the same error."""
        outcomes = []
        for registry in (self.sql, self.memory):
            try:
                outcomes.append(call(registry))
            except PenstockError as error:
                outcomes.append((type(error), error.facts.get("name"), error.facts.get("known")))
        assert outcomes[0] == outcomes[1]

    @rule(
        component=_components,
        number=_numbers,
        stage=st.sampled_from([Stage.REGISTERED, Stage.STABLE]),
        needs=st.sampled_from([{}, {"acoustic": "<2"}, {"acoustic": ">=1.1"}]),
    )
    def register(self, component: str, number: str, stage: Stage, needs: dict[str, str]) -> None:
        requires = needs if component == "vocoder" else {}
        version = sample_version(number, component, stage=stage, at=self.now, requires=requires)
        self.both(lambda registry: registry.register(version, **BY))

    @rule(component=_components, number=_numbers, stage=st.sampled_from(Stage), reason=st.sampled_from(["", "So."]))
    def move(self, component: str, number: str, stage: Stage, reason: str) -> None:
        self.both(lambda r: r.move("tts", component, number, stage, at=self.now, actor="ann", reason=reason))

    @rule(versions=st.dictionaries(_components, _numbers, min_size=1))
    def promote(self, versions: dict[str, str]) -> None:
        self.both(lambda registry: registry.promote("tts", versions, at=self.now, **BY))

    @rule(number=st.integers(0, 5), unhealthy=st.sampled_from([None, "It hums."]))
    def judge(self, number: int, unhealthy: str | None) -> None:
        self.both(lambda registry: registry.judge("tts", number, unhealthy=unhealthy, at=self.now, **BY))

    @rule(component=_components, alias=st.sampled_from(["night", "challenger", "latest"]), number=_numbers)
    def set_alias(self, component: str, alias: str, number: str) -> None:
        self.both(lambda registry: registry.set_alias("tts", component, alias, number, at=self.now, **BY))

    @rule(component=_components, alias=st.sampled_from(["night", "challenger"]))
    def delete_alias(self, component: str, alias: str) -> None:
        self.both(lambda registry: registry.delete_alias("tts", component, alias, at=self.now, **BY))

    @rule(component=_components, number=_numbers, what=st.sampled_from(["mark", "unmark", "remove"]))
    def delete(self, component: str, number: str, what: str) -> None:
        self.both(lambda registry: getattr(registry, what)("tts", component, number, at=self.now, **BY))

    @rule(component=_components, word=_words)
    def resolve(self, component: str, word: str) -> None:
        self.both(lambda registry: registry.resolve(Ref.parse(f"tts/{component}@{word}")))

    @rule(component=_components, limit=st.integers(1, 3))
    def look_back(self, component: str, limit: int) -> None:
        self.both(lambda registry: registry.history("tts", component, limit=limit))
        self.both(lambda registry: registry.history("tts", limit=limit))

    @rule(stage=st.sampled_from([None, *Stage]), marked=st.sampled_from([None, True, False]), limit=st.integers(0, 3))
    def look_for(self, stage: Stage | None, *, marked: bool | None, limit: int) -> None:
        self.both(lambda registry: registry.versions(Query(stage=stage, marked=marked, limit=limit, offset=1)))

    @rule(minutes=st.integers(-60, 60))
    def set_clock(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def reopen(self) -> None:
        self.sql.close()
        self.sql = SqlRegistry(Path(self.folder.name) / "registry.db")

    @invariant()
    def both_hold_the_same(self) -> None:
        self.both(lambda registry: registry.versions(Query(removed=True)))
        self.both(lambda registry: registry.promotions("tts"))
        self.both(lambda registry: [registry.aliases("tts", component) for component in ("acoustic", "vocoder")])
        self.both(lambda registry: registry.changes())
        self.both(lambda registry: registry.verify())

    def teardown(self) -> None:
        lines = list(self.sql.export())
        copy = MemoryRegistry()
        assert copy.import_(lines, at=AT, **BY).conflicts == ()
        assert sorted(map(str, copy.export())) == sorted(map(str, lines))
        every: list[Version] = copy.versions(Query(removed=True))
        assert every == self.memory.versions(Query(removed=True))
        self.sql.close()
        self.folder.cleanup()


RegistryMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestRegistryMachine = RegistryMachine.TestCase
