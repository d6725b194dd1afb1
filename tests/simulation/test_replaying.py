"""The policy on recorded ticks: withdraw, resume, roll back, promote."""

import json
from collections.abc import Iterable

import pytest

from penstock.judge.memory import recall, remember
from penstock.rollout.decide import quiet_after_s
from penstock.simulation.declared import chosen_for, declared_from
from penstock.simulation.recorded import Record, record_of
from penstock.simulation.replaying import Act, Outcome, Replay, judge_for, metrics_as_json, tick_as_json
from tests.simulation.recordings import latencies, line, shares


def begun(lines: Iterable[bytes], **options: object) -> tuple[Record, Replay]:
    record = record_of("f", lines)
    limits = chosen_for(declared_from({}, **options), record.shapes, file="f").limits
    return record, Replay(judge_for(record, limits), limits)


def replayed(lines: Iterable[bytes], **options: object) -> Replay:
    record, replay = begun(lines, **options)
    for tick in record.ticks:
        replay.observe(tick)
    return replay


def test_an_equal_canary_is_promoted_once() -> None:
    replay = replayed(shares(2000, lambda _: 0.002))
    assert replay.outcome is Outcome.PROMOTE
    (action,) = replay.actions
    assert (action.act, action.metric) == (Act.PROMOTE, None)
    assert action.evidence >= 20.0
    assert action.n_canary == 10 * (action.at_s + 1)
    assert action.reason.startswith("not worse in errors, each proven after")


def test_a_broken_canary_is_withdrawn_at_once_and_rolled_back_after_three_stalls() -> None:
    replay = replayed(shares(400, lambda _: 0.6))
    assert replay.outcome is Outcome.ROLLBACK
    withdraw, rollback = replay.actions
    assert (withdraw.act, withdraw.at_s, withdraw.metric, withdraw.n_canary) == (Act.WITHDRAW, 0.0, "errors", 10)
    assert withdraw.evidence >= 20.0
    assert (rollback.act, rollback.at_s, rollback.metric) == (Act.ROLLBACK, 180.0, "errors")
    assert "without a break" in rollback.reason
    assert replay.judge.at_s == 180.0  # what came later was not judged


def test_a_worse_canary_is_rolled_back_on_evidence() -> None:
    replay = replayed(shares(3000, lambda _: 0.1))
    assert replay.outcome is Outcome.ROLLBACK
    last = replay.actions[-1]
    assert (last.act, last.metric) == (Act.ROLLBACK, "errors")
    assert last.evidence >= 125.0


def test_a_stall_withdraws_and_the_traffic_comes_back_when_it_was_quiet_for_long_enough() -> None:
    replay = replayed(shares(600, lambda t: 1.0 if 100 <= t < 110 else 0.002))
    assert [action.act for action in replay.actions] == [Act.WITHDRAW, Act.RESUME, Act.PROMOTE]
    withdraw, resume, _ = replay.actions
    assert withdraw.at_s == 100.0
    assert resume.at_s - withdraw.at_s >= quiet_after_s(60.0, 1) == 30.0
    assert resume.reason.startswith("behaved for 3")
    assert replay.outcome is Outcome.PROMOTE


def test_quiet_doubles_with_every_withdrawal_up_to_five_stalls() -> None:
    replay = replayed(shares(2000, lambda t: 1.0 if t % 400 < 5 else 0.002), longest_stall=20.0)
    pairs = [
        (one.at_s, other.at_s - one.at_s)
        for one, other in zip(replay.actions, replay.actions[1:], strict=False)
        if (one.act, other.act) == (Act.WITHDRAW, Act.RESUME)
    ]
    assert len(pairs) >= 3
    for k, (_, away_s) in enumerate(pairs, 1):
        assert quiet_after_s(20.0, k) <= away_s < quiet_after_s(20.0, k) + 30.0
    assert quiet_after_s(20.0, 5000) == 100.0


