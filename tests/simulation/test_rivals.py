"""Other tools' rules on the same record."""

import pytest

from penstock.kernel.errors import InvalidRecord, UsageError
from penstock.simulation.recorded import record_of
from penstock.simulation.rivals import Rival, rivals_as_json
from tests.simulation.recordings import latencies, line, shares

ARGO = Rival("argo", "errors_pct<=5,interval=60s,failure-limit=1")
FLAGGER = Rival("flagger", "errors_pct<=5,interval=60s,threshold=2")


def test_a_broken_canary_fails_a_rule_as_often_as_it_may() -> None:
    record = record_of("f", shares(400, lambda _: 0.6))
    found = rivals_as_json((ARGO, FLAGGER, Rival("argo", "errors_pct<=90")), record, file="f")
    assert list(found) == ["argo", "flagger", "argo-2"]
    assert (found["argo"]["outcome"], found["argo"]["t"], found["argo"]["n_canary"]) == ("rollback", 120.0, 1210)
    assert found["flagger"]["outcome"] == "rollback"
    assert (found["argo-2"]["outcome"], found["argo-2"]["t"]) == ("promote", 399.0)
    assert found["argo"]["rule"] == ARGO.text


def test_times_are_held_against_the_limit() -> None:
    record = record_of("f", latencies(200, 3.0))
    found = rivals_as_json((Rival("argo", "p95_ms<=600"), Rival("argo", "p95_ms<=60000")), record, file="f")
    assert [one["outcome"] for one in found.values()] == ["rollback", "promote"]


def test_time_counts_from_the_canarys_first_traffic_and_probes_do_not() -> None:
    lines = [line(float(t), "stable", n=9, bad=0) for t in range(100)]
    lines += [line(float(t), "canary", n=9, bad=9, probes=t % 2 == 0) for t in range(100, 300)]
    found = rivals_as_json((Rival("argo", "errors_pct<=1"),), record_of("f", lines), file="f")
    assert found["argo"]["t"] == 161.0


def test_a_canary_without_traffic_is_undecided() -> None:
    record = record_of("f", [line(float(t), "stable", n=9, bad=0) for t in range(100)])
    assert rivals_as_json((ARGO,), record, file="f")["argo"]["outcome"] == "undecided"


def test_a_rule_needs_its_metric() -> None:
    with pytest.raises(InvalidRecord, match="needs latency, which it has not counted"):
        rivals_as_json((Rival("flagger", "p95_ms<=800"),), record_of("f", shares(2, lambda _: 0.0)), file="f")


def test_a_rule_that_cannot_be_read_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="--argo: there is no metric"):
        _ = Rival("argo", "mood<=1").rule
