"""Lines become ticks; a bad one is named, and nothing is guessed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.counts import Measure
from penstock.judge.edges import ForeignEdges, LogSpaced
from penstock.kernel.errors import InvalidRecord, UnreadableLines
from penstock.simulation.recorded import record_of
from tests.simulation.recordings import line


def test_lines_of_one_moment_are_one_tick() -> None:
    record = record_of(
        "f",
        [line(1, "canary", n=5, bad=1, pod="a"), b"\n", line(1, "stable", n=9, bad=0), line(3, "stable", n=9, bad=1)],
    )
    assert [(tick.at_s, len(tick.measures)) for tick in record.ticks] == [(1.0, 2), (3.0, 1)]
    assert (record.span_s, record.n_lines, record.n_ignored, record.n_pods) == (2.0, 4, 0, (1, 1))


def test_an_earlier_time_counts_as_now() -> None:
    record = record_of(
        "f", [line(5, "canary", n=5, bad=1), line(4, "canary", n=5, bad=0), line(6, "stable", n=1, bad=0)]
    )
    assert [(tick.at_s, tick.measures[0].n) for tick in record.ticks] == [(5.0, 10), (6.0, 1)]


def test_probes_have_a_tick_of_their_own() -> None:
    record = record_of("f", [line(1, "canary", n=5, bad=1, probes=True), line(1, "canary", n=7, bad=0)])
    assert [(tick.at_s, tick.probes, tick.measures[0].n) for tick in record.ticks] == [(1.0, False, 7), (1.0, True, 5)]


def test_pods_are_counted_by_arm_and_nobodys_is_none() -> None:
    record = record_of("f", [line(1, "canary", n=1, bad=0, pod=pod) for pod in ("a", "b", "-")])
    assert record.n_pods == (2, 1)


def test_a_number_counts_once_and_that_is_said() -> None:
    lines = [line(t, "canary", n=5, bad=1, node="x", seq=seq) for t, seq in ((1, 1), (2, 2), (2, 1), (3, 2))]
    record = record_of("f", lines)
    assert (sum(measure.n for tick in record.ticks for measure in tick.measures), record.n_ignored) == (10, 2)


@given(st.integers(0, 1000))
def test_the_order_within_a_moment_changes_nothing(seed: int) -> None:
    lines = [
        line(1, arm, metric, n=5, bad=1, pod=pod)
        for arm in ("canary", "stable")
        for metric in ("errors", "pops")
        for pod in "ab"
    ]
    shuffled = random.Random(seed).sample(lines, len(lines))
    assert record_of("f", shuffled) == record_of("f", lines)


def test_what_is_no_histogram_is_left_alone_beside_one() -> None:
    lines = [line(1, "canary", "latency", histogram={"0.1": 2}), line(2, "canary", n=5, bad=1)]
    first, second = record_of("f", [*lines, line(3, "canary", "latency", histogram={})]).ticks[:2]
    assert (first.measures[0].bins, second.measures[0]) == ({0.0: 2}, Measure("errors", True, "all", 5, 1))


def test_an_edge_counts_though_a_histogram_was_empty_before_it() -> None:
    lines = [line(t, "canary", "latency", histogram=bins) for t, bins in ((1, {}), (2, {"0.1": 2}), (3, {"0.2": 1}))]
    assert [tick.measures[0].bins for tick in record_of("f", lines).ticks] == [{}, {0.0: 2}, {100.0: 1}]


def test_histograms_and_buckets_get_lower_edges_from_all_their_edges() -> None:
    record = record_of(
        "f",
        [
            line(1, "canary", "latency", histogram={"0.25": 2}),
            line(2, "canary", "latency", buckets={"0.1": 5, "0.5": 7, "+Inf": 8}),
        ],
    )
    assert [tick.measures[0].bins for tick in record.ticks] == [{100.0: 2}, {0.0: 5, 250.0: 2, 500.0: 1}]
    assert isinstance(record.edges["latency"], ForeignEdges)
    assert record.edges["latency"].at_least(120.0) == 250.0


def test_samples_have_edges_of_our_own() -> None:
    record = record_of("f", [line(1, "canary", "latency", samples_s=[0.1])])
    assert isinstance(record.edges["latency"], LogSpaced)
    assert record.ticks[0].measures[0] == Measure("latency", True, "all", bins=record.ticks[0].measures[0].bins)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (
            line(2, "stable", "latency", samples_s=[1.0]),
            "line 2: latency is written as samples_s here, and as histogram in line 1",
        ),
        (line(2, "stable", "latency", n=5, bad=1), "line 2: latency is written as n and bad here"),
    ],
)
def test_a_metric_is_written_in_one_way(second: bytes, why: str) -> None:
    with pytest.raises(UnreadableLines, match=why):
        record_of("f", [line(1, "canary", "latency", histogram={"0.25": 2}), second])


def test_buckets_of_a_metric_have_the_same_edges() -> None:
    lines = [line(1, "canary", "latency", buckets=buckets) for buckets in ({"1": 0, "+Inf": 1}, {"2": 0, "+Inf": 1})]
    with pytest.raises(UnreadableLines, match="line 2: buckets of latency have other edges"):
        record_of("f", lines)


def test_the_first_bad_lines_are_named_and_all_are_counted() -> None:
    lines = [line(1, "canary", n=5, bad=1)] + [b"{}"] * 7
    with pytest.raises(UnreadableLines) as raised:
        record_of("f", lines)
    assert raised.value.message.startswith(
        "f: 7 of 8 lines cannot be used, so nothing was judged; line 2: t and arm and"
    )
    assert "line 6: " in raised.value.message
    assert "line 7: " not in raised.value.message


@pytest.mark.parametrize("lines", [[], [b"\n", b"  "]])
def test_without_counts_nothing_is_judged(lines: list[bytes]) -> None:
    with pytest.raises(InvalidRecord, match="it holds no counts"):
        record_of("f", lines)
