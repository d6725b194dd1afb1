"""Kayenta beyond its own cases: preparation, scores, and many tests and releases at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulation.peers import kayenta
from penstock.simulation.peers.kayenta import Direction, Label, Pair, Result, Settings, classify, prepared, score
from penstock.simulation.peers.mannwhitney import padded, shifts
from penstock.simulation.peers.series import NEVER
from tests.simulation.releases import Traffic, traffic

UP = Settings(direction=Direction.INCREASE)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def pair(control: list[float], experiment: list[float]) -> Pair:
    return Pair(np.array(control), np.array(experiment))


def test_nan_is_removed_or_becomes_0() -> None:
    values = np.array([1.0, np.nan, 3.0])
    assert prepared(values, Settings()).tolist() == [1.0, 3.0]
    assert prepared(values, Settings(replace_nans=True)).tolist() == [1.0, 0.0, 3.0]
    assert prepared(np.array([np.nan]), Settings(remove_outliers=True)).size == 0


def test_outliers_lie_beyond_both_fences() -> None:
    """201 points; the 99th percentile is the 199th, so only what is above that and Tukey's fence goes."""
    values = np.concatenate([np.linspace(1.0, 2.0, 199), [1e3, 1e6]])
    assert prepared(values, Settings()).size == 201
    assert prepared(values, Settings(remove_outliers=True)).tolist() == values[:199].tolist()
    assert prepared(values, Settings(remove_outliers=True, outlier_factor=1e5)).size == 201 - 1


@pytest.mark.parametrize(
    ("how", "label", "critical"),
    [
        (Settings(), Label.NODATA, False),
        (Settings(must_have_data=True), Label.NODATA_FAIL, False),
        (Settings(must_have_data=True, critical=True), Label.NODATA, True),
        (Settings(replace_nans=True, critical=True), Label.PASS, False),
    ],
)
def test_missing_data(how: Settings, label: Label, *, critical: bool) -> None:
    empty = pair([], [1.0])
    for said in (classify(empty, how, rng()), kayenta.classify_by_mean(empty, how)):
        assert (said.label, said.critical) == (label, critical)


def test_two_single_points_cannot_be_tested() -> None:
    assert classify(pair([1.0], [2.0]), Settings(), rng()).label is Label.ERROR


def test_one_value_in_both_series_passes() -> None:
    assert classify(pair([0.0, 0.0], [0.0]), Settings(), rng()).label is Label.PASS


def test_only_the_bad_direction_counts() -> None:
    small, large = [1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0]
    for direction, up, down in (("increase", "High", "Pass"), ("decrease", "Pass", "Low"), ("either", "High", "Low")):
        how = Settings(direction=Direction(direction), confidence=0.95)
        assert classify(pair(small, large), how, rng()).label == up
        assert classify(pair(large, small), how, rng()).label == down
        assert kayenta.classify_by_mean(pair(small, large), how).label == up
        assert kayenta.classify_by_mean(pair(large, small), how).label == down


def test_without_thresholds_no_effect_is_tolerated() -> None:
    """CLES of complete separation is 1, and 0 the other way round."""
    how = Settings(effect_size=kayenta.EffectSize.CLES, confidence=0.95, critical=True)
    apart = pair([1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0])
    assert kayenta.cles(apart) == 1.0
    assert kayenta.cles(pair([1.0, 2.0], [1.0, 2.0])) == 0.5
    assert classify(apart, how, rng())[:2] == (Label.HIGH, True)
    assert classify(Pair(*reversed(apart)), how, rng())[:2] == (Label.LOW, True)


PASS, HIGH, NODATA, NODATA_FAIL, ERROR = Label.PASS, Label.HIGH, Label.NODATA, Label.NODATA_FAIL, Label.ERROR


@pytest.mark.parametrize(
    ("results", "weights", "expected"),
    [
        ([(PASS, "a"), (PASS, "a")], {}, 100.0),
        ([(PASS, "a"), (HIGH, "a"), (PASS, "a")], {}, 66.67),
        ([(PASS, "a"), (Label.LOW, "a")], {"a": 100.0}, 50.0),
        ([(PASS, "a"), (NODATA_FAIL, "a")], {}, 50.0),
        ([(PASS, "a"), (HIGH, "b")], {}, 50.0),
        ([(PASS, "a"), (HIGH, "b"), (PASS, "c")], {"b": 80.0}, 20.0),
        ([(NODATA, "a")], {}, 0.0),
        ([(NODATA, "a"), (PASS, "b")], {}, 0.0),
        ([(NODATA, "a"), (PASS, "b"), (HIGH, "b")], {}, 75.0),
        ([(ERROR, "a")], {}, 100.0),
        ([], {}, 0.0),
    ],
)
def test_score(results: list[tuple[Label, str]], weights: dict[str, float], expected: float) -> None:
    assert score([Result(label, (group,)) for label, group in results], weights) == expected


