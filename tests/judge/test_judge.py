"""The judge as the control plane sees it: words, alarms, reasons, and what no input may do to it."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.judge.counts import PodCounts, Round, Tick
from penstock.judge.judge import Judge, block_length_s
from penstock.judge.limits import Limits
from penstock.judge.presets import generic, limits_for
from penstock.judge.verdict import Verdict, Word

CLEAR = Round(suspect_fails_on_canary=True, suspect_fails_on_stable=False, control_fails_on_canary=False)
FAST = {400: 1}
QUICK = limits_for(longest_stall_s=5.0)


def judge(limits: Limits | None = None, *, n_canary_pods: int = 1, n_stable_pods: int = 1) -> Judge:
    return Judge(
        limits or limits_for(), n_canary_pods=n_canary_pods, n_stable_pods=n_stable_pods, max_duration_s=3600.0
    )


def arm(release: int, n: int, *, pods: int = 1, bad: int = 0, at_ms: int = 200, **counts: Any) -> tuple[PodCounts, ...]:
    return tuple(
        PodCounts(release, f"{release}-{pod}:1", n, errors=bad, latency_ms={at_ms: n} if n else {}, **counts)
        for pod in range(pods)
    )


def tick(second: float, *, canary: tuple[PodCounts, ...], n_stable: int = 45, probes: bool = False) -> Tick:
    return Tick(second, canary, arm(1, n_stable) if n_stable else (), probes=probes)


def run(judged: Judge, seconds: range, *, probes: bool = False, n_stable: int = 45, **canary: Any) -> Verdict:
    for second in seconds:
        verdict = judged.observe(tick(float(second), canary=arm(2, 5, **canary), n_stable=n_stable, probes=probes))
    return verdict


def test_equal_releases_are_undecided_and_quiet() -> None:
    verdict = run(judge(), range(600))
    assert (verdict.word, verdict.alarm, verdict.gross_s) == (Word.UNDECIDED, False, 0.0)
    assert verdict.quiet_s == 599.0
    assert verdict.n_canary == 3000
    assert verdict.evidence < 2.0
    assert "no harm proven" in verdict.reasons[0]
    assert "after 3000 user requests" in verdict.reasons[0]


def test_a_canary_that_fails_everything_is_withdrawn_at_once_and_condemned_after_the_patience() -> None:
    judged = judge()
    verdict = run(judged, range(3), bad=5)
    assert verdict.alarm
    assert verdict.word is Word.UNDECIDED
    assert verdict.n_canary <= 15
    assert verdict.reasons[0].startswith("errors 100 % against 0 % on stable (limit 1.25x and +0.1 %), after ")
    judged.restart_alarm()
    verdict = run(judged, range(3, 190), bad=5, probes=True)
    assert verdict.word is Word.HARMFUL
    assert verdict.gross_s >= verdict.gross_needed_s == 180.0
    assert "without a break for 180 s" in verdict.reasons[0]
    assert "15 user requests and " in verdict.reasons[1]
    assert verdict.reasons[1].endswith("probes")


def test_condemned_stays_condemned() -> None:
    judged = judge()
    run(judged, range(190), bad=5)
    verdict = run(judged, range(190, 400))
    assert verdict.word is Word.HARMFUL
    assert judged.blind(401.0).word is Word.HARMFUL


def test_a_canary_that_recovers_falls_quiet() -> None:
    judged = judge()
    assert run(judged, range(3), bad=5).alarm
    judged.restart_alarm()
    verdict = run(judged, range(3, 100), probes=True)
    assert not verdict.alarm
    assert verdict.word is Word.UNDECIDED
    assert verdict.quiet_s > 80.0


def test_an_alarm_nobody_answers_ends_by_itself() -> None:
    judged = judge()
    assert run(judged, range(3), bad=5).alarm
    assert not run(judged, range(3, 60)).alarm


def test_restarting_the_alarm_keeps_what_may_roll_back() -> None:
    judged = judge(QUICK)
    before = run(judged, range(14), bad=1)
    judged.restart_alarm()
    after = judged.blind(14.0)
    assert after.evidence == before.evidence != 1.0
    assert all(metric.request_evidence == 1.0 for metric in after.metrics.values())
    assert after.metrics["errors"].block_evidence == before.metrics["errors"].block_evidence


def test_rounds_condemn_and_say_so() -> None:
    judged = judge()
    run(judged, range(20))
    for _ in range(30):
        judged.observe_round(CLEAR)
        verdict = judged.observe(tick(20.0, canary=arm(2, 5)))
        if verdict.word is Word.HARMFUL:
            break
    assert verdict.reasons == ("fails the same recorded requests that stable answers: 16 of 16 rounds",)
    assert verdict.evidence >= verdict.evidence_needed


def test_a_gross_failure_is_named_first_and_rounds_are_not_forgotten() -> None:
    judged = judge(QUICK)
    judged.observe_round(CLEAR)
    verdict = run(judged, range(20), bad=5)
    assert verdict.word is Word.HARMFUL
    assert "without a break" in verdict.reasons[0]
    assert verdict.reasons[-1] == "fails the same recorded requests that stable answers: 1 of 1 round"


def test_a_fault_is_named_by_its_most_frequent_mark() -> None:
    verdict = run(judge(), range(10), faults={"silence": 3, "pops": 1})
    assert verdict.alarm
    assert verdict.reasons[0].startswith("silence (marked by the server) 80 % against 0 % on stable")


def test_slow_answers_are_compared_with_stables_p95() -> None:
    judged = judge()
    run(judged, range(30))
    verdict = run(judged, range(30, 200), at_ms=410)
    assert verdict.metrics["latency"].request_evidence > 1.0 or verdict.alarm
    verdict = run(judged, range(200, 900), at_ms=410)
    assert verdict.word is Word.HARMFUL
    assert "x stable (4" in verdict.reasons[0]
    assert "limit 1.10x, after " in verdict.reasons[0]


def test_the_first_answers_of_a_pod_say_nothing_about_latency() -> None:
    judged = judge()
    run(judged, range(30))
    for second in range(30, 34):
        newcomer = (PodCounts(2, "new:1", 5, latency_ms={9000: 5}),)
        verdict = judged.observe(tick(float(second), canary=newcomer))
    assert not verdict.alarm


@pytest.mark.parametrize(
    ("limits", "canary", "metric"),
    [
        (Limits(generic(max_errors_ratio=0.005)), {"bad": 1}, "errors_limit"),
        (Limits(generic(max_p95_ms=300.0)), {"at_ms": 500}, "latency_limit"),
    ],
)
def test_absolute_limits_hold_whatever_stable_does(limits: Limits, canary: dict[str, int], metric: str) -> None:
    judged = judge(limits)
    for second in range(600):
        same_on_both = Tick(float(second), arm(2, 5, **canary), arm(1, 45, bad=9 if "bad" in canary else 0, at_ms=500))
        verdict = judged.observe(same_on_both)
    assert verdict.metrics[metric].block_evidence > 20.0
    assert verdict.word is Word.HARMFUL
    assert any("limit" in reason for reason in verdict.reasons)


def test_without_stable_the_judge_is_blind_unless_probes_reach_it() -> None:
    judged = judge()
    run(judged, range(30))
    verdict = run(judged, range(30, 100), n_stable=0)
    assert verdict.word is Word.BLIND
    assert "stable has answered nothing for 70 s" in verdict.reasons[0]
    assert verdict.evidence < 2.0
    assert run(judged, range(100, 103), probes=True).word is Word.UNDECIDED


def test_a_failed_reading_is_blind_and_changes_no_evidence() -> None:
    judged = judge()
    before = run(judged, range(100), bad=1)
    verdict = judged.blind(101.0)
    assert verdict.word is Word.BLIND
    assert verdict.evidence == before.evidence
    assert verdict.gross_s == before.gross_s


def test_with_everything_on_the_canary_its_past_is_the_measure() -> None:
    judged = judge(QUICK)
    run(judged, range(120))
    judged.freeze_baseline()
    assert run(judged, range(120, 300), n_stable=0).word is not Word.HARMFUL
    verdict = run(judged, range(300, 400), n_stable=0, bad=1)
    assert verdict.word is Word.HARMFUL
    assert "from stable's last share" in " ".join(verdict.reasons)


def test_with_everything_on_the_canary_gross_failure_needs_no_stable() -> None:
    judged = judge(QUICK)
    run(judged, range(120))
    judged.freeze_baseline()
    verdict = run(judged, range(120, 140), n_stable=0, bad=5)
    assert verdict.word is Word.HARMFUL


def test_freezing_twice_or_thawing_what_is_not_frozen_changes_nothing() -> None:
    one, other = judge(QUICK), judge(QUICK)
    one.thaw_baseline()
    assert run(one, range(60), bad=1) == run(other, range(60), bad=1)
    one.freeze_baseline()
    other.freeze_baseline()
    one.freeze_baseline()
    assert run(one, range(60, 90), n_stable=0) == run(other, range(60, 90), n_stable=0)


def test_thawing_compares_again() -> None:
    judged = judge(QUICK)
    run(judged, range(120))
    judged.freeze_baseline()
    run(judged, range(120, 150), n_stable=0)
    judged.thaw_baseline()
    for second in range(150, 300):
        verdict = judged.observe(Tick(float(second), arm(2, 5, bad=1), arm(1, 45, bad=9)))
    assert verdict.word is Word.UNDECIDED
    assert verdict.metrics["errors"].limit == "1.25x and +0.1 %"


def test_block_length_follows_the_longest_stall() -> None:
    assert block_length_s(60.0) == 60.0
    assert block_length_s(0.5) == 1.0


def test_an_arm_without_pods_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="each arm needs at least one"):
        judge(n_canary_pods=0)


def split(whole: Tick) -> Tick:
    """The same tick as two gateway nodes would have counted it."""

    def halves(pods: tuple[PodCounts, ...]) -> tuple[PodCounts, ...]:
        parts = []
        for pod in pods:
            n, errors = pod.n // 2, min(pod.errors, pod.n // 2)
            times = {edge: count // 2 for edge, count in pod.latency_ms.items()}
            rest = {edge: count - count // 2 for edge, count in pod.latency_ms.items()}
            parts.append(PodCounts(pod.release, pod.pod, n, errors, latency_ms=times))
            parts.append(PodCounts(pod.release, pod.pod, pod.n - n, pod.errors - errors, latency_ms=rest))
        return tuple(parts)

    return Tick(whole.at_s, halves(whole.canary), halves(whole.stable), probes=whole.probes)


def backwards(whole: Tick) -> Tick:
    return Tick(whole.at_s, whole.canary[::-1], whole.stable[::-1], probes=whole.probes)


@pytest.mark.parametrize("change", [split, backwards])
def test_nodes_and_the_order_of_pods_change_nothing(change: Any) -> None:
    one, other = (judge(QUICK, n_canary_pods=2, n_stable_pods=3) for _ in range(2))
    for second in range(200):
        canary = arm(2, 6 + second % 3, pods=2, bad=second % 4 == 0, at_ms=200 + 10 * (second % 30))
        whole = Tick(float(second), canary, arm(1, 31, pods=3, bad=second % 9 == 0, at_ms=210 + 10 * (second % 20)))
        plain, changed = one.observe(whole), other.observe(change(whole))
        assert plain == changed


def test_swapping_the_arms_turns_harm_into_none() -> None:
    worse, better = judge(QUICK), judge(QUICK)
    for second in range(120):
        bad, good = arm(2, 20, bad=2), arm(1, 20)
        against = worse.observe(Tick(float(second), bad, good))
        favour = better.observe(Tick(float(second), good, bad))
    assert against.word is Word.HARMFUL
    assert favour.word is Word.UNDECIDED
    assert favour.evidence < 1.0 < against.evidence


def test_a_late_fault_is_quoted_with_what_happened_lately() -> None:
    judged = judge(QUICK)
    run(judged, range(1200))
    verdict = run(judged, range(1200, 1400), bad=1)
    assert verdict.word is Word.HARMFUL
    assert "in the last ten minutes" in verdict.reasons[0]
    assert verdict.metrics["errors"].n_canary == 7000


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="four words"):
        bool(run(judge(), range(2)))


def test_a_verdict_can_be_written_down() -> None:
    text = json.dumps(run(judge(), range(100), bad=1).as_json(), allow_nan=False)
    assert json.loads(text)["word"] == "undecided"


numbers: Any = st.one_of(
    st.integers(-5, 10**12), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0, 1, 2, 50])
)
broken_pods: Any = st.builds(
    PodCounts,
    release=st.just(1),
    pod=st.sampled_from(["a:1", "b:1", "-"]),
    n=numbers,
    errors=numbers,
    client_errors=numbers,
    faults=st.dictionaries(st.sampled_from(["silence", "pops"]), numbers, max_size=2),
    latency_ms=st.dictionaries(numbers, numbers, max_size=3),
)
broken_ticks: Any = st.builds(
    Tick,
    at_s=st.one_of(st.floats(-10, 400), st.just(math.nan), st.just(math.inf)),
    canary=st.lists(broken_pods, max_size=3).map(tuple),
    stable=st.lists(broken_pods, max_size=3).map(tuple),
    probes=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(broken_ticks, max_size=25))
def test_broken_counts_never_break_the_judge(ticks: list[Tick]) -> None:
    judged = judge(Limits(generic(max_errors_ratio=0.01, max_p95_ms=300.0), longest_stall_s=2.0), n_canary_pods=2)
    for broken in ticks:
        verdict = judged.observe(broken)
        numbers_seen = [verdict.evidence, verdict.quiet_s, verdict.gross_s]
        numbers_seen += [metric.request_evidence for metric in verdict.metrics.values()]
        numbers_seen += [metric.block_evidence for metric in verdict.metrics.values()]
        assert all(math.isfinite(number) and number >= 0.0 for number in numbers_seen)
        for metric in verdict.metrics.values():
            assert 0.0 <= (metric.bad_canary_ratio or 0.0) <= 1.0


@settings(max_examples=40, deadline=None)
@given(st.lists(broken_ticks, max_size=10), st.integers(1, 400))
def test_empty_ticks_never_raise_evidence(ticks: list[Tick], n_empty: int) -> None:
    """Once the block that was open is closed, nothing more comes of nothing."""
    judged = judge(limits_for(longest_stall_s=2.0))
    for broken in ticks:
        judged.observe(broken)
    settled = judged.observe(Tick(1000.0, (), ()))
    for second in range(n_empty):
        verdict = judged.observe(Tick(1000.0 + second, (), ()))
        assert verdict.evidence <= settled.evidence
        assert not verdict.alarm or settled.alarm
    assert verdict.gross_s <= settled.gross_s


def test_a_verdict_without_details_leads_to_the_same_decisions() -> None:
    judged = judge(limits_for(longest_stall_s=2.0))
    for second in range(60):
        verdict = judged.observe(tick(float(second), canary=arm(2, 5, bad=2 * (second > 30))))
        brief = judged.verdict(details=False)
        assert brief == replace(verdict, reasons=(), holds=(), metrics={})
    assert verdict.word is Word.HARMFUL


def test_the_gap_is_the_same_however_often_somebody_asks() -> None:
    asked, rarely = judge(), judge()
    for second in range(300):
        counted = tick(float(second), canary=arm(2, 5, bad=second % 2), n_stable=45)
        often = asked.observe(counted)
        rarely.count(counted)
    assert often.metrics["errors"].gap_interval is not None
    assert rarely.verdict() == often
