"""A control plane on fakes: time is moved by hand, traffic is written by hand."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from penstock.control.drivers import Ports
from penstock.control.loop import ControlLoop
from penstock.control.plane import ControlPlane
from penstock.judge.counts import PodCounts
from penstock.ports.mirror import Outcome
from penstock.ports.telemetry import Reading, ServiceReading
from penstock.rollout.plan import Plan, plan_from
from penstock.routing.table import Identity
from penstock.testing.fakes import Book, FakeGateway, FakeMemory, FakeMirror, FakeTelemetry, ManualClock, MemoryJournal
from penstock.testing.registry import MemoryRegistry
from penstock.testing.servers import FakeModelServers

STABLE, CANARY = "127.0.0.1:6006", "127.0.0.1:6007"
PLAN = {"steps": "10,50,100", "dwell": "5s", "longest_stall": "5s"}


def answer(n: int, *, release: int = 1, pod: str = STABLE, errors: int = 0, **others: Any) -> PodCounts:
    return PodCounts(release, pod, n, errors, **others)


class World:
    """Everything around one control plane."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.book = Book()
        self.gateway = FakeGateway(self.clock)
        self.down: set[str] = set()
        self.version = {STABLE: "1.5.0", CANARY: "2.0.1"}
        self.mirror = FakeMirror(self._answer, page=self._page)
        self.telemetry = FakeTelemetry()
        self.memory = FakeMemory()
        self.servers = FakeModelServers()
        self.registry = MemoryRegistry()
        self.begin()

    def begin(self) -> None:
        self.journal = MemoryJournal(self.clock, self.book)
        self.loop = ControlLoop(self.ports(), self.telemetry)
        self.plane = ControlPlane(self.loop)

    def ports(self) -> Ports:
        drivers = (self.journal, self.gateway, self.mirror, self.clock, self.memory, self.servers)
        return Ports(*drivers, np.random.default_rng(1), api_url="http://127.0.0.1:8600", registry=self.registry)

    async def start(self) -> None:
        await self.journal.acquire("test")
        await self.loop.start(ticking=False)

    async def restart(self) -> None:
        """Put a fresh control plane on the same journal and gateways, as after a crash."""
        await self.journal.close()
        self.begin()
        await self.start()

    async def adopt(self) -> None:
        await self.plane.adopt("tts", [f"http://{STABLE}"], listen="127.0.0.1:8500", identity=Identity(), actor="ann")

    async def release(self, plan: dict[str, Any] | Plan = PLAN) -> dict[str, Any]:
        plan = plan if isinstance(plan, Plan) else plan_from(plan)
        return await self.plane.release("tts", [f"http://{CANARY}"], "2.0.1", plan, actor="ann")

    async def tick(self, *counts: PodCounts, seconds: float = 0.25) -> dict[str, Any]:
        self.clock.advance(seconds)
        n = sum(c.n for c in counts)
        self.telemetry.feed(Reading({"tts": ServiceReading(counts, n_requests=n)}) if counts else Reading())
        await self.loop.tick()
        return self.plane.status("tts")

    async def healthy(self, seconds: float) -> dict[str, Any]:
        """Let both arms answer well for a while, 40 requests per second each."""
        status: dict[str, Any] = {}
        for _ in range(int(seconds * 4)):
            both = [answer(10)]
            if self.plane.status("tts")["weight_pct"] > 0:
                both.append(answer(10, release=2, pod=CANARY))
            status = await self.tick(*both)
        return status

    def _answer(self, pod: str, _key: int) -> Outcome:
        return Outcome(pod, 0, 1.0, why="connection refused") if pod in self.down else Outcome(pod, 200, 1.0)

    def _page(self, pod: str, path: str) -> bytes:
        return f'{{"version": "{self.version[pod]}"}}'.encode() if path == "/version" else b"{}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.start()
    yield world
    await world.loop.stop()
