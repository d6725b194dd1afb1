"""Limits for a recording: presets, a file, options; unknown names are refused with the nearest."""

from typing import Any

import pytest

from penstock.judge.limits import MetricKind, MetricLimit
from penstock.judge.presets import PRESETS
from penstock.kernel.errors import InvalidLimits, InvalidRecord
from penstock.simulation import declared
from penstock.simulation.declared import Chosen, chosen_for, declared_from
from penstock.simulation.lines import Shape


def chosen(shapes: dict[str, Shape], written: dict[str, Any] | None = None, **options: Any) -> Chosen:
    return chosen_for(declared_from(written or {}, **options), shapes, file="f")


def by_name(found: Chosen) -> dict[str, MetricLimit]:
    return {limit.name: limit for limit in found.limits.metrics}


def test_whichever_presets_fit_are_taken_and_only_what_is_recorded() -> None:
    found = chosen({"errors": Shape.SHARE, "mos": Shape.SCORES, "labels": Shape.OUTCOMES})
    assert set(by_name(found)) == {"errors", "mos", "labels"}
    assert found.preset == "generic+speech+classifier"
    assert found.notes == ()
    assert sum(found.limits.weights.values()) == pytest.approx(1.0)


def test_every_metric_of_a_preset_can_be_written_down() -> None:
    kinds = {kind for some in declared._KINDS.values() for kind in some}
    assert {limit.kind for preset in PRESETS.values() for limit in preset()} <= kinds


def test_options_override_the_file() -> None:
    found = chosen(
        {"errors": Shape.SHARE},
        {"preset": "speech", "alpha": 0.02, "beta": 0.1, "longest_stall": "2m"},
        alpha=0.05,
        longest_stall=30.0,
    )
    assert (found.limits.alpha, found.limits.beta, found.limits.longest_stall_s) == (0.05, 0.1, 30.0)
    assert found.preset == "speech"


def test_shares_and_latencies_of_ones_own_are_judged_as_any_other() -> None:
    found = chosen(
        {"hiccups": Shape.SHARE, "first_token": Shape.SAMPLES, "reboots": Shape.EVENTS, "visitors": Shape.USERS}
    )
    kinds = {name: limit.kind for name, limit in by_name(found).items()}
    assert kinds == {
        "hiccups": MetricKind.SHARE,
        "first_token": MetricKind.LATENCY,
        "reboots": MetricKind.EVENTS,
        "visitors": MetricKind.SPLIT,
    }
    assert found.preset == "none"
    assert found.notes[0] == "hiccups is not known; judged as any share is, unless --limits says how"


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({"eror": Shape.SHARE}, "there is no metric 'eror' .did you mean 'errors'"),
        ({"stars": Shape.SCORES}, "stars: {kind: score, best: ..., worst: ..., gap: ...}"),
        ({"heat": Shape.LEVEL}, "heat: {kind: gauge, worst: ...}"),
        ({"verdicts": Shape.OUTCOMES}, "verdicts: {kind: drift, gap: ...}"),
        ({"errors": Shape.SCORES}, "errors is written as scores, and judged as share"),
    ],
)
def test_what_nobody_can_know_is_refused_with_the_remedy(shapes: dict[str, Shape], why: str) -> None:
    with pytest.raises(InvalidRecord, match=why):
        chosen(shapes)


def test_only_what_holds_is_nothing_to_judge() -> None:
    with pytest.raises(InvalidLimits, match="nothing would be judged"):
        chosen({"users": Shape.USERS})


def test_a_file_changes_a_presets_metric_field_by_field() -> None:
    fields = {
        "weight": 0.5,
        "ratio": 2,
        "floor_pct": 1,
        "ok_ratio": 3,
        "ok_floor_pct": 2,
        "fails": False,
        "required": False,
    }
    errors = by_name(chosen({"errors": Shape.SHARE}, {"metrics": {"errors": fields}}))["errors"]
    assert errors == MetricLimit("errors", MetricKind.SHARE, 0.5, "", 2.0, 0.01, 3.0, 0.02, fails=False, required=False)