def test_a_critical_metric_fails_the_canary_and_a_muted_one_does_not_count() -> None:
    assert score([Result(PASS), Result(HIGH, critical=True), Result(PASS)]) == 0.0
    assert score([Result(PASS), Result(HIGH, critical=True, muted=True)]) == 100.0


def test_outcome() -> None:
    said = [kayenta.outcome(points, pass_at=95.0, marginal_at=75.0) for points in (95.0, 94.99, 75.0, 74.99)]
    assert said == ["Pass", "Marginal", "Marginal", "Fail"]


points = st.lists(st.sampled_from([0.0, 0.01, 0.02, 0.5, 1.0, 7.25]) | st.floats(0.0, 10.0), min_size=1, max_size=9)


@settings(deadline=None)
@given(st.lists(st.tuples(points, points), min_size=1, max_size=6))
def test_pairs_tested_together_are_each_as_if_alone(pairs: list[tuple[list[float], list[float]]]) -> None:
    xs, ys = ([np.array(sample) for sample in side] for side in zip(*pairs, strict=True))
    together = np.array(shifts(padded(xs), padded(ys), 0.98))
    alone = np.array([shifts(x[None, :], y[None, :], 0.98) for x, y in zip(xs, ys, strict=True)])[:, :, 0].T
    assert np.array_equal(together, alone, equal_nan=True)


@settings(deadline=None)
@given(points, points, st.floats(-3.0, 3.0))
def test_the_estimate_lies_within_the_range_of_shifts(x: list[float], y: list[float], moved: float) -> None:
    low, high, estimate = shifts(np.array([x]) + moved, np.array([y]), 0.98)
    least, most = min(x) + moved - max(y), max(x) + moved - min(y)
    if not np.isnan(estimate[0]):
        assert all(least - 1e-9 <= value[0] <= most + 1e-9 for value in (low, high, estimate))


def stepwise(releases: Traffic, release: int, *, lookback: int | None) -> int:
    """Points of a minute, a look every two minutes."""
    per_minute = round(60.0 / releases.tick_s)
    series: tuple[list[float], list[float]] = ([], [])
    for tick in range(per_minute - 1, releases.n_canary.shape[1], per_minute):
        span = slice(tick + 1 - per_minute, tick + 1)
        arms = ((releases.n_stable, releases.bad_stable), (releases.n_canary, releases.bad_canary))
        for (n, bad), values in zip(arms, series, strict=True):
            total = n[release, span].sum()
            values.append(bad[release, span].sum() / total if total else np.nan)
        if len(series[0]) % 2 == 0:
            start = 0 if lookback is None else -lookback
            said = classify(pair(*([v for v in values[start:] if not np.isnan(v)] for values in series)), UP, rng())
            if said.label not in (Label.PASS, Label.ERROR):
                return tick
    return NEVER


@settings(max_examples=40, deadline=None)
@given(traffic, st.sampled_from([None, 4]))
def test_many_releases_at_once_are_each_as_if_alone(releases: Traffic, lookback: int | None) -> None:
    ticks = kayenta.rollback_ticks(
        releases.counts, rng=rng(), every_s=120.0, lookback_s=None if lookback is None else lookback * 60.0
    )
    alone = [stepwise(releases, release, lookback=lookback) for release in range(releases.counts.n_releases)]
    assert ticks.tolist() == alone


def test_a_broken_canary_falls_at_the_first_look_and_an_equal_one_stays() -> None:
    generator = rng()
    n_stable, n_canary = generator.poisson(90.0, (2, 3600)), generator.poisson(10.0, (2, 3600))
    bad_canary = generator.binomial(n_canary, np.array([[0.3], [0.02]]))
    releases = Traffic(n_canary, bad_canary, n_stable, generator.binomial(n_stable, 0.02), 1.0)
    assert kayenta.rollback_ticks(releases.counts, rng=rng()).tolist() == [299, NEVER]
