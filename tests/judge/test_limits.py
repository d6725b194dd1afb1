"""Limits refuse what cannot be meant, in one sentence."""

from typing import Any

import pytest

from penstock.judge.limits import BLOCKS_SHARE, GROSS_SHARE, ROUNDS_SHARE, Limits


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", float("nan")),
        ("latency_margin", -0.1),
        ("error_floor", 0.0),
        ("error_ratio", 0.9),
        ("longest_stall_s", 0.0),
        ("longest_stall_s", float("inf")),
        ("max_errors_ratio", 5.0),
        ("max_p95_ms", -1.0),
        ("weights", {"mood": 1.0}),
        ("weights", {"errors": -1.0}),
        ("weights", {"errors": 0.0}),
        ("weights", {"errors_limit": 1.0}),
    ],
)
def test_nonsense_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        Limits(**{field: value})


def test_the_edges_of_what_can_be_meant_are_allowed() -> None:
    Limits(latency_margin=0.0, error_ratio=1.0, max_errors_ratio=0.005, max_p95_ms=800.0)


def test_weights_sum_to_1_over_what_is_judged() -> None:
    for limits in (Limits(), Limits(max_p95_ms=800.0), Limits(weights={"errors": 3.0, "latency": 1.0})):
        assert sum(limits.declared_weights.values()) == pytest.approx(1.0)
    assert "latency_limit" not in Limits().declared_weights
    assert Limits(weights={"errors": 3.0, "latency": 1.0}).declared_weights == {"errors": 0.75, "latency": 0.25}


def test_the_false_alarm_budget_is_spent_once() -> None:
    assert pytest.approx(1.0) == BLOCKS_SHARE + ROUNDS_SHARE + GROSS_SHARE
    assert Limits().evidence_needed == pytest.approx(125.0)