def test_a_file_declares_metrics_of_its_own() -> None:
    written = {
        "metrics": {"stars": {"kind": "score", "best": 5, "worst": 1, "gap": 0.3}, "heat": {"worst": 100, "limit": 90}}
    }
    found = by_name(chosen({"stars": Shape.SCORES, "heat": Shape.LEVEL}, written))
    assert (found["stars"].gap, found["stars"].best, found["stars"].worst) == (0.3, 5.0, 1.0)
    assert (found["heat"].kind, found["heat"].limit) == (MetricKind.GAUGE, 90.0)


def test_quantiles_are_a_metric_each_and_share_the_weight() -> None:
    found = by_name(
        chosen({"latency": Shape.SAMPLES}, {"metrics": {"latency": {"quantiles": [0.5, 0.95, 0.99], "margin_pct": 20}}})
    )
    assert set(found) == {"latency_p50", "latency_p95", "latency_p99"}
    assert {one.source for one in found.values()} == {"latency"}
    assert {(one.quantile, one.margin) for one in found.values()} == {(0.5, 0.2), (0.95, 0.2), (0.99, 0.2)}
    assert sum(one.weight for one in found.values()) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("metric", "shape", "fields", "limit", "quantile"),
    [
        ("errors", Shape.SHARE, {"limit_pct": 0.5}, 0.005, 0.95),
        ("latency", Shape.SAMPLES, {"limit_ms": 800}, 800.0, 0.95),
        ("latency", Shape.SAMPLES, {"limit_ms": 800, "quantiles": [0.99]}, 800.0, 0.99),
        ("mos", Shape.SCORES, {"limit": 3.5}, 3.5, 0.95),
        ("crashes", Shape.EVENTS, {"limit": 0.01}, 0.01, 0.95),
    ],
)
def test_a_limit_of_its_own_stands_beside_the_comparison(
    metric: str, shape: Shape, fields: dict[str, Any], limit: float, quantile: float
) -> None:
    found = by_name(chosen({metric: shape}, {"metrics": {metric: fields}}))
    assert len(found) == 2
    own = found[f"{metric}_limit"]
    assert (own.limit, own.quantile, own.source, own.fails) == (limit, quantile, metric, False)


def test_what_is_declared_and_not_recorded_is_said() -> None:
    found = chosen({"errors": Shape.SHARE}, {"metrics": {"mos": {"gap": 0.1}, "stars": {"gap": 0.1}}})
    assert found.notes == ("mos is declared, but f has none of it", "stars is declared, but f has none of it")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"alfa": 0.1}, "limits file: there is no field 'alfa' .did you mean 'alpha'"),
        ({"zzz": 0.1}, "the known ones are preset, alpha"),
        ({"preset": "speach"}, "there is no preset 'speach'; there are auto, generic"),
        ({"alpha": "x"}, "alpha is 'x'; it is a number"),
        ({"alpha": 2}, "alpha is 2.0; use a number between 0 and 1"),
        ({"longest_stall": "soon"}, "longest_stall 'soon' is not a time, such as 30s"),
        ({"metrics": ["errors"]}, "metrics holds no names"),
        ({"metrics": {"errors": 5}}, "metrics: errors holds no fields"),
        ({"metrics": {"errors": {"ration": 2}}}, "metrics: errors: there is no field 'ration' .did you mean 'ratio'"),
        ({"metrics": {"errors": {"ratio": True}}}, "metrics: errors: ratio is True; it is a number"),
        ({"metrics": {"errors": {"ratio": 0.5}}}, "metrics: errors: ratio is 0.5"),
        ({"metrics": {"errors": {"fails": 1}}}, "metrics: errors: fails is 1; it is true or false"),
        ({"metrics": {"errors": {"kind": "shares"}}}, "there is no kind 'shares' .did you mean 'share'"),
        ({"metrics": {"errors": {"kind": "score"}}}, "errors is a score, which needs best and worst and gap"),
        ({"metrics": {"errors": {"limit_ms": 5}}}, "limit_ms is no limit of a share; use limit_pct"),
        ({"metrics": {"errors": {"kind": "pairs", "limit": 5}}}, "limit is no limit of a pairs; it has none"),
        ({"metrics": {"errors": {"quantiles": [0.5]}}}, "quantiles is a list for a latency"),
    ],
)
def test_what_cannot_be_meant_is_refused(written: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidLimits, match=why):
        chosen({"errors": Shape.SHARE}, written)
