"""What goes wrong around the loop, and what people ask for at the wrong moment. State, journal and gateways stay one."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from penstock.control.loop import ControlLoop
from penstock.control.plane import ControlPlane
from penstock.kernel import errors
from penstock.rollout.entry import Draft, Kind
from penstock.rollout.state import fold
from tests.control.conftest import CANARY, PLAN, STABLE, World, answer


async def stepping(world: World, **plan: Any) -> None:
    await world.adopt()
    await world.release({**PLAN, **plan})
    await world.tick(answer(10))
    assert world.plane.status("tts")["weight_pct"] == 10


async def baking(world: World) -> None:
    await stepping(world)
    await world.healthy(2)
    await world.plane.promote("tts", full=True, actor="ann")


async def withdrawn(world: World) -> None:
    await stepping(world)
    for _ in range(8):
        await world.tick(answer(10), answer(5, release=2, pod=CANARY))
    status = await world.tick(answer(20), answer(20, release=2, pod=CANARY, errors=20))
    assert status["phase"] == "withdrawn"


async def leaving(world: World) -> None:
    """A rollback whose gateway has not acknowledged it."""
    await stepping(world)
    world.gateway.fleet["node-1"].silent = True
    await world.plane.roll_back("tts", actor="ann")
    assert world.plane.status("tts")["phase"] == "rolling_back"


def agreed(world: World) -> None:
    """State, journal and gateways say the same."""
    state = world.loop.services["tts"].state
    assert fold(world.book.entries)["tts"] == state
    assert world.gateway.in_force("tts") == state.table()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def ticking(world: World):  # noqa: ANN201 - a context of nothing
    """Let the loop run by itself, fast."""
    world.loop = ControlLoop(world.loop.ports, world.telemetry, tick_s=0.01, lease_s=0.3)
    world.plane = ControlPlane(world.loop)
    await world.loop.start()
    try:
        yield
    finally:
        await world.loop.stop()


@pytest.mark.parametrize(
    ("begin", "command", "sentence"),
    [
        (withdrawn, "promote", "that is withdrawn cannot be promoted"),
        (withdrawn, "resume", "that is withdrawn cannot be resumed"),
        (leaving, "promote", "that is rolling back cannot be promoted"),
        (leaving, "pause", "that is rolling back cannot be paused"),
    ],
)
async def test_what_the_table_forbids_never_enters_the_journal(
    world: World, begin: Callable[[World], Any], command: str, sentence: str
) -> None:
    await begin(world)
    before = list(world.book.entries)
    with pytest.raises(errors.IllegalTransition, match=sentence):
        await getattr(world.plane, command)("tts", actor="ann")
    assert world.book.entries == before
    world.gateway.fleet["node-1"].silent = False
    await world.tick(seconds=1.0)
    agreed(world)
    await world.restart()
    agreed(world)


async def test_an_undo_under_way_can_be_repeated_but_nothing_else_begins(world: World) -> None:
    await stepping(world)
    await world.healthy(25)
    world.gateway.fleet["node-1"].silent = True
    first = await world.plane.roll_back("tts", actor="ann")
    again = await asyncio.gather(*(world.plane.roll_back("tts", actor="bob") for _ in range(2)))
    assert [a["generation"] for a in again] == [first["generation"]] * 2
    assert first["applied_at"] is None
    with pytest.raises(errors.IllegalTransition, match="rolling back cannot be followed"):
        await world.plane.release(
            "tts", ["http://127.0.0.1:6008"], None, world.loop.services["tts"].state.plan, actor="ann"
        )  # type: ignore[arg-type]
    with pytest.raises(errors.Quarantined, match=r"2\.0\.1"):  # what is being left
        await world.plane.roll_back("tts", to="2.0.1", actor="ann")
    world.gateway.fleet["node-1"].silent = False
    await world.tick()
    await world.tick()
    agreed(world)
    assert (await world.plane.roll_back("tts", actor="bob"))["generation"] == first["generation"]


async def test_two_rollbacks_at_once_do_not_lose_the_good_release_as_well(world: World) -> None:
    await stepping(world)
    await world.healthy(25)  # 2.0.1 is stable now, and 1.5.0 could be gone back to
    world.version["127.0.0.1:6008"] = "3.0.0"
    await world.plane.release("tts", ["http://127.0.0.1:6008"], "3.0.0", plan_of(world), actor="ann")
    await world.tick()
    await world.plane.roll_back("tts", actor="judge")
    await world.tick()
    late = await world.plane.roll_back("tts", actor="ann")
    assert late["release"] == "2.0.1"
    assert [q["version"] for q in world.plane.status("tts")["quarantined"]] == ["3.0.0"]
    plan = await world.plane.rollback_plan("tts")
    assert (plan["target"], "--to" in plan["why"]) == ("2.0.1", True)
    assert (await world.plane.roll_back("tts", to="1.5.0", actor="ann"))["release"] == "1.5.0"


def plan_of(world: World):  # noqa: ANN201 - the plan of the rollout before
    return world.loop.services["tts"].state.plan


async def test_an_undo_never_goes_where_another_version_serves_by_now(world: World) -> None:
    await stepping(world)
    await world.healthy(25)
    world.version[STABLE] = "6.6.6"
    with pytest.raises(errors.NothingToRollBack):
        await world.plane.roll_back("tts", actor="ann")


async def test_what_is_no_longer_healthy_is_not_promoted_by_hand(world: World) -> None:
    await baking(world)
    world.gateway.health[CANARY] = False
    await world.tick(seconds=1.0)
    with pytest.raises(errors.UnhealthyTarget):
        await world.plane.promote("tts", actor="ann")


async def test_who_was_proven_harmful_is_not_resumed(world: World) -> None:
    await stepping(world, on_failure="hold", longest_stall="2s")
    for _ in range(400):
        status = await world.tick(answer(20), answer(20, release=2, pod=CANARY, errors=20))
        if status["phase"] == "held":
            break
    assert (status["phase"], status["verdict"]) == ("held", "harmful")
    with pytest.raises(errors.RefusedError, match="judged harmful"):
        await world.plane.resume("tts", actor="ann")
    await world.plane.abort("tts", actor="ann")


async def test_a_canary_held_at_everybody_is_still_judged(world: World) -> None:
    await baking(world)
    await world.plane.pause("tts", actor="ann")
    for _ in range(100):
        status = await world.tick(answer(20, release=2, pod=CANARY, errors=20))
        if status["weight_pct"] == 0:
            break
    assert status["phase"] in {"withdrawn", "rolling_back"}


async def test_an_outcome_is_forgotten_when_a_person_goes_on(world: World) -> None:
    await stepping(world)
    await world.restart()
    assert world.plane.status("tts")["outcome"]["outcome"] == "paused"
    await world.plane.promote("tts", actor="ann")
    await world.plane.pause("tts", actor="ann")
    assert world.plane.status("tts")["outcome"] is None


@pytest.mark.parametrize("begin", [stepping, baking, withdrawn])
async def test_killed_in_any_phase_it_comes_back_held_at_zero(world: World, begin: Callable[[World], Any]) -> None:
    await begin(world)
    await world.restart()
    status = world.plane.status("tts")
    assert (status["phase"], status["weight_pct"]) == ("held", 0)
    assert "restarted" in status["reason"]
    agreed(world)


async def test_killed_while_rolling_back_it_ends_the_rollback(world: World) -> None:
    await leaving(world)
    world.gateway.fleet["node-1"].silent = False
    await world.restart()
    status = await world.tick()
    assert (status["phase"], status["stable"]["release"], status["outcome"]["outcome"]) == (
        "idle",
        "1.5.0",
        "rolled_back",
    )
    agreed(world)


async def test_a_silent_gateway_at_the_start_is_no_trouble_for_ever(world: World) -> None:
    await world.adopt()
    world.gateway.fleet["node-1"].silent = True
    world.gateway.fleet["node-1"].tables.clear()
    await world.restart()
    assert "node-1" in world.plane.status("tts")["trouble"]
    world.gateway.fleet["node-1"].silent = False
    assert (await world.tick(seconds=1.0))["trouble"] is None


async def test_a_start_that_cannot_be_written_leaves_the_gateways_alone(world: World) -> None:
    await stepping(world)
    await world.journal.close()
    world.begin()
    await world.journal.acquire("test")
    world.journal.unwritable = "no space left on device"
    n_pushes = len(world.gateway.pushes)
    with pytest.raises(errors.JournalUnwritable):
        await world.loop.start(ticking=False)
    assert len(world.gateway.pushes) == n_pushes
    world.journal.unwritable = None


async def test_a_rollback_that_can_be_written_again_is_acknowledged(world: World) -> None:
    await stepping(world)
    world.journal.unwritable = "read-only file system"
    with pytest.raises(errors.JournalUnwritable):
        await world.plane.promote("tts", actor="ann")
    world.journal.unwritable = None
    done = await world.plane.roll_back("tts", actor="ann")
    assert (done["acknowledged"], done["applied_at"] is not None) == (1, True)
    await world.tick()
    agreed(world)


async def test_an_entry_that_was_written_unseen_is_caught_up_with(world: World) -> None:
    await stepping(world)
    state = world.loop.services["tts"].state
    facts = {"from": "stepping", "weight_pct": 0.0, "paused": True}
    unseen = Draft("tts", Kind.HELD, "ann", "cut short", state.generation + 1, facts)
    await world.journal.append(unseen, expected_generation=state.generation)
    with pytest.raises(errors.StaleGeneration):
        await world.plane.promote("tts", actor="ann")
    await world.tick()
    assert (world.plane.status("tts")["phase"], world.plane.status("tts")["reason"]) == ("held", "cut short")
    agreed(world)


async def test_a_mirror_that_refuses_to_sample_does_not_stop_the_loop(world: World) -> None:
    async def refuse(service: str, share: float) -> None:
        raise errors.GatewayRefused(generation=1, why=f"{service} {share}")

    world.gateway.sample = refuse  # type: ignore[method-assign]
    await stepping(world)


async def test_a_prober_that_dies_is_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await withdrawn(world)
    world.mirror.record("tts", "POST", "/synthesize", b"x")
    healthy = world.mirror.answer

    def explode(pod: str, key: int) -> Any:
        world.mirror.answer = healthy
        raise RuntimeError(f"replaying {key} on {pod}")

    world.mirror.answer = explode
    await until(lambda: world.mirror.answer is healthy)
    async with asyncio.timeout(20):
        while not world.plane.status("tts")["evidence"]["n_probes"]:
            await world.tick(answer(1), seconds=0.01)
            await asyncio.sleep(0.01)
    assert "testing failed" in caplog.text


async def test_a_loop_that_fails_says_so_loses_its_lease_and_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.adopt()
    renewed = 0
    fine = world.gateway.fetch_health

    async def renew() -> None:
        nonlocal renewed
        renewed += 1

    async def explode() -> Any:
        raise KeyError("health_status")

    world.gateway.renew_lease = renew  # type: ignore[method-assign]
    async with ticking(world):
        await until(lambda: renewed)
        world.gateway.fetch_health = explode  # type: ignore[method-assign]
        world.clock.advance(2.0)
        await until(lambda: world.plane.status("tts")["trouble"])
        assert "the control loop failed: 'health_status'" in world.plane.status("tts")["trouble"]
        before = renewed
        await asyncio.sleep(0.5)  # several renewals would have come
        assert renewed == before
        world.gateway.fetch_health = fine  # type: ignore[method-assign]
        await until(lambda: renewed > before and world.plane.status("tts")["trouble"] is None)
    assert "Traceback" in caplog.text


async def test_a_renewal_that_fails_is_shown_and_tried_again(world: World) -> None:
    await world.adopt()
    fine = world.gateway.renew_lease

    async def explode() -> None:
        raise KeyError("node-1")

    world.gateway.renew_lease = explode  # type: ignore[method-assign]
    async with ticking(world):
        await until(lambda: world.plane.status("tts")["trouble"])
        assert "renewing the lease failed" in world.plane.status("tts")["trouble"]
        world.gateway.renew_lease = fine  # type: ignore[method-assign]
        await until(lambda: world.plane.status("tts")["trouble"] is None)


async def test_who_is_fenced_off_stops_and_renews_nothing(world: World) -> None:
    await world.adopt()
    async with ticking(world):
        await world.release()
        world.clock.advance(2.0)  # health is looked at once a second
        await until(lambda: world.plane.status("tts")["weight_pct"] == 10)
        world.book.term += 1
        with pytest.raises(errors.FencedOff):
            await world.plane.pause("tts", actor="ann")
        await until(world.loop.stopped.is_set)
        assert world.loop.fenced_off
    assert world.plane.status("tts")["weight_pct"] == 10  # that is the other one's to decide


async def test_nothing_is_decided_after_it_stopped(world: World) -> None:
    await stepping(world)
    await world.loop.stop()
    with pytest.raises(errors.ConflictError, match="is stopping"):
        await world.plane.resume("tts", actor="ann")
    agreed(world)


async def test_a_decision_that_is_being_written_is_not_torn_by_a_stop(world: World) -> None:
    await world.adopt()
    writing = asyncio.Event()
    async with ticking(world):
        await world.release()
        world.clock.advance(2.0)  # health is looked at once a second
        await until(lambda: world.plane.status("tts")["weight_pct"] == 10)
        append = world.journal.append

        async def slowly(draft: Draft, *, expected_generation: int) -> Any:
            entry = await append(draft, expected_generation=expected_generation)
            writing.set()
            await asyncio.sleep(0.1)  # a slow disk
            return entry

        world.journal.append = slowly  # type: ignore[method-assign]
        world.gateway.health.update({STABLE: False, CANARY: False})
        world.clock.advance(2.0)
        await writing.wait()
        await world.loop.stop()
    agreed(world)
    assert world.plane.status("tts")["weight_pct"] == 0


async def test_a_slow_watcher_is_not_torn_from_what_it_does(world: World) -> None:
    await world.adopt()
    watching = world.plane.watch("tts")
    await anext(watching)
    await world.release()
    await anext(watching)
    await asyncio.sleep(1.2)  # the watcher is slow to send what it got
    assert (await anext(watching))["event"] == "entry"
    await watching.aclose()


async def test_a_listener_that_cannot_be_had_is_not_journalled(world: World) -> None:
    await world.adopt()
    before = list(world.book.entries)
    apply = world.gateway.apply

    async def taken(_: object) -> None:
        raise errors.PortTaken(address="127.0.0.1:80", remedy="choose another one with --listen")

    world.gateway.apply = taken  # type: ignore[method-assign,assignment]
    identity = world.loop.services["tts"].state.identity
    with pytest.raises(errors.PortTaken):
        await world.plane.move("tts", listen="127.0.0.1:80", identity=identity, actor="ann")
    assert world.book.entries == before
    world.gateway.apply = apply  # type: ignore[method-assign]
    await world.plane.move("tts", listen="127.0.0.1:8501", identity=identity, actor="ann")
    agreed(world)
