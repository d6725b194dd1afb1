"""The laws of ports/mirror.py."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from enum import StrEnum

import pytest

from penstock.ports.mirror import Mirror, RecordedRequest
from penstock.registry.release import Endpoint
from penstock.testing.contracts.waiting import eventually

_REQUEST = RecordedRequest(key=1, method="GET", path="/x?y=z", headers=(("accept", "*/*"),), body=b"")
_BODY_LIMIT_BYTES = 64 * 1024


class Pod(StrEnum):
    """How an endpoint of the suite behaves."""

    #: 200, with a body of 100 KiB of `x`.
    WELL = "well"
    #: 503.
    BROKEN = "broken"
    #: 200, with `X-Penstock-Fault: silence`.
    FAULTY = "faulty"
    #: Nobody listens.
    DEAD = "dead"
    #: Listens, and does not answer for a minute.
    STUCK = "stuck"


class MirrorContract:
    """Hooks: `start`, `stop`, `send`, `endpoint`, and the attribute `limit`."""

    #: How many requests are kept per service.
    limit = 256

    @abstractmethod
    async def start(self) -> Mirror:
        """Start recording, and the pods."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop what `start` started."""

    @abstractmethod
    async def send(self, method: str, path: str) -> None:
        """Send a user's request to the service `contract`, all of whose requests are mirrored."""

    @abstractmethod
    def endpoint(self, pod: Pod) -> Endpoint:
        """Return the endpoint that behaves so."""

    @pytest.fixture
    async def mirror(self) -> AsyncIterator[Mirror]:
        try:
            mirror = await self.start()
            mirror.allow("contract", ("GET /*",))
            yield mirror
        finally:
            await self.stop()

    async def test_only_repeatable_requests_are_kept_oldest_first(self, mirror: Mirror) -> None:
        assert mirror.recorded("contract") == ()
        await self.send("GET", "/a?q=1")
        await self.send("POST", "/b")
        await self.send("GET", "/c")

        async def has_both() -> bool:
            return len(mirror.recorded("contract")) >= 2

        await eventually(has_both)
        kept = mirror.recorded("contract")
        assert sorted((request.method, request.path) for request in kept) == [("GET", "/a?q=1"), ("GET", "/c")]
        assert [request.key for request in kept] == sorted({request.key for request in kept})
        assert mirror.recorded("another") == ()

    async def test_what_is_no_longer_allowed_is_not_kept(self, mirror: Mirror) -> None:
        mirror.allow("contract", ("GET /only",))
        await self.send("GET", "/a")
        await self.send("GET", "/only")

        async def has_one() -> bool:
            return len(mirror.recorded("contract")) > 0

        await eventually(has_one)
        assert [request.path for request in mirror.recorded("contract")] == ["/only"]

    async def test_the_newest_win(self, mirror: Mirror) -> None:
        for i in range(self.limit + 5):
            await self.send("GET", f"/{i}")

        async def has_the_last() -> bool:
            return any(request.path == f"/{self.limit + 4}" for request in mirror.recorded("contract"))

        await eventually(has_the_last)
        kept = mirror.recorded("contract")
        assert len(kept) <= self.limit
        assert "/0" not in {request.path for request in kept}

    @pytest.mark.parametrize(
        ("pod", "status", "fault"),
        [(Pod.WELL, 200, None), (Pod.BROKEN, 503, None), (Pod.FAULTY, 200, "silence"), (Pod.DEAD, 0, None)],
    )
    async def test_a_replay_says_what_the_pod_answered(
        self, mirror: Mirror, pod: Pod, status: int, fault: str | None
    ) -> None:
        endpoint = self.endpoint(pod)
        outcome = await mirror.replay(_REQUEST, endpoint, timeout_s=10)
        assert (outcome.pod, outcome.status, outcome.fault) == (endpoint.address, status, fault)
        assert outcome.failed is (pod is not Pod.WELL)
        assert bool(outcome.why) is (status == 0)

    async def test_a_replay_ends_at_its_time_out(self, mirror: Mirror) -> None:
        async with asyncio.timeout(10):  # the pod itself would take a minute
            outcome = await mirror.replay(_REQUEST, self.endpoint(Pod.STUCK), timeout_s=0.3)
        assert outcome.status == 0
        assert outcome.why

    async def test_a_probe_brings_the_body_up_to_its_limit(self, mirror: Mirror) -> None:
        outcome, body = await mirror.probe(self.endpoint(Pod.WELL), "/version", timeout_s=10)
        assert not outcome.failed
        assert body == b"x" * _BODY_LIMIT_BYTES
        outcome, body = await mirror.probe(self.endpoint(Pod.DEAD), "/version", timeout_s=10)
        assert outcome.failed
        assert body == b""
