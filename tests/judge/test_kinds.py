"""Kinds of metrics that are no shares: scores, events, levels, drift, split; and each user's first failure."""

import numpy as np
import pytest

from penstock.judge.counts import Measure, Tick
from penstock.judge.judge import Judge
from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.judge.poisson import PoissonProcess
from penstock.judge.verdict import Verdict, Word

MOS = MetricLimit("mos", MetricKind.SCORE, best=5.0, worst=1.0, gap=0.2)
ERRORS = MetricLimit("errors", MetricKind.SHARE, fails=True)
QUIET = MetricLimit("quiet", MetricKind.SHARE, weight=1e-6, required=False)


def judge_of(*metrics: MetricLimit, pods: int = 1, stall_s: float = 5.0) -> Judge:
    limits = Limits((*metrics, QUIET), longest_stall_s=stall_s)
    return Judge(limits, n_canary_pods=pods, n_stable_pods=pods, max_duration_s=3600.0, rounds=False)


def at(second: float, *measures: Measure) -> Tick:
    return Tick(second, (), (), measures=measures)


def scored(canary: float, stable: float, seconds: int = 600, *, seed: int = 1) -> tuple[Judge, Verdict]:
    rng = np.random.default_rng(seed)
    judged = judge_of(MOS)
    for second in range(seconds):
        of_canary, of_stable = (tuple(np.clip(rng.normal(mean, 0.4, 2), 1, 5)) for mean in (canary, stable))
        verdict = judged.observe(
            at(float(second), Measure("mos", True, values=of_canary), Measure("mos", False, values=of_stable))
        )
        if verdict.alarm:
            judged.restart_alarm()
        if verdict.word is Word.HARMFUL:
            break
    return judged, verdict


def test_a_score_that_is_clearly_worse_is_condemned_in_its_own_words() -> None:
    _, verdict = scored(3.4, 4.2)
    assert verdict.word is Word.HARMFUL
    assert "mos 3." in verdict.reasons[0]
    assert "against 4." in verdict.reasons[0]
    assert "(limit 0.2 worse)" in verdict.reasons[0]


def test_an_equal_score_is_proven_equal() -> None:
    _, verdict = scored(4.2, 4.2, 300)
    assert verdict.word is Word.HEALTHY
    assert verdict.metrics["mos"].proof >= 20.0
    assert abs(verdict.metrics["mos"].gap or 0.0) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_a_score_at_the_tolerated_gap_is_neither_condemned_nor_proven(seed: int) -> None:
    _, verdict = scored(4.0, 4.2, 600, seed=seed)
    assert verdict.word is Word.UNDECIDED


def test_crashes_withdraw_and_a_crash_loop_is_one_broken_pod() -> None:
    crashes = MetricLimit("crashes", MetricKind.EVENTS, required=False)
    judged = judge_of(crashes, pods=2, stall_s=60.0)
    alarmed = False
    for second in range(120):
        events = [Measure("crashes", True, "bad", 1 if second < 60 else 0, exposure_s=1.0)]
        events += [
            Measure("crashes", arm, pod, 0, exposure_s=1.0) for arm, pod in ((True, "c"), (False, "s"), (False, "t"))
        ]
        verdict = judged.observe(at(float(second), *events))
        if verdict.alarm and not alarmed:
            alarmed = True
            assert verdict.reasons[0].startswith(f"crashes: {second + 1} in ")
            assert "against 0 in" in verdict.reasons[0]
    assert alarmed
    assert verdict.word is Word.UNDECIDED, "sixty crashes of one pod in one block are one observation"


def test_events_at_the_same_rate_prove_nothing() -> None:
    rng = np.random.default_rng(3)
    fired = 0
    for _ in range(200):
        process = PoissonProcess(n_starts=10)
        for second in range(300):
            canary, stable = (int(rng.poisson(0.02)), 1.0), (int(rng.poisson(0.08)), 4.0)
            process.observe_events(float(second), canary, stable, rho0=1.0, delta_hz=0.0)
            if process.evidence >= 20.0:
                fired += 1
                break
    assert fired <= 20


def test_nothing_that_was_not_watched_is_bet_on() -> None:
    process = PoissonProcess(n_starts=10)
    process.observe_events(0.0, (9, 0.0), (0, 1.0), rho0=1.0, delta_hz=0.0)
    process.observe_events(1.0, (9, 1.0), (0, 0.0), rho0=1.0, delta_hz=0.0)
    assert process.evidence == 1.0
    process.observe_events(2.0, (9, 1.0), (0, 0.0), rho0=0.0, delta_hz=0.1)
    assert process.evidence > 1e3


