"""Limits refuse what cannot be meant, in one sentence."""

from typing import Any

import pytest

from penstock.judge.limits import BLOCKS_SHARE, GROSS_SHARE, ROUNDS_SHARE, Limits, MetricKind, MetricLimit
from penstock.judge.presets import PRESETS, generic, limits_for

ERRORS = MetricLimit("errors", MetricKind.SHARE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", float("nan")),
        ("beta", 1.0),
        ("longest_stall_s", 0.0),
        ("longest_stall_s", float("inf")),
        ("metrics", ()),
        ("metrics", (ERRORS, ERRORS)),
        ("metrics", (MetricLimit("errors", MetricKind.SHARE, weight=0.0),)),
        ("metrics", (MetricLimit("labels", MetricKind.DRIFT),)),
    ],
)
def test_nonsense_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        Limits(**{"metrics": (ERRORS,), field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", -1.0),
        ("ratio", 0.9),
        ("floor", 1.0),
        ("ok_ratio", 0.5),
        ("ok_floor", float("nan")),
        ("quantile", 1.0),
        ("margin", -0.1),
        ("gap", -0.1),
        ("limit", 5.0),
        ("limit", 0.0),
        ("best", 1.0),
        ("worst", float("inf")),
    ],
)
def test_nonsense_of_a_metric_names_the_metric(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"^errors: "):
        MetricLimit("errors", MetricKind.SHARE, **{field: value})


def test_the_edges_of_what_can_be_meant_are_allowed() -> None:
    MetricLimit("errors", MetricKind.SHARE, ratio=1.0, floor=0.0, margin=0.0, limit=0.005)
    MetricLimit("latency", MetricKind.LATENCY, limit=800.0)


def test_a_score_lies_between_best_and_worst_whichever_is_higher() -> None:
    mos = MetricLimit("mos", MetricKind.SCORE, best=5.0, worst=1.0)
    cer = MetricLimit("cer", MetricKind.SCORE, best=0.0, worst=1.0)
    assert [mos.badness(score) for score in (5.0, 4.0, 1.0, 0.0, 9.0)] == [0.0, 0.25, 1.0, 1.0, 0.0]
    assert [cer.badness(score) for score in (0.0, 0.3, 1.4)] == [0.0, 0.3, 1.0]


@pytest.mark.parametrize("preset", PRESETS)
def test_weights_sum_to_1_over_what_is_judged(preset: str) -> None:
    limits = limits_for(preset)
    assert sum(limits.weights.values()) == pytest.approx(1.0)
    assert not {"labels", "users"} & set(limits.weights), "what only holds has no say in a rollback"


def test_absolute_limits_are_metrics_of_their_own() -> None:
    assert "latency_limit" not in limits_for().weights
    with_limits = Limits(generic(max_errors_ratio=0.005, max_p95_ms=800.0)).weights
    assert {"errors", "errors_limit", "latency", "latency_limit"} <= set(with_limits)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no preset is called 'speach'; there are generic, speech, classifier"):
        limits_for("speach")


def test_the_budgets_are_spent_once() -> None:
    assert pytest.approx(1.0) == BLOCKS_SHARE + ROUNDS_SHARE + GROSS_SHARE
    assert limits_for().evidence_needed == pytest.approx(125.0)
    assert limits_for().proof_needed == pytest.approx(20.0)
