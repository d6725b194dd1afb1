"""The peers' own test cases, every one of them: what passes these is the peer. Origins: data/peers/ORIGIN.md."""

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from penstock.simulation.peers import argo, growthbook, kayenta
from penstock.simulation.peers.mannwhitney import shifts, wilcoxon_z

DATA = Path(__file__).parent / "data" / "peers"


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads((DATA / name).read_text())["cases"]


ARGO = cases("argo_assess_metric_status_cases.json")
GROWTHBOOK = cases("growthbook_frequentist_cases.json")
CLASSIFIER = cases("kayenta_classifier_cases.json")
MANN_WHITNEY = [
    pytest.param(case, quantity, expected["value"], expected["tol"], id=f"{case['name']}-{quantity}")
    for case in cases("kayenta_mannwhitney_cases.json")
    for quantity, expected in case["expected"].items()
]


def test_no_case_is_lost() -> None:
    assert (len(ARGO), len(GROWTHBOOK), len(CLASSIFIER), len(MANN_WHITNEY)) == (54, 13, 37, 25)


@pytest.mark.parametrize("case", ARGO, ids=lambda case: case["test"])
def test_argo_assesses_a_metric(case: dict[str, Any]) -> None:
    given, counted = case["metric"], case["result"]
    metric = argo.Metric(
        failure_limit=given.get("FailureLimit", 0),
        inconclusive_limit=given.get("InconclusiveLimit", 0),
        consecutive_success_limit=given.get("ConsecutiveSuccessLimit", 0),
        count=given.get("Count", 0),
        interval_s=float(given["Interval"].removesuffix("s")) if "Interval" in given else None,
    )
    tally = argo.Tally(
        n_failed=counted["Failed"],
        n_inconclusive=counted["Inconclusive"],
        n_counted=counted["Count"],
        n_consecutive_errors=counted["ConsecutiveError"],
        n_consecutive_successes=counted["ConsecutiveSuccess"],
    )
    last = case["last_measurement_phase"] and argo.Phase(case["last_measurement_phase"])
    phase = argo.metric_phase(metric, tally, last, terminating=case["terminating"])
    assert phase == case["expected_phase"]


def sample(arm: dict[str, Any]) -> growthbook.Sample:
    if arm["type"] == "proportion":
        return growthbook.Sample.of_proportion(arm["n"], arm["sum"])
    return growthbook.Sample.of_sums(arm["n"], arm["sum"], arm["sum_squares"])


@pytest.mark.parametrize("case", GROWTHBOOK, ids=lambda case: case["name"])
def test_growthbook_compares_two_arms(case: dict[str, Any]) -> None:
    """GrowthBook's own tests round to five decimals too."""
    test, config, expected = case["test"], case["config"], case["expected"]
    side = next(side for word, side in zip(("Two", "Greater", "Lesser"), growthbook.Side, strict=True) if word in test)
    arms = sample(case["a_baseline"]), sample(case["b_variation"])
    relative, alpha = config["difference_type"] == "relative", config["alpha"]
    if test.startswith("Sequential"):
        tuning = config["sequential_tuning_parameter"]
        said = growthbook.sequential_test(*arms, side=side, relative=relative, alpha=alpha, tuning=tuning)
    else:
        said = growthbook.fixed_test(*arms, side=side, relative=relative, alpha=alpha)
    low, high = expected["ci"]
    assert [round(value, 5) for value in said] == [
        expected["expected"],
        -math.inf if low is None else low,
        math.inf if high is None else high,
        expected["stddev"],
        expected["pValue"],
    ]


def classified(case: dict[str, Any]) -> kayenta.Classification:
    pair = kayenta.Pair(*(np.array(case[side], dtype=float) for side in ("control", "experiment")))
    params = case.get("params", {})
    settings = kayenta.Settings(
        direction=kayenta.Direction(case["direction"]),
        replace_nans=case["nanStrategy"] == "replace",
        critical=case["isCriticalMetric"],
        effect_size=kayenta.EffectSize(params.get("effectSizeMeasure", "meanRatio")),
        allowed=kayenta.Thresholds(*params.get("effectSizeThresholds", (1.0, 1.0))),
        critical_at=kayenta.Thresholds(*params.get("criticalThresholds", (1.0, 1.0))),
        tolerance=params.get("tolerance", 0.25),
        confidence=params.get("confLevel", 0.98),
    )
    if case["classifier"] == "MeanInequality":
        return kayenta.classify_by_mean(pair, settings)
    return kayenta.classify(pair, settings, np.random.default_rng(0))


@pytest.mark.parametrize("case", CLASSIFIER, ids=lambda case: case["name"])
def test_kayenta_classifies_a_metric(case: dict[str, Any]) -> None:
    """One case of theirs looks at the wording of "missing data" alone; it has the label of missing data here."""
    said, expected = classified(case), case["expected"]
    assert said.label == expected.get("classification", "Nodata")
    assert said.critical == expected.get("critical", said.critical)
    if "deviation" in expected:
        assert said.deviation == pytest.approx(float(expected["deviation"]), nan_ok=True)


@pytest.mark.parametrize(("case", "quantity", "value", "tolerance"), MANN_WHITNEY)
def test_kayenta_locates_a_shift(case: dict[str, Any], quantity: str, value: float, tolerance: float) -> None:
    x, y = (np.array(case[side], dtype=float) for side in ("x_experiment", "y_control"))
    confidence = case.get("confidenceLevel", 0.98)
    low, high, estimate = (float(one[0]) for one in shifts(x[None, :], y[None, :], confidence))
    upper = NormalDist().inv_cdf((1.0 - confidence) / 2.0)

    def z(mu: float) -> float:
        return float(wilcoxon_z(x[None, :], y[None, :], np.array([mu]))[0])

    least, most = float(x.min() - y.max()), float(x.max() - y.min())
    quantities = {
        "ci_low": low,
        "ci_high": high,
        "estimate": estimate,
        "rMumin": least,
        "rMumax": most,
        "rZqLower": -upper,
        "rZqUpper": upper,
        "rFlower1": z(least) + upper,
        "rFupper1": z(most) + upper,
        "rFlower2": z(least) - upper,
        "rFupper2": z(most) - upper,
        "rCil": low,
        "rCiu": high,
        "rEst": estimate,
        "wilcoxonDiff(mu=0,q=0)": z(0.0),
        "wilcoxonDiff(mu=5,q=0)": z(5.0),
    }
    assert quantities[quantity] == pytest.approx(value, abs=tolerance)
