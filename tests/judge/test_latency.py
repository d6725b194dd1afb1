"""Latency as a share: edges, thresholds, quantiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.latency import LatencyHistogram, LatencyScale, edge_at_least, n_slower
from tests.judge.world import binned


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
    scale = LatencyScale(0.10)
    edges, counts = np.unique(binned(latency_ms), return_counts=True)
    scale.learn(dict(zip(edges.tolist(), counts.tolist(), strict=True)), canary=False)
    scale.refresh(0.0)
    return scale


def test_thresholds_are_stables_p95_and_the_margin_above_it() -> None:
    latency = np.random.default_rng(3).lognormal(np.log(200), 0.5, 20_000)
    scale = known_scale(latency)
    assert scale.stable_edge_ms == pytest.approx(np.quantile(latency, 0.95), rel=0.06)
    assert scale.canary_edge_ms == edge_at_least(1.1 * (scale.stable_edge_ms or 0))
    assert 0.03 <= np.mean(latency >= (scale.stable_edge_ms or 0)) <= 0.075
    assert scale.stable.quantile_ms(0.95) == pytest.approx(np.quantile(latency, 0.95), rel=0.02)


def test_a_server_that_always_takes_the_same_time_has_a_threshold_above_it() -> None:
    scale = known_scale(np.full(1000, 10.4))
    assert (scale.stable_edge_ms, scale.canary_edge_ms) == (11, 13)


def test_no_threshold_from_too_few_answers() -> None:
    assert known_scale(np.full(99, 10.4)).stable_edge_ms is None
    assert LatencyHistogram().quantile_ms(0.95) is None
    assert LatencyHistogram().slow_edge_ms() is None


def test_thresholds_follow_stable_unless_frozen() -> None:
    scale = known_scale(np.full(1000, 10.4))
    scale.freeze()
    scale.learn({900: 100_000}, canary=False)
    scale.refresh(100.0)
    assert scale.stable_edge_ms == 11
    scale.thaw()
    scale.learn({900: 100_000}, canary=False)
    scale.refresh(200.0)
    assert scale.stable_edge_ms == 910
