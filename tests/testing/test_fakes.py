"""What the fakes can do beyond the laws of their ports: faults that a test switches on."""

import subprocess
import sys

import pytest

from penstock.judge.counts import PodCounts
from penstock.kernel.errors import GatewayRefused, GatewaySilent, JournalDamaged, TelemetryUnavailable
from penstock.ports.telemetry import Reading, ServiceReading
from penstock.registry.release import Endpoint, Release
from penstock.rollout.entry import Draft, Kind
from penstock.routing.table import RouteTable
from penstock.testing.fakes import FakeGateway, FakeTelemetry, ManualClock, MemoryJournal

STABLE = Release("tts", 1, "1.0", {"model": "1.0"}, (Endpoint("http", "10.0.0.1", 80),))
CANARY = Release("tts", 2, "2.0", {"model": "2.0"}, (Endpoint("http", "10.0.0.2", 80),))


def table(generation: int, weight: int = 0) -> RouteTable:
    return RouteTable("tts", generation, "127.0.0.1:1", STABLE, CANARY, weight=weight)


def test_a_clock_moves_only_by_hand() -> None:
    clock = ManualClock()
    start = clock.now()
    clock.advance(10)
    clock.jump(-3600)
    assert (clock.now() - start).total_seconds() == -3590
    assert clock.monotonic_s() == 10
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


async def test_a_refused_table_leaves_the_old_one_in_force() -> None:
    gateway = FakeGateway(ManualClock(), nodes=("a", "b"))
    await gateway.apply(table(1))
    gateway.fleet["b"].refusal = "bad cluster"
    with pytest.raises(GatewayRefused, match="generation 2: bad cluster"):
        await gateway.apply(table(2))
    assert [node.generation for node in gateway.nodes("tts")] == [2, 1]
    gateway.fleet["b"].refusal = None
    await gateway.apply(table(2))
    assert {node.generation for node in gateway.nodes("tts")} == {2}


async def test_a_silent_node_is_named_and_a_dead_one_is_not_waited_for() -> None:
    gateway = FakeGateway(ManualClock(), nodes=("a", "b", "c"))
    gateway.fleet["b"].silent = True
    gateway.fleet["c"].live = False
    with pytest.raises(GatewaySilent, match=r"generation 1 in time: b\."):
        await gateway.apply(table(1))
    gateway.restart("b")
    gateway.restart("c")
    assert [(n.id, n.generation, n.live) for n in gateway.nodes("tts")] == [
        ("a", 1, True),
        ("b", 1, True),
        ("c", 1, True),
    ]


async def test_only_changes_are_pushes() -> None:
    gateway = FakeGateway(ManualClock())
    await gateway.apply(table(1))
    await gateway.apply(table(1))
    await gateway.apply(table(2, weight=5000))
    assert [pushed.generation for pushed in gateway.pushes] == [1, 2]


async def test_without_a_healthy_endpoint_requests_fail() -> None:
    gateway = FakeGateway(ManualClock())
    assert gateway.route("tts") is None
    await gateway.apply(table(1))
    gateway.health = dict.fromkeys(gateway.health, False)
    assert gateway.route("tts") is None


async def test_an_identity_is_minted_for_who_has_none() -> None:
    gateway = FakeGateway(ManualClock())
    await gateway.apply(table(1, weight=5000))
    assert {release.name for release in (gateway.route("tts") for _ in range(50)) if release} == {"1.0", "2.0"}


async def test_failed_readings_come_with_the_next_one_pod_by_pod() -> None:
    telemetry = FakeTelemetry()
    pods = (PodCounts(2, "a", 3, errors=1, faults={"silence": 1}, latency_ms={10: 3}),)
    more = (PodCounts(2, "a", 2, client_errors=1, faults={"silence": 1, "noise": 1}, latency_ms={10: 1, 20: 1}),)
    telemetry.feed(
        Reading({"tts": ServiceReading(pods, 3, 1, 2)}), Reading({"tts": ServiceReading(more, 2)}, complete=False)
    )
    telemetry.failure = "connection refused"
    with pytest.raises(TelemetryUnavailable, match="connection refused"):
        await telemetry.read()
    telemetry.failure = None
    both = PodCounts(2, "a", 5, 1, 1, faults={"silence": 2, "noise": 1}, latency_ms={10: 4, 20: 1})
    assert await telemetry.read() == Reading({"tts": ServiceReading((both,), 5, 1, 2)}, complete=False)
    assert await telemetry.read() == Reading()


async def test_a_memory_journal_that_was_edited_does_not_verify() -> None:
    journal = MemoryJournal(ManualClock())
    await journal.acquire("test")
    for generation in (1, 2, 3):
        draft = Draft("tts", Kind.STEPPED, "judge", "Because.", generation, {"weight": 500})
        await journal.append(draft, expected_generation=generation - 1)
    facts = journal.book.entries[1].facts
    assert isinstance(facts, dict)
    facts["weight"] = 10_000
    with pytest.raises(JournalDamaged, match="entry 2: it was changed"):
        await journal.verify()
    del journal.book.entries[1]
    with pytest.raises(JournalDamaged, match="entry 2: entry 3 stands in its place"):
        await journal.verify()


def test_the_fakes_need_no_pytest() -> None:
    program = "import sys, penstock.testing.fakes; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
