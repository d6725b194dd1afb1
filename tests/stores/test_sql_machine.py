"""SqlJournal does what a list does, whatever the order of calls."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.kernel.errors import StaleGeneration
from penstock.rollout.entry import Draft, Entry, Kind
from penstock.stores.sql import SqlJournal
from penstock.testing.fakes import ManualClock

_services = st.sampled_from(["tts", "asr", "vad"])
_texts = st.text(st.characters(codec="utf-8"), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_facts = st.dictionaries(_texts, _json, max_size=3)


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.model: list[Entry] = []
        self.term = 0
        self.open()

    def open(self) -> None:
        self.journal = SqlJournal(Path(self.folder.name) / "journal.db", self.clock)
        self.term += 1
        assert self.loop.run(self.journal.acquire("machine")) == self.term

    def newest(self, service: str) -> int:
        return max((entry.generation for entry in self.model if entry.service == service), default=0)

    @rule(service=_services, kind=st.sampled_from(Kind), reason=_texts, growth=st.integers(0, 3), facts=_facts)
    def append(self, service: str, kind: Kind, reason: str, growth: int, facts: dict[str, object]) -> None:
        expected = self.newest(service)
        draft = Draft(service, kind, "judge", reason, expected + growth, facts)
        entry = self.loop.run(self.journal.append(draft, expected_generation=expected))
        assert (entry.seq, entry.at) == (len(self.model) + 1, self.clock.now())
        assert (entry.service, entry.kind, entry.reason, entry.facts) == (service, kind, reason, facts)
        self.model.append(entry)

    @rule(service=_services, error=st.integers(-2, 2).filter(bool))
    def append_with_a_wrong_expectation(self, service: str, error: int) -> None:
        draft = Draft(service, Kind.HELD, "judge", "Because.", 1000, {})
        with pytest.raises(StaleGeneration):
            self.loop.run(self.journal.append(draft, expected_generation=self.newest(service) + error))

    @rule(seconds=st.integers(-7200, 7200))
    def set_clock(self, seconds: int) -> None:
        self.clock.jump(seconds)

    @rule(service=_services | st.none(), after_seq=st.integers(0, 10))
    def read(self, service: str | None, after_seq: int) -> None:
        wanted = [e for e in self.model if e.seq > after_seq and service in (None, e.service)]
        assert self.loop.run(self.journal.read(service, after_seq=after_seq)) == wanted

    @rule()
    def reopen(self) -> None:
        self.loop.run(self.journal.close())
        self.open()

    @invariant()
    def verifies(self) -> None:
        assert self.loop.run(self.journal.verify()) == len(self.model)

    def teardown(self) -> None:
        self.loop.run(self.journal.close())
        self.loop.close()
        self.folder.cleanup()


JournalMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestJournalMachine = JournalMachine.TestCase
