"""Use cases and the loop, on fakes that keep the ports' laws."""

import asyncio

import pytest

from penstock.kernel import errors
from penstock.ports.telemetry import Reading, ServiceReading
from penstock.routing.table import Identity
from tests.control.conftest import CANARY, PLAN, STABLE, World, answer


async def stepping(world: World) -> None:
    await world.adopt()
    await world.release()
    status = await world.tick(answer(10))
    assert (status["phase"], status["weight_pct"]) == ("stepping", 10)


async def test_an_adopted_server_is_the_stable_release(world: World) -> None:
    await world.adopt()
    status = world.plane.status("tts")
    assert status["stable"]["release"] == "1.5.0"
    assert status["stable"]["endpoints"] == [f"http://{STABLE}"]
    assert (status["phase"], status["canary"], status["nodes"][0]["generation"]) == ("idle", None, 1)
    assert [e["kind"] for e in await world.plane.history("tts")] == ["adopted", "applied"]


async def test_a_healthy_canary_is_promoted(world: World) -> None:
    await stepping(world)
    status = await world.healthy(25)
    assert (status["phase"], status["stable"]["release"], status["canary"]) == ("idle", "2.0.1", None)
    outcome = await world.plane.outcome("tts")
    assert outcome is not None
    assert (outcome["outcome"], outcome["final"]) == ("promoted", True)
    assert outcome["applied_at"] >= outcome["decided_at"]
    table = world.gateway.in_force("tts")
    assert table is not None
    assert (table.stable.name, table.warm and table.warm.name) == ("2.0.1", "1.5.0")


async def test_a_failing_canary_is_withdrawn_at_once_and_rolled_back_by_replayed_requests(world: World) -> None:
    await stepping(world)
    for _ in range(20):
        world.mirror.record("tts", "POST", "/synthesize", b"x")
    for _ in range(8):
        await world.tick(answer(10), answer(5, release=2, pod=CANARY))
    status = await world.tick(answer(20), answer(20, release=2, pod=CANARY, errors=20))
    assert (status["phase"], status["weight_pct"]) == ("withdrawn", 0)
    healthy = world.mirror.answer
    bad = {key for key in range(1, 21) if key % 3 == 0}
    world.mirror.answer = lambda pod, key: (
        type(healthy(pod, key))(pod, 500, 1.0) if pod == CANARY and key in bad else healthy(pod, key)
    )
    async with asyncio.timeout(60):
        while world.plane.status("tts")["phase"] != "idle":
            await world.tick(answer(1), seconds=0.02)
            await asyncio.sleep(0.02)  # replays are paced by the real clock; the world's must not outrun it
    outcome = await world.plane.outcome("tts")
    assert outcome is not None
    assert outcome["outcome"] == "rolled_back"
    assert "recorded request" in outcome["reason"]
    assert world.plane.status("tts")["quarantined"][0]["version"] == "2.0.1"
    with pytest.raises(errors.Quarantined):
        await world.release()
    await world.plane.unquarantine("tts", "2.0.1", actor="ann", reason="fixed the table")
    await world.release()


async def test_a_rollback_during_a_rollout_goes_to_stable_and_is_idempotent(world: World) -> None:
    await stepping(world)
    first = await world.plane.roll_back("tts", "model", actor="ann", reason="crackles")
    assert (first["release"], first["acknowledged"], first["nodes"]) == ("1.5.0", 1, 1)
    assert first["applied_at"] >= first["decided_at"]
    again = await world.plane.roll_back("tts", to="1.5.0", actor="ann")
    assert again == {**first, "changed": False}
    status = await world.tick()
    assert (status["phase"], status["outcome"]["outcome"]) == ("idle", "rolled_back")


async def test_a_promoted_release_can_be_undone_unless_the_old_one_is_gone(world: World) -> None:
    await stepping(world)
    await world.healthy(25)
    plan = await world.plane.rollback_plan("tts")
    assert plan["target"] == "1.5.0"
    world.down.add(STABLE)
    with pytest.raises(errors.NothingToRollBack, match="does not answer"):
        await world.plane.roll_back("tts", actor="ann")
    with pytest.raises(errors.UnhealthyTarget):
        await world.plane.roll_back("tts", to="1.5.0", actor="ann")
    assert world.plane.status("tts")["stable"]["release"] == "2.0.1"
    world.down.clear()
    result = await world.plane.roll_back("tts", actor="ann", reason="dull voice")
    assert result["release"] == "1.5.0"
    await world.tick()
    assert world.plane.status("tts")["quarantined"] == [{"version": "2.0.1", "why": "dull voice"}]


async def test_a_person_can_pause_resume_promote_and_abort(world: World) -> None:
    await stepping(world)
    await world.plane.pause("tts", actor="ann", reason="lunch")
    status = await world.healthy(20)
    assert (status["phase"], status["weight_pct"], status["outcome"]) == ("held", 10, None)
    await world.plane.resume("tts", actor="ann")
    assert world.plane.status("tts")["weight_pct"] == 10
    status = await world.plane.promote("tts", actor="ann")
    assert status["weight_pct"] == 50
    status = await world.plane.promote("tts", full=True, actor="ann")
    assert (status["phase"], status["weight_pct"]) == ("baking", 100)
    await world.plane.abort("tts", actor="ann")
    status = await world.tick()
    assert (status["phase"], status["stable"]["release"], status["quarantined"]) == ("idle", "1.5.0", [])
    await world.release()


