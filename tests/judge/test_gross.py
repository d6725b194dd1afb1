"""The gross-fault rule: what is gross, what breaks it, what only freezes it."""

import pytest

from penstock.judge.counts import Measure
from penstock.judge.gross import GrossRule, PodAnswers
from penstock.judge.panel import Panel
from penstock.judge.placebo import Placebo
from penstock.judge.presets import limits_for


def rule(n_canary_pods: int = 1, longest_stall_s: float = 60.0) -> GrossRule:
    return GrossRule(longest_stall_s=longest_stall_s, n_canary_pods=n_canary_pods)


def canary(bad: int, n: int = 2, pod: str = "c") -> PodAnswers:
    return True, pod, n, bad


def stable(bad: int, n: int = 10) -> PodAnswers:
    return False, "s", n, bad


def run(gross: GrossRule, seconds: range, *answers: PodAnswers) -> GrossRule:
    for second in seconds:
        gross.observe(float(second), answers, needs_stable=True)
    return gross


@pytest.mark.parametrize(("n_pods", "needed_s"), [(1, 180), (2, 90), (3, 45), (4, 15), (9, 15)])
def test_patience_by_pods(n_pods: int, needed_s: float) -> None:
    assert rule(n_pods).needed_s == needed_s


def test_patience_scales_with_the_longest_stall_down_to_five_seconds() -> None:
    assert rule(1, 5.0).needed_s == 15.0
    assert rule(4, 5.0).needed_s == 5.0


def test_unbroken_failure_condemns_after_the_patience() -> None:
    gross = run(rule(), range(180), canary(2), stable(0))
    assert not gross.condemns
    run(gross, range(180, 190), canary(2), stable(0))
    assert gross.condemns


def test_a_good_window_ends_it() -> None:
    gross = run(rule(), range(100), canary(2), stable(0))
    run(gross, range(100, 110), canary(0), stable(0))
    assert gross.lasted_s == 0.0


def test_too_few_answers_freeze_it() -> None:
    gross = run(rule(), range(100), canary(2), stable(0))
    for second in range(100, 120):
        gross.observe(float(second), (stable(0),), needs_stable=True)
    frozen = gross.lasted_s
    assert 90 <= frozen <= 110
    for second in range(120, 150):
        gross.observe(float(second), (stable(0),), needs_stable=True)
    assert gross.lasted_s == frozen


def test_a_failing_stable_ends_it_and_a_silent_one_freezes_it() -> None:
    assert run(rule(), range(100), canary(2), stable(3)).lasted_s == 0.0
    assert run(rule(), range(100), canary(2)).lasted_s == 0.0
    alone = rule()
    for second in range(100):
        alone.observe(float(second), (canary(2),), needs_stable=False)
    assert alone.lasted_s > 90


def test_every_canary_pod_must_fail() -> None:
    assert run(rule(2), range(100), canary(2, pod="c"), canary(0, pod="d"), stable(0)).lasted_s == 0.0
    assert run(rule(2), range(100), canary(2, pod="c"), canary(2, pod="d"), stable(0)).condemns


def test_silence_between_ticks_is_not_failure() -> None:
    gross = run(rule(), range(10), canary(2), stable(0))
    before = gross.lasted_s
    gross.observe(1000.0, (canary(9, n=9), stable(0)), needs_stable=True)
    assert gross.lasted_s == before


def test_what_failed_of_a_pod_is_its_users_together_and_its_kinds_of_failure_among_the_same_answers() -> None:
    panel = Panel(limits_for(), Placebo(60.0), n_canary_pods=1, n_starts=None, edges={})
    users = [Measure("errors", True, "c", 1, 1, user=user) for user in ("ann", "bob")]
    kinds = [
        Measure("errors", False, "s", 10, 8),
        Measure("faults", False, "s", 9, 5),
        Measure("stars", False, "s", 99),
    ]
    assert list(panel.failed(users + kinds)) == [(True, "c", 2, 2), (False, "s", 10, 10)]
