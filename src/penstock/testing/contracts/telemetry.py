"""The laws of ports/telemetry.py."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import pytest

from penstock.kernel.errors import TelemetryUnavailable
from penstock.ports.telemetry import Telemetry
from penstock.testing.contracts.waiting import eventually


class TelemetryContract:
    """Hooks: `start`, `stop`, `answer`, `unavailable`. Nothing may be counted but what `answer` does."""

    @abstractmethod
    async def start(self) -> Telemetry:
        """Start with a baseline: what comes from now on is counted."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop what `start` started."""

    @abstractmethod
    async def answer(self, n: int, *, errors: int = 0) -> None:
        """Let release 1 of service `contract` answer n users' requests on one pod, `errors` of them with a 5xx."""

    @abstractmethod
    def unavailable(self) -> AbstractContextManager[None]:
        """Make the counters unreadable meanwhile, without resetting them."""

    @pytest.fixture
    async def telemetry(self) -> AsyncIterator[Telemetry]:
        try:
            yield await self.start()
        finally:
            await self.stop()

    async def gathered(self, telemetry: Telemetry, n: int) -> tuple[int, int, int]:
        """Read until n answers were counted, once more, and return (answers, errors, users' requests)."""
        totals = [0, 0, 0]

        async def read() -> bool:
            reading = (await telemetry.read()).by_service.get("contract")
            if reading is not None:
                assert {counts.release for counts in reading.counts} <= {1}
                assert len({(c.release, c.pod) for c in reading.counts}) == len(reading.counts)
                totals[0] += sum(counts.n for counts in reading.counts)
                totals[1] += sum(counts.errors for counts in reading.counts)
                totals[2] += reading.n_requests
            return totals[0] >= n

        await eventually(read)
        await read()
        return totals[0], totals[1], totals[2]

    async def test_every_answer_is_counted_once(self, telemetry: Telemetry) -> None:
        await self.answer(7, errors=2)
        assert await self.gathered(telemetry, 7) == (7, 2, 7)
        await self.answer(3, errors=1)
        assert await self.gathered(telemetry, 3) == (3, 1, 3)

    async def test_without_traffic_nothing_is_counted(self, telemetry: Telemetry) -> None:
        reading = await telemetry.read()
        assert sum(counts.n for service in reading.by_service.values() for counts in service.counts) == 0

    async def test_a_failed_reading_loses_nothing(self, telemetry: Telemetry) -> None:
        await self.answer(4, errors=1)
        with self.unavailable():
            for _ in range(3):
                with pytest.raises(TelemetryUnavailable):
                    await telemetry.read()
        await self.answer(2)
        assert await self.gathered(telemetry, 6) == (6, 1, 6)
