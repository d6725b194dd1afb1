"""The fakes keep the laws that the real drivers keep."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from penstock.judge.counts import PodCounts
from penstock.ports.clock import Clock
from penstock.ports.gateway import Gateway
from penstock.ports.journal import Journal
from penstock.ports.mirror import Mirror, Outcome
from penstock.ports.telemetry import Reading, ServiceReading, Telemetry
from penstock.registry.release import Endpoint, Release
from penstock.testing.contracts import (
    GatewayContract,
    JournalContract,
    MemoryContract,
    MirrorContract,
    ModelServerContract,
    TelemetryContract,
)
from penstock.testing.contracts.mirror import Pod
from penstock.testing.contracts.model_server import BAD, FIRST
from penstock.testing.fakes import Book, FakeGateway, FakeMemory, FakeMirror, FakeTelemetry, ManualClock, MemoryJournal
from penstock.testing.servers import FakeModelServers, FakeProcess


class TestMemoryJournal(JournalContract):
    journals: tuple[MemoryJournal, ...] = ()

    def open_journal(self, clock: Clock) -> Journal:
        journal = MemoryJournal(clock, self.journals[0].book if self.journals else Book())
        self.journals = (*self.journals, journal)
        return journal

    def start_newer_term(self) -> None:
        self.journals[0].book.term += 1

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        self.journals[0].unwritable = "database or disk is full"
        yield
        self.journals[0].unwritable = None


class TestFakeMemory(MemoryContract):
    @pytest.fixture(autouse=True)
    def place(self) -> None:
        self.memory_of_this_test = FakeMemory()

    def open_memory(self) -> FakeMemory:
        return self.memory_of_this_test


class TestFakeGateway(GatewayContract):
    async def open_gateway(self) -> Gateway:
        self.clock = ManualClock()
        self.fake = FakeGateway(self.clock, nodes=("a", "b"))
        return self.fake

    async def stop(self) -> None: ...

    def release(self, number: int) -> Release:
        endpoints = tuple(Endpoint.parse(f"http://10.0.0.{number}:{port}") for port in (1, 2))
        return Release("contract", number, f"{number}.0", {"model": f"{number}.0"}, endpoints)

    async def send(self, headers: Mapping[str, str]) -> tuple[int, str]:
        release = self.fake.route("contract", headers)
        return (200, release.name) if release else (503, "")

    async def expire_lease(self) -> None:
        self.clock.advance(self.fake.lease_s + 0.1)

    async def stop_servers(self, release: Release) -> None:
        self.fake.health.update((endpoint.address, False) for endpoint in release.endpoints)


class TestFakeTelemetry(TelemetryContract):
    async def start(self) -> Telemetry:
        self.fake = FakeTelemetry()
        return self.fake

    async def stop(self) -> None: ...

    async def answer(self, n: int, *, errors: int = 0) -> None:
        self.fake.feed(Reading({"contract": ServiceReading((PodCounts(1, "10.0.0.1:1", n, errors),), n)}))

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        self.fake.failure = "connection refused"
        yield
        self.fake.failure = None


class TestFakeMirror(MirrorContract):
    async def start(self) -> Mirror:
        outcomes = {
            Pod.WELL: Outcome("", 200, 1.0),
            Pod.BROKEN: Outcome("", 503, 1.0),
            Pod.FAULTY: Outcome("", 200, 1.0, fault="silence"),
            Pod.DEAD: Outcome("", 0, 0.0, why="connection refused"),
            Pod.STUCK: Outcome("", 200, 60_000.0),
        }

        def answer(address: str, _key: int) -> Outcome:
            outcome = outcomes[Pod(address.partition(":")[0])]
            return Outcome(address, outcome.status, outcome.latency_ms, outcome.fault, outcome.why)

        self.fake = FakeMirror(answer, page=lambda _pod, _path: b"x" * 100 * 1024)
        return self.fake

    async def stop(self) -> None: ...

    async def send(self, method: str, path: str) -> None:
        self.fake.record("contract", method, path)

    def endpoint(self, pod: Pod) -> Endpoint:
        return Endpoint("http", pod.value, 80)


class TestFakeModelServers(ModelServerContract):
    async def start(self) -> tuple[FakeModelServers, Endpoint]:
        process = FakeProcess(dict(FIRST), refuses={BAD: "its file is damaged"})
        return FakeModelServers({"10.0.0.1:1": process}), Endpoint("http", "10.0.0.1", 1)

    async def stop(self) -> None:
        pass

    def gone(self) -> Endpoint:
        return Endpoint("http", "10.0.0.2", 1)
