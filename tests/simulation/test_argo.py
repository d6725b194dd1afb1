"""Argo Rollouts beyond its own cases: measurements, schedule, and many releases at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulation.peers import argo
from penstock.simulation.peers.argo import Analysis, Metric, Phase, Tally, measured
from penstock.simulation.peers.series import NEVER
from tests.simulation.releases import Traffic, traffic


def low(value: float) -> bool:
    return value <= 0.01


def high(value: float) -> bool:
    return value > 0.05


@pytest.mark.parametrize(
    ("value", "success", "failure", "phase"),
    [
        (0.0, low, None, Phase.SUCCESSFUL),
        (0.02, low, None, Phase.FAILED),
        (0.02, None, high, Phase.SUCCESSFUL),
        (0.06, None, high, Phase.FAILED),
        (0.0, low, high, Phase.SUCCESSFUL),
        (0.02, low, high, Phase.INCONCLUSIVE),
        (0.06, low, high, Phase.FAILED),
        (0.5, lambda _: True, lambda _: True, Phase.FAILED),
        (9.0, None, None, Phase.SUCCESSFUL),
        (None, low, None, Phase.ERROR),
        (math.nan, low, None, Phase.FAILED),
        (math.nan, None, high, Phase.SUCCESSFUL),
    ],
)
def test_a_measurement_has_a_phase(
    value: float | None, success: argo.Condition | None, failure: argo.Condition | None, phase: Phase
) -> None:
    assert measured(value, success=success, failure=failure) is phase


def test_an_error_does_not_count_and_anything_else_ends_a_row_of_errors() -> None:
    tally = Tally()
    for measurement in (Phase.SUCCESSFUL, Phase.SUCCESSFUL, Phase.ERROR, Phase.ERROR):
        tally = tally.after(measurement)
    assert tally == Tally(n_counted=2, n_consecutive_errors=2)
    tally = tally.after(Phase.INCONCLUSIVE)
    assert tally == Tally(n_inconclusive=1, n_counted=3)
    assert tally.after(Phase.FAILED).after(Phase.SUCCESSFUL) == Tally(1, 1, 5, 0, 1)


def test_three_failures_are_tolerated_and_the_fourth_ends_it() -> None:
    """The guide says "three such measurements"; the code needs four."""
    analysis = Analysis(Metric(failure_limit=3, interval_s=60.0), success=low)
    phases = [analysis.measure(analysis.due_s, value) for value in (0.02, 0.0, 0.02, 0.02, 0.0, 0.02)]
    assert phases == [Phase.RUNNING] * 5 + [Phase.FAILED]
    assert analysis.due_s == math.inf


def test_forty_seconds_without_metrics_end_it() -> None:
    analysis = Analysis(Metric(interval_s=60.0), success=low, initial_delay_s=30.0)
    assert analysis.phase is Phase.PENDING
    due = []
    while analysis.phase in (Phase.PENDING, Phase.RUNNING):
        due.append(analysis.due_s)
        analysis.measure(analysis.due_s, None)
    assert due == [30.0, 40.0, 50.0, 60.0, 70.0]
    assert analysis.phase is Phase.ERROR


def test_a_later_limit_overrides() -> None:
    tally = Tally(n_failed=1, n_inconclusive=1, n_counted=2, n_consecutive_errors=5)
    assert argo.metric_phase(Metric(), tally, Phase.ERROR) is Phase.ERROR
    assert argo.metric_phase(Metric(consecutive_error_limit=5), tally, Phase.ERROR) is Phase.INCONCLUSIVE


def test_without_count_and_interval_one_measurement_is_enough() -> None:
    analysis = Analysis(Metric())
    assert analysis.measure(0.0, None) is Phase.RUNNING
    assert analysis.due_s == 10.0
    assert analysis.measure(10.0, 1.0) is Phase.SUCCESSFUL


def test_a_count_without_an_interval_goes_on_after_ten_seconds() -> None:
    analysis = Analysis(Metric(count=2))
    assert analysis.measure(0.0, 1.0) is Phase.RUNNING
    assert analysis.due_s == 10.0


def test_without_a_failure_limit_too_few_successes_in_a_row_are_a_failure() -> None:
    metric = Metric(failure_limit=-1, consecutive_success_limit=3, count=5)
    assert argo.metric_phase(metric, Tally(n_failed=4, n_counted=5), Phase.FAILED) is Phase.FAILED


def stepwise(releases: Traffic, release: int, limit: int, max_ratio: float, delay_s: float) -> int:
    analysis = Analysis(
        Metric(failure_limit=limit, interval_s=60.0), success=lambda share: share <= max_ratio, initial_delay_s=delay_s
    )
    window = round(30.0 / releases.tick_s)
    for tick in range(releases.n_canary.shape[1]):
        at_s = (tick + 1) * releases.tick_s
        if at_s < analysis.due_s:
            continue
        if analysis.measure(at_s, releases.share(release, tick, window)) in argo.ABORTING:
            return tick
    return NEVER


@settings(deadline=None)
@given(traffic, st.integers(-1, 3), st.sampled_from([0.0, 0.02, 0.2]), st.sampled_from([0.0, 20.0, 60.0]))
def test_many_releases_at_once_are_each_as_if_alone(
    releases: Traffic, limit: int, max_ratio: float, delay_s: float
) -> None:
    ticks = argo.rollback_ticks(
        releases.counts, failure_limit=limit, max_ratio=max_ratio, window_s=30.0, initial_delay_s=delay_s
    )
    alone = [stepwise(releases, release, limit, max_ratio, delay_s) for release in range(releases.counts.n_releases)]
    assert ticks.tolist() == alone


def test_a_broken_canary_falls_with_the_fourth_window() -> None:
    ones = np.ones((1, 600), dtype=np.int64)
    counts = Traffic(ones, ones, ones, 0 * ones, 1.0).counts
    assert argo.rollback_ticks(counts).tolist() == [239]
    assert argo.rollback_ticks(counts, failure_limit=0, initial_delay_s=0.0).tolist() == [0]


def test_a_canary_without_traffic_falls_with_the_fifth_error() -> None:
    none = np.zeros((1, 600), dtype=np.int64)
    assert argo.rollback_ticks(Traffic(none, none, none, none, 1.0).counts).tolist() == [99]
