"""Latency as a share: edges, thresholds, quantiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.edges import ForeignEdges, LogSpaced, TwoDigits, edge_at_least, log_binned
from penstock.judge.latency import LatencyHistogram, LatencyScale, Stretch, Thresholds, n_slower

P95 = Stretch(0.95, 0.10)
DIGITS = TwoDigits()


def binned(latency_ms: np.ndarray) -> np.ndarray:
    """Lower edges of two significant digits."""
    whole = np.floor(latency_ms).astype(int)
    step = 10 ** np.maximum(0, np.floor(np.log10(np.maximum(whole, 1))).astype(int) - 1)
    return whole // step * step


@pytest.mark.parametrize(
    ("latency_ms", "edge_ms"),
    [
        (0, 0),
        (0.2, 1),
        (9, 9),
        (10.1, 11),
        (100, 100),
        (1.1 * 100, 110),
        (101, 110),
        (995, 1000),
        (1001, 1100),
        (12345, 13000),
    ],
)
def test_edges_have_two_significant_digits(latency_ms: float, edge_ms: int) -> None:
    assert edge_at_least(latency_ms) == edge_ms


@given(st.floats(0, 1e7))
def test_an_edge_is_its_own_edge_and_no_edge_lies_between(latency_ms: float) -> None:
    edge = edge_at_least(latency_ms)
    assert edge >= latency_ms - 1e-9
    assert edge_at_least(edge) == edge
    assert binned(np.array([float(edge)]))[0] == edge


def test_answers_above_an_edge_are_counted_exactly() -> None:
    assert n_slower({90: 5, 100: 3, 110: 2}, 100) == 5
    assert n_slower({}, 100) == 0


def known_scale(latency_ms: np.ndarray) -> LatencyScale:
    scale = LatencyScale(DIGITS, [P95])
    edges, counts = np.unique(binned(latency_ms), return_counts=True)
    scale.learn(dict(zip(edges.tolist(), counts.tolist(), strict=True)), canary=False)
    scale.refresh(0.0)
    return scale


def stable_edge_ms(scale: LatencyScale) -> float | None:
    thresholds = scale.thresholds.get(P95)
    return thresholds.stable if thresholds else None


def test_thresholds_are_stables_p95_and_the_margin_above_it() -> None:
    latency = np.random.default_rng(3).lognormal(np.log(200), 0.5, 20_000)
    scale = known_scale(latency)
    thresholds = scale.thresholds[P95]
    assert thresholds is not None
    assert thresholds.stable == pytest.approx(np.quantile(latency, 0.95), rel=0.06)
    assert thresholds.harm == edge_at_least(1.1 * thresholds.stable)
    assert thresholds.healthy <= 1.1 * thresholds.stable + 1e-9 <= thresholds.harm + 1e-9
    assert 0.03 <= np.mean(latency >= thresholds.stable) <= 0.075
    assert scale.stable.quantile_ms(0.95, DIGITS) == pytest.approx(np.quantile(latency, 0.95), rel=0.02)


def test_a_server_that_always_takes_the_same_time_has_a_threshold_above_it() -> None:
    assert known_scale(np.full(1000, 10.4)).thresholds[P95] == Thresholds(11, 13, 12)


def test_no_threshold_from_too_few_answers() -> None:
    assert known_scale(np.full(99, 10.4)).thresholds == {}
    assert LatencyHistogram().quantile_ms(0.95, DIGITS) is None
    assert LatencyHistogram().slow_edge_ms(0.95, DIGITS) is None


def test_thresholds_follow_stable_unless_frozen() -> None:
    scale = known_scale(np.full(1000, 10.4))
    scale.freeze()
    scale.learn({900: 100_000}, canary=False)
    scale.refresh(100.0)
    assert stable_edge_ms(scale) == 11
    scale.thaw()
    scale.learn({900: 100_000}, canary=False)
    scale.refresh(200.0)
    assert stable_edge_ms(scale) == 910


@pytest.mark.parametrize("edges", [TwoDigits(), LogSpaced(), ForeignEdges([5, 10, 25, 50, 100, 250, 500, 1000])])
@given(st.floats(6, 900))
def test_edges_enclose_what_lies_between_them(edges: TwoDigits | LogSpaced | ForeignEdges, latency_ms: float) -> None:
    below, above = edges.at_most(latency_ms), edges.at_least(latency_ms)
    assert below <= latency_ms + 1e-6
    assert above >= latency_ms - 1e-6
    assert above in (pytest.approx(below), pytest.approx(edges.above(below)))


def test_ten_percent_are_five_log_spaced_bins() -> None:
    edges = LogSpaced()
    edge = edges.at_least(200.0)
    assert edges.at_least(1.1 * edge) == edges.at_most(1.1 * edge) == pytest.approx(1.1 * edge)
    (lower,) = log_binned([edge * 1.001])
    assert lower == edge


def test_quantiles_of_log_spaced_bins_are_within_a_bin() -> None:
    latency = np.random.default_rng(5).lognormal(np.log(300), 0.6, 20_000)
    histogram = LatencyHistogram()
    histogram.add(log_binned(latency.tolist()))
    for quantile in (0.5, 0.95, 0.99):
        expected = np.quantile(latency, quantile)
        assert histogram.quantile_ms(quantile, LogSpaced()) == pytest.approx(expected, rel=0.02)


def test_foreign_buckets_that_are_too_coarse_are_said_to_be() -> None:
    def scale_of(edges_ms: list[float], lower_ms: float) -> LatencyScale:
        scale = LatencyScale(ForeignEdges(edges_ms), [P95])
        scale.learn({lower_ms: 1000}, canary=False)
        scale.refresh(0.0)
        return scale

    assert scale_of([100, 250, 500, 1000, 2500], 100.0).thresholds[P95] == Thresholds(250, 500, 250)
    assert scale_of([100, 1000, 10_000], 100.0).thresholds[P95] is None
    assert scale_of([100, 250], 100.0).thresholds[P95] is None, "there is no edge above the last"
    assert ForeignEdges([100, 250]).lower_edge(250) == 100
    assert ForeignEdges([100, 250]).lower_edge(float("inf")) == 250
