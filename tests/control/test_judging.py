"""What the judge knows outlives the control plane, and what the placebo finds is written down."""

from typing import Any

from penstock.rollout.entry import Kind
from tests.control.conftest import CANARY, World, answer


async def stepping(world: World, seconds: float = 30.0) -> None:
    await world.adopt()
    await world.release({"steps": "50,100", "dwell": "10m", "longest_stall": "5s"})
    await world.healthy(seconds)


def evidence(world: World) -> dict[str, Any]:
    return dict(world.plane.status("tts")["evidence"])


async def test_after_a_clean_restart_the_evidence_is_what_it_was(world: World) -> None:
    await stepping(world)
    before = evidence(world)
    assert before["n_canary"] > 1000
    await world.loop.stop()
    await world.restart()
    assert "restarted" not in world.plane.status("tts")["reason"], "it was stopped in peace"
    await world.tick()
    after = evidence(world)
    assert after["n_canary"] == before["n_canary"]
    for name, metric in before["metrics"].items():  # a pod block may have closed since
        assert {**after["metrics"][name], "block_evidence": 0} == {**metric, "block_evidence": 0}
    assert after["failure_bound_ratio"] == before["failure_bound_ratio"] < 0.05


async def test_after_a_crash_it_goes_on_from_what_was_kept_last(world: World) -> None:
    await stepping(world)
    before = evidence(world)["n_canary"]
    await world.restart()
    assert "the evidence goes on where it stopped" in world.plane.status("tts")["reason"]
    await world.tick()
    n_canary = evidence(world)["n_canary"]
    assert before - 250 <= n_canary <= before, "at most five seconds are lost"


async def test_lost_or_foreign_evidence_begins_anew_and_says_so(world: World) -> None:
    await stepping(world)
    for kept in (None, "[]", '{"rollout": 1, "at_s": 0, "judged": {"version": 99}}'):
        world.memory.kept.clear()
        if kept is not None:
            world.memory.kept["tts"] = kept
        await world.restart()
        await world.plane.resume("tts", actor="ann")
        await world.restart()
        assert "the evidence begins anew" in world.plane.status("tts")["reason"]
        world.memory.kept.clear()
        await world.plane.resume("tts", actor="ann")


async def test_evidence_of_another_rollout_is_not_taken(world: World) -> None:
    await stepping(world)
    kept = dict(world.memory.kept)
    await world.plane.abort("tts", actor="ann")
    await world.tick()
    await world.release({"steps": "50,100", "dwell": "10m", "longest_stall": "5s"})
    await world.healthy(1.0)
    world.memory.kept = kept
    await world.restart()
    assert "the evidence begins anew" in world.plane.status("tts")["reason"]
    judging = world.loop.services["tts"]._judging
    assert judging._judge is not None
    assert judging._judge.placebo is judging._placebo, "what the placebo finds from here on is journalled"


async def test_longer_blocks_are_journalled_once_without_a_canary_too(world: World) -> None:
    await world.adopt()
    for minute in range(130):
        bad = 40 if 21 <= minute < 60 else 0
        await world.tick(answer(40, errors=bad), seconds=60.0)
    entries = [entry for entry in await world.journal.read("tts") if entry.kind is Kind.LENGTHENED]
    assert [entry.facts["block_length_s"] for entry in entries] == [120.0]
    assert "stable's own servers differ in errors" in entries[0].reason
    assert entries[0].actor == "judge"


async def test_what_could_not_be_journalled_is_journalled_later(world: World) -> None:
    await world.adopt()
    for minute in range(130):
        world.journal.unwritable = "no space left on device" if minute < 100 else None
        await world.tick(answer(40, errors=40 if 21 <= minute < 60 else 0), seconds=60.0)
    kinds = [entry.kind for entry in await world.journal.read("tts")]
    assert kinds.count(Kind.LENGTHENED) == 1


async def test_a_rollout_with_proof_says_it_is_healthy(world: World) -> None:
    await world.adopt()
    await world.release({"steps": "50,100", "dwell": "5s", "longest_stall": "5s", "require_proof": True})
    for _ in range(400):
        counts = [
            answer(40, latency_ms={200: 38, 300: 2}),
            answer(40, release=2, pod=CANARY, latency_ms={200: 39, 290: 1}),
        ]
        on_canary = world.plane.status("tts")["weight_pct"]
        status = await world.tick(*(counts if 0 < on_canary < 100 else counts[on_canary == 100 :]), seconds=1.0)
        if status["phase"] == "idle":
            break
    assert status["outcome"]["outcome"] == "promoted"
    assert "not proven" not in status["outcome"]["reason"]
