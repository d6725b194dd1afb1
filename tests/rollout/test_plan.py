"""Plans as people write them."""

import pytest

from penstock.kernel.errors import InvalidPlan
from penstock.rollout.plan import OnFailure, Plan, Step, plan_from, seconds_of


def test_a_plan_has_the_documented_defaults() -> None:
    plan = plan_from({})
    assert plan.steps == tuple(Step(w, 30.0) for w in (5, 10, 20, 40, 75, 100))
    assert (plan.min_requests, plan.on_failure, plan.longest_stall_s) == (50, OnFailure.ROLLBACK, 60.0)


def test_steps_are_written_in_three_ways() -> None:
    assert plan_from({"steps": "10,50 %,100"}) == plan_from({"steps": [10, 50, 100]})
    mixed = plan_from({"steps": [{"weight": 10, "dwell": "1h"}, 100], "dwell": "2m", "bake": "1d"})
    assert mixed.steps == (Step(10, 3600.0), Step(100, 86_400.0))


def test_a_plan_survives_the_journal() -> None:
    plan = plan_from(
        {
            "steps": [{"weight": 1.5, "dwell": 7}, 100],
            "on_failure": "hold",
            "limits": {"errors_pct": 0.5, "p95_ms": 800},
        }
    )
    assert plan_from(plan.as_json()) == plan
    assert plan_from(Plan.ramp((10, 100), 3.0, bake_s=9.0).as_json()) == Plan.ramp((10, 100), 3.0, bake_s=9.0)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"stpes": "10,100"}, "did you mean 'steps'"),
        ({"limits": {"p95": 800}}, "did you mean 'p95_ms'"),
        ({"limits": 3}, "limits must be a mapping"),
        ({"steps": "10,50"}, "last step must be 100"),
        ({"steps": ""}, "is not a number"),
        ({"steps": "50,20,100"}, "must grow"),
        ({"steps": "10,10,100"}, "must grow"),
        ({"steps": "0,100"}, "above 0"),
        ({"steps": "10,120,100"}, "at most 100"),
        ({"steps": "ten,100"}, "'ten' is not a number"),
        ({"steps": [{"dwell": "5s"}]}, "has no weight"),
        ({"steps": [{"weight": 100, "dwel": "5s"}]}, "did you mean 'dwell'"),
        ({"dwell": "soon"}, "dwell 'soon' is not a time"),
        ({"dwell": -1}, "cannot be negative"),
        ({"on_failure": "explode"}, "rollback or hold"),
        ({"false_rollback_pct": 0}, "alpha"),
        ({"longest_stall": "0s"}, "longest_stall"),
    ],
)
def test_a_wrong_plan_is_one_sentence(written: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidPlan, match=sentence):
        plan_from(written)


@pytest.mark.parametrize(("written", "seconds"), [("250ms", 0.25), ("30s", 30), ("10m", 600), ("2 h", 7200), (4, 4)])
def test_times(written: object, seconds: float) -> None:
    assert seconds_of(written, "dwell") == seconds


@pytest.mark.parametrize(
    ("steps", "steep"),
    [
        ("5,10,20,40,75,100", None),
        ("auto", None),
        ("10,20,30,40,50,60,70,80,90,100", None),
        ("50,100", "it starts at 50 %, above 10 %"),
        ("10,50,100", "it goes from 10 to 50 %, more than double"),
        ("100", "it starts at 100 %, above 10 %"),
    ],
)
def test_a_bold_plan_says_so(steps: str, steep: str | None) -> None:
    assert plan_from({"steps": steps}).steep == steep


def test_steps_by_evidence_double_within_a_budget() -> None:
    plan = plan_from({"steps": "auto"})
    assert [step.weight_pct for step in plan.steps] == [1, 2, 4, 8, 16, 32, 64, 100]
    assert plan.budget_ratio == 0.01
    assert plan_from({"steps": "auto", "budget_pct": 0.2}).budget_ratio == pytest.approx(0.002)
    assert plan_from({}).budget_ratio is None
    assert plan_from(plan.as_json()) == plan


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"budget_pct": 0}, "budget_pct must be above 0"),
        ({"budget_pct": "lots"}, "budget_pct 'lots' is not a number"),
        ({"require_proof": "maybe"}, "require_proof is true or false, not 'maybe'"),
        ({"prove_within": "soon"}, "prove_within 'soon' is not a time"),
        ({"false_promotion_pct": 100}, "beta is 1.0"),
    ],
)
def test_wrong_evidence_is_one_sentence(written: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        plan_from(written)
    assert sentence in caught.value.message