def test_a_record_that_ends_withdrawn_says_so() -> None:
    replay = replayed(shares(120, lambda t: 1.0 if t >= 110 else 0.002))
    assert (replay.outcome, replay.withdrawn) == (Outcome.WITHDRAW, True)


def test_a_canary_without_stable_is_not_resumed_blindly() -> None:
    lines = shares(25, lambda t: 1.0 if t >= 20 else 0.0) + [
        line(float(t), "canary", n=10, bad=0) for t in range(25, 400)
    ]
    replay = replayed(lines)
    assert [action.act for action in replay.actions if action.at_s > 85.0] == []


def test_a_slow_canary_is_found_in_single_times() -> None:
    replay = replayed(latencies(1500, 1.6))
    assert replay.actions[0].act is Act.WITHDRAW
    assert replay.actions[0].metric == "latency"
    assert replay.outcome in (Outcome.ROLLBACK, Outcome.WITHDRAW)


def test_a_level_above_its_hard_limit_withdraws_and_is_named() -> None:
    lines = [
        line(float(t), arm, "gpu_memory", value=0.99 if arm == "canary" else 0.5)
        for t in range(5)
        for arm in ("canary", "stable")
    ]
    replay = replayed(lines)
    assert (replay.actions[0].act, replay.actions[0].metric, replay.actions[0].at_s) == (
        Act.WITHDRAW,
        "gpu_memory",
        2.0,
    )


def test_estimates_of_scores_are_in_their_own_unit() -> None:
    lines = [
        line(float(t), arm, "mos", scores=[mos, mos + 0.2])
        for t in range(300)
        for arm, mos in (("canary", 3.4), ("stable", 4.0))
    ]
    record, replay = begun(lines)
    for tick in record.ticks:
        replay.observe(tick)
    limits = chosen_for(declared_from({}), record.shapes, file="f").limits
    mos = metrics_as_json(limits, replay.judge.verdict().metrics)["mos"]
    assert mos["estimate"] == pytest.approx(-0.6, abs=1e-6)
    assert mos["interval"][0] <= -0.6 <= mos["interval"][1] <= 0.0
    assert mos["unit_of_evidence"] == "pod-block"
    json.dumps([tick_as_json(replay, limits), [action.as_json() for action in replay.actions]])


def test_only_a_users_first_failure_may_roll_back() -> None:
    def by_user(user: str) -> list[bytes]:
        rows = []
        for t in range(900):
            rows.append(line(float(t), "canary", n=10, bad=1, user=user))
            rows.append(line(float(t), "stable", n=90, bad=0, user="bob"))
        return rows

    assert replayed(by_user("ann")).outcome is not Outcome.ROLLBACK
    assert replayed(shares(900, lambda _: 0.1, stable=0.0)).outcome is Outcome.ROLLBACK


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_decisions_are_the_same_after_any_restart(batch: int) -> None:
    lines = [*shares(700, lambda t: 1.0 if 100 <= t < 104 else 0.05, seed=4), *latencies(700, 1.1)]
    lines.sort(key=lambda one: json.loads(one)["t"])
    record, straight = begun(lines)
    for tick in record.ticks:
        straight.observe(tick)
    _, restarted = begun(lines)
    for index, tick in enumerate(record.ticks):
        if index % max(batch, 70) == 0:
            restarted.judge = recall(json.loads(json.dumps(remember(restarted.judge))))
        restarted.observe(tick)
    assert restarted.actions == straight.actions != []
    assert restarted.judge.verdict() == straight.judge.verdict()


def test_suspicion_keeps_a_quiet_canary_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    record, replay = begun(shares(200, lambda t: 1.0 if 100 <= t < 104 else 0.002))
    monkeypatch.setattr(type(replay.judge), "evidence", 20.0)
    for tick in record.ticks:
        replay.observe(tick)
    assert [action.act for action in replay.actions] == [Act.WITHDRAW]