def test_a_level_above_its_limit_three_times_in_a_row_withdraws_and_one_spike_does_not() -> None:
    memory = MetricLimit("gpu_memory", MetricKind.GAUGE, ratio=1.2, limit=0.95, required=False)
    judged = judge_of(memory)
    levels = [0.99, 0.9, 0.99, 0.99, 0.9, 0.99, 0.99, 0.99]
    alarms = [
        judged.observe(
            at(
                float(second),
                Measure("gpu_memory", True, "c", values=(level,)),
                Measure("gpu_memory", False, "s", values=(0.9,)),
            )
        ).alarm
        for second, level in enumerate(levels)
    ]
    assert alarms == [False] * 7 + [True]
    reasons = " ".join(judged.verdict().reasons)
    assert "gpu_memory" in reasons
    assert "3 readings in a row above 0.95" in reasons


def test_a_level_that_grew_is_condemned_by_blocks_only() -> None:
    memory = MetricLimit("gpu_memory", MetricKind.GAUGE, ratio=1.2, required=False)
    for level, expected in ((0.5, Word.UNDECIDED), (0.95, Word.HARMFUL)):
        judged = judge_of(memory, pods=2)
        for second in range(900):
            readings = [Measure("gpu_memory", True, pod, values=(level,)) for pod in "cd"]
            readings += [Measure("gpu_memory", False, pod, values=(0.45,)) for pod in "st"]
            verdict = judged.observe(at(float(second), *readings))
            assert not verdict.alarm
        assert verdict.word is expected


def test_drifting_outputs_hold_and_never_condemn() -> None:
    labels = MetricLimit("labels", MetricKind.DRIFT, weight=0.0, gap=0.05, required=False)
    rng = np.random.default_rng(4)
    for shift, holds in ((0.0, False), (0.25, True)):
        judged = judge_of(labels)
        for second in range(300):
            cats = int(rng.binomial(10, 0.5 + shift)), int(rng.binomial(10, 0.5))
            outputs = [
                Measure("labels", arm, outcomes={"cat": n, "dog": 10 - n})
                for arm, n in zip((True, False), cats, strict=True)
            ]
            verdict = judged.observe(at(float(second), *outputs))
        assert bool(verdict.holds) is holds
        assert verdict.word is Word.UNDECIDED
        assert not verdict.alarm
    assert "'cat' 7" in verdict.holds[0]


def test_a_split_that_is_not_what_was_asked_for_holds() -> None:
    users = MetricLimit("users", MetricKind.SPLIT, weight=0.0, required=False)
    rng = np.random.default_rng(5)
    for share, holds in ((0.10, False), (0.05, True)):
        judged = judge_of(users)
        for second in range(600):
            canary = int(rng.binomial(4, share))
            found = [Measure("users", arm, n=n, values=(0.1,)) for arm, n in ((True, canary), (False, 4 - canary))]
            verdict = judged.observe(at(float(second), *found))
        assert bool(verdict.holds) is holds
    assert "10 % were meant to" in verdict.holds[0]


def failing_user(user: str | None) -> Verdict:
    judged = judge_of(ERRORS, pods=2)
    for second in range(600):
        canary = [Measure("errors", True, pod, 5, int(pod == "c" and second % 3 == 0), user=user) for pod in "cd"]
        stable = [Measure("errors", False, pod, 20, 0) for pod in "st"]
        verdict = judged.observe(at(float(second), *canary, *stable))
        if verdict.alarm:
            judged.restart_alarm()
    return verdict


def test_one_user_whose_requests_always_fail_condemns_nobody() -> None:
    assert failing_user("u1").word is Word.UNDECIDED
    assert failing_user("u1").metrics["errors"].unit == "pod-block, each user's first failure"
    assert failing_user(None).word is Word.HARMFUL


def test_every_kind_has_a_place_in_the_verdict() -> None:
    judged = judge_of(
        ERRORS,
        MOS,
        MetricLimit("crashes", MetricKind.EVENTS),
        MetricLimit("rtf", MetricKind.GAUGE),
        MetricLimit("labels", MetricKind.DRIFT, gap=0.05),
        MetricLimit("users", MetricKind.SPLIT),
    )
    judged.freeze_baseline()
    judged.thaw_baseline()
    verdict = judged.observe(at(0.0))
    assert set(verdict.metrics) == {"errors", "mos", "crashes", "rtf", "labels", "users", "quiet"}
    assert all(metric.block_evidence == metric.proof == 1.0 for metric in verdict.metrics.values())


def test_quantiles_beside_each_other_are_metrics_of_their_own() -> None:
    both = [MetricLimit(f"p{q:.0%}", MetricKind.LATENCY, source="latency", quantile=q) for q in (0.5, 0.95)]
    judged = judge_of(*both)
    rng = np.random.default_rng(6)
    for second in range(300):
        found = []
        for arm, n, slower in ((True, 5, 1.5), (False, 45, 1.0)):
            times = np.floor(slower * rng.lognormal(np.log(50), 0.3, n))
            found.append(Measure("latency", arm, bins={float(ms): int((times == ms).sum()) for ms in set(times)}))
        verdict = judged.observe(at(float(second), *found))
        if verdict.alarm:
            judged.restart_alarm()
    assert {"p50%", "p95%"} <= set(verdict.metrics)
    assert verdict.word is Word.HARMFUL
    assert any("p50 1." in reason for reason in verdict.reasons)
