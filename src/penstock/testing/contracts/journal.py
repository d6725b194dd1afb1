"""The laws of ports/journal.py."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from penstock.kernel.errors import AlreadyRunning, FencedOff, JournalUnwritable, StaleGeneration
from penstock.ports.clock import Clock
from penstock.ports.journal import Journal
from penstock.rollout.entry import Draft, Entry, Kind
from penstock.testing.fakes import ManualClock


def draft(generation: int, service: str = "tts", facts: Mapping[str, Any] | None = None) -> Draft:
    return Draft(service, Kind.STEPPED, "judge", "Because.", generation, facts or {})


class JournalContract:
    """Hooks: `open_journal`, `start_newer_term`, `unwritable`. Give the instance its place in an autouse fixture."""

    @abstractmethod
    def open_journal(self, clock: Clock) -> Journal:
        """Open this test's journal; again, when called again."""

    @abstractmethod
    def start_newer_term(self) -> None:
        """Do to the stored journal what a second writer does that got past the lock."""

    @abstractmethod
    def unwritable(self) -> AbstractContextManager[None]:
        """Let the medium refuse writes meanwhile."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def journal(self, clock: ManualClock) -> AsyncIterator[Journal]:
        journal = self.open_journal(clock)
        await journal.acquire("contract")
        yield journal
        await journal.close()

    async def test_what_append_returns_is_what_is_read(self, journal: Journal, clock: ManualClock) -> None:
        facts: dict[str, Any] = {"text": "Grüße\n你好\0'", "n": [1, 2.5, None, True, {}]}
        first = await journal.append(draft(1, facts=facts), expected_generation=0)
        clock.advance(1.5)
        second = await journal.append(draft(1, "asr"), expected_generation=0)
        assert await journal.read() == [first, second]
        assert [first.seq, second.seq] == [1, 2]
        assert second.at == clock.now()
        assert first.hash != second.hash
        assert await journal.verify() == 2

    async def test_facts_come_back_as_json_brings_them(self, journal: Journal) -> None:
        facts = {"pair": (1, 2), "by_number": {10: "a", 9: "b"}}
        entry = await journal.append(draft(1, facts=facts), expected_generation=0)
        assert entry.facts == {"pair": [1, 2], "by_number": {"9": "b", "10": "a"}}
        assert await journal.read() == [entry]
        assert await journal.verify() == 1

    @pytest.mark.parametrize("fact", [float("nan"), float("-inf"), object(), b"bytes", "\ud800"])
    async def test_a_fact_that_is_not_json_is_refused(self, journal: Journal, fact: object) -> None:
        with pytest.raises(ValueError, match=r"JSON|surrogates"):
            await journal.append(draft(1, facts={"fact": fact}), expected_generation=0)
        assert await journal.read() == []

    async def test_an_expectation_that_is_not_the_newest_writes_nothing(self, journal: Journal) -> None:
        await journal.append(draft(3), expected_generation=0)
        await journal.append(draft(7, "asr"), expected_generation=0)
        with pytest.raises(StaleGeneration) as caught:
            await journal.append(draft(8), expected_generation=7)
        assert caught.value.facts == {"service": "tts", "actual": 3, "expected": 7}
        assert await journal.verify() == 2

    async def test_a_generation_may_stay_but_not_fall(self, journal: Journal) -> None:
        await journal.append(draft(2), expected_generation=0)
        await journal.append(draft(2), expected_generation=2)
        with pytest.raises(ValueError, match="fall behind"):
            await journal.append(draft(1), expected_generation=2)
        assert len(await journal.read()) == 2

    async def test_of_writers_that_expect_the_same_one_wins(self, journal: Journal) -> None:
        attempts = [journal.append(draft(1), expected_generation=0) for _ in range(20)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(isinstance(result, Entry) for result in results) == 1
        assert sum(isinstance(result, StaleGeneration) for result in results) == 19

    async def test_reading_by_service_and_from_a_place(self, journal: Journal) -> None:
        for generation in (1, 2, 3):
            await journal.append(draft(generation), expected_generation=generation - 1)
            await journal.append(draft(generation, "asr"), expected_generation=generation - 1)
        assert [entry.seq for entry in await journal.read("tts")] == [1, 3, 5]
        assert [entry.seq for entry in await journal.read(after_seq=4)] == [5, 6]
        assert [entry.seq for entry in await journal.read("asr", after_seq=4)] == [6]
        assert await journal.read("nobody") == []

    async def test_a_clock_set_back_changes_no_order(self, journal: Journal, clock: ManualClock) -> None:
        before = await journal.append(draft(1), expected_generation=0)
        clock.jump(-3600)
        after = await journal.append(draft(2), expected_generation=1)
        assert after.at < before.at
        assert await journal.read() == [before, after]
        assert await journal.verify() == 2

    async def test_one_writer_at_a_time(self, journal: Journal, clock: ManualClock) -> None:
        kept = await journal.append(draft(1), expected_generation=0)
        other = self.open_journal(clock)
        try:
            with pytest.raises(AlreadyRunning):
                await other.acquire("second")
            await journal.close()
            assert await other.acquire("second") == 2
            assert await other.read() == [kept]
            await other.append(draft(2), expected_generation=1)
            assert await other.verify() == 2
        finally:
            await other.close()

    async def test_closing_twice_is_no_mistake(self, journal: Journal) -> None:
        await journal.close()
        await journal.close()

    async def test_nobody_writes_without_acquiring(self, clock: ManualClock) -> None:
        journal = self.open_journal(clock)
        with pytest.raises(RuntimeError):
            await journal.append(draft(1), expected_generation=0)
        assert await journal.read() == []
        await journal.close()

    async def test_a_writer_of_an_older_term_is_fenced_off(self, journal: Journal) -> None:
        self.start_newer_term()
        with pytest.raises(FencedOff) as caught:
            await journal.append(draft(1), expected_generation=0)
        assert caught.value.facts == {"term": 2, "ours": 1}
        assert await journal.read() == []

    async def test_an_append_that_failed_is_not_there_and_the_next_may_succeed(self, journal: Journal) -> None:
        first = await journal.append(draft(1), expected_generation=0)
        with self.unwritable(), pytest.raises(JournalUnwritable):
            await journal.append(draft(2), expected_generation=1)
        second = await journal.append(draft(2), expected_generation=1)
        assert await journal.read() == [first, second]
        assert await journal.verify() == 2