async def test_a_restart_holds_at_zero_and_says_why(world: World) -> None:
    await stepping(world)
    await world.loop.stop()
    held = world.plane.status("tts")
    assert (held["phase"], held["weight_pct"]) == ("held", 0)
    await world.restart()
    assert "stopped" in world.plane.status("tts")["reason"]
    status = await world.plane.resume("tts", actor="ann")
    assert (status["phase"], status["weight_pct"]) == ("stepping", 10)
    await world.restart()  # this time without a clean stop
    status = world.plane.status("tts")
    assert (status["phase"], status["weight_pct"]) == ("held", 0)
    assert "restarted" in status["reason"]


async def test_an_unwritable_journal_takes_the_canary_out_and_holds_when_it_writes_again(world: World) -> None:
    await stepping(world)
    world.journal.unwritable = "no space left on device"
    with pytest.raises(errors.JournalUnwritable):
        await world.plane.promote("tts", actor="ann")
    table = world.gateway.in_force("tts")
    assert table is not None
    assert (table.weight, table.overrides) == (0, False)
    status = await world.tick(answer(10))
    assert "no space left" in status["trouble"]
    world.journal.unwritable = None
    status = await world.tick(answer(10))
    assert (status["phase"], status["weight_pct"]) == ("held", 0)
    assert "could not be written" in status["reason"]


async def test_a_silent_gateway_is_named_and_tried_again(world: World) -> None:
    await world.adopt()
    world.gateway.fleet["node-1"].silent = True
    await world.release()
    status = world.plane.status("tts")
    assert "node-1" in status["trouble"]
    assert status["applied_generation"] < status["generation"]
    world.gateway.fleet["node-1"].silent = False
    status = await world.tick(answer(10))
    assert status["trouble"] is not None  # it is not asked at every tick
    await world.tick(answer(10), seconds=1.0)
    status = await world.tick(answer(10))
    assert (status["trouble"], status["phase"]) == (None, "stepping")


async def test_no_telemetry_is_no_health(world: World) -> None:
    await stepping(world)
    world.telemetry.failure = "admin socket is gone"
    for _ in range(40):
        status = await world.tick()
    assert (status["phase"], status["weight_pct"], status["verdict"]) == ("stepping", 10, "blind")


async def test_a_clock_that_jumps_an_hour_changes_nothing(world: World) -> None:
    await stepping(world)
    for seconds in (3600.0, -7200.0):
        world.clock.jump(seconds)
        status = await world.tick(answer(10), answer(1, release=2, pod=CANARY))
        assert (status["phase"], status["weight_pct"]) == ("stepping", 10)


@pytest.mark.parametrize(
    ("urls", "version", "error", "sentence"),
    [
        ([f"http://{STABLE}"], "2.0.1", errors.DuplicateEndpoint, "already used by tts 1.5.0"),
        (["http://127.0.0.1:8500"], "2.0.1", errors.DuplicateEndpoint, "the gateway itself"),
        (["ftp://x"], "2.0.1", errors.InvalidUrl, "scheme"),
        ([f"http://{CANARY}"], "1.5.0", errors.VersionMismatch, r"serves version 2\.0\.1, not 1\.5\.0"),
        ([f"http://{CANARY}"], "2 0", errors.InvalidVersion, "cannot name"),
    ],
)
async def test_a_wrong_release_is_refused_and_changes_nothing(
    world: World, urls: list[str], version: str, error: type[errors.PenstockError], sentence: str
) -> None:
    await world.adopt()
    before = await world.plane.history("tts")
    with pytest.raises(error, match=sentence):
        await world.plane.release("tts", urls, version, world_plan(), actor="ann")
    assert await world.plane.history("tts") == before


def world_plan():  # noqa: ANN201 - a plan, built where it is needed
    from penstock.rollout.plan import plan_from

    return plan_from(PLAN)


async def test_a_dead_endpoint_a_second_rollout_and_an_unknown_service_are_refused(world: World) -> None:
    with pytest.raises(errors.UnknownService, match="none yet"):
        world.plane.status("tts")
    await world.adopt()
    world.down.add(CANARY)
    with pytest.raises(errors.EndpointUnreachable, match="connection refused"):
        await world.release()
    world.down.clear()
    with pytest.raises(errors.NoRollout):
        await world.plane.pause("tts", actor="ann")
    await world.release()
    with pytest.raises(errors.RolloutInProgress):
        await world.release()
    with pytest.raises(errors.NotFoundError, match="has no component 'vocoder'"):
        await world.plane.roll_back("tts", "vocoder", actor="ann")
    with pytest.raises(errors.DuplicateEndpoint):
        await world.plane.adopt("asr", [f"http://{STABLE}"], listen="127.0.0.1:8501", identity=Identity(), actor="ann")


async def test_watchers_see_entries_and_statuses(world: World) -> None:
    await world.adopt()
    watching = world.plane.watch("tts")
    assert (await anext(watching))["event"] == "status"
    await world.release()
    kinds = [(await anext(watching))["data"]["kind"] for _ in range(2)]
    assert kinds == ["started", "applied"]
    await watching.aclose()


async def test_anonymous_traffic_is_warned_about_while_it_lasts(world: World) -> None:
    await world.adopt()

    async def warnings_after(n_anonymous: int) -> list[str]:
        world.telemetry.feed(Reading({"tts": ServiceReading(n_requests=100, n_anonymous=n_anonymous)}))
        world.clock.advance(60.0)
        await world.loop.tick()
        return list(world.plane.status("tts")["warnings"])

    for _ in range(5):
        warnings = await warnings_after(60)
    assert "60 % of the last minute's requests carry no identity" in warnings[0]
    assert await warnings_after(0) == []


async def test_no_gateway_is_a_warning(world: World) -> None:
    await world.adopt()
    world.gateway.fleet["node-1"].live = False
    assert "no gateway is connected" in world.plane.status("tts")["warnings"][0]
