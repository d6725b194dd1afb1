"""Counts are additive, merge, and count once, in whatever order and however often they arrive."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge import ledger as ledgers
from penstock.judge.counts import Measure
from penstock.judge.ledger import WINDOW, Ledger

Numbered = tuple[str, int, Measure]

counts = st.builds(
    lambda metric, canary, pod, n, bins: Measure(metric, canary, pod, n, n // 2, bins=bins),
    st.sampled_from(["errors", "latency"]),
    st.booleans(),
    st.sampled_from(["a", "b"]),
    st.integers(0, 9),
    st.dictionaries(st.sampled_from([10.0, 20.0]), st.integers(0, 9)),
)


@st.composite
def lines(draw: st.DrawFn) -> list[Numbered]:
    """Lines as nodes number them: each number of a stream stands for one line."""
    found = draw(st.lists(st.tuples(st.sampled_from(["x", "y"]), st.integers(0, 40), counts), max_size=30))
    return list({(node, seq, m.canary, m.pod, m.metric): (node, seq, m) for node, seq, m in found}.values())


def heard(some: Sequence[Numbered]) -> Ledger:
    ledger = Ledger()
    for node, seq, measure in some:
        ledger.add(measure, node=node, seq=seq)
    return ledger


@given(lines(), st.data())
def test_order_and_repetition_change_no_sum(some: list[Numbered], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(some), max_size=20)) if some else []
    shuffled = data.draw(st.permutations([*some, *again]))
    ledger = heard(shuffled)
    assert ledger.n_twice == len(again)
    assert ledger.close() == heard(some).close()
    assert heard(shuffled[::2]).close() == heard(sorted(shuffled[::2], key=str)).close()


@given(lines(), st.data())
def test_ledgers_that_heard_the_same_merge_into_one(some: list[Numbered], data: st.DataObject) -> None:
    mine = data.draw(st.lists(st.sampled_from(some), unique_by=str)) if some else []
    theirs = [line for line in some if line not in mine] + mine[::2]
    merged, other = heard(mine), heard(theirs)
    merged.merge(other)
    merged.merge(other)
    assert merged.close() == heard(some).close()
    for node, seq, measure in some:
        assert not merged.add(measure, node=node, seq=seq)


@given(st.lists(counts, max_size=20))
def test_sums_are_sums(some: list[Measure]) -> None:
    ledger = Ledger()
    for measure in some:
        assert ledger.add(measure)
    closed = ledger.close()
    assert sum(one.n for one in closed) == sum(one.n for one in some)
    assert sum(one.bad for one in closed) == sum(one.bad for one in some)
    assert sum(sum(one.bins.values()) for one in closed) == sum(sum(one.bins.values()) for one in some)
    assert len({one[:3] for one in closed}) == len(closed)
    assert ledger.close() == ()


def test_all_that_is_counted_is_added_up() -> None:
    ledger = Ledger()
    for values in ((1.0,), (2.0, 3.0)):
        ledger.add(Measure("m", True, "a", 1, values=values, outcomes={"cat": 1}, exposure_s=2.0))
    assert ledger.close() == (Measure("m", True, "a", 2, 0, (1.0, 2.0, 3.0), {}, {"cat": 2}, 4.0),)


def test_users_are_kept_apart() -> None:
    ledger = Ledger()
    for user in ("ann", "bob", "ann", None):
        ledger.add(Measure("errors", True, "a", 1, 1, user=user))
    assert [(one.user, one.n) for one in ledger.close()] == [(None, 1), ("ann", 2), ("bob", 1)]


def test_what_comes_late_counts_in_the_open_tick_once() -> None:
    ledger = heard([("x", 5, Measure("errors", True, "a", 1))])
    ledger.close()
    assert ledger.add(Measure("errors", True, "a", 2), node="x", seq=3)
    assert not ledger.add(Measure("errors", True, "a", 2), node="x", seq=3)
    assert not ledger.add(Measure("errors", True, "a", 1), node="x", seq=5)
    assert [one.n for one in ledger.close()] == [2]


def test_a_number_too_far_back_is_not_counted_since_nobody_knows() -> None:
    ledger = heard([("x", WINDOW + 10, Measure("errors", True, "a", 1))])
    assert ledger.add(Measure("errors", True, "a", 1), node="x", seq=11)
    assert not ledger.add(Measure("errors", True, "a", 1), node="x", seq=10)
    assert (ledger.n_stale, ledger.n_twice) == (1, 0)
    assert ledger.add(Measure("errors", True, "a", 1), node="x", seq=10 * WINDOW)
    assert not ledger.add(Measure("errors", True, "a", 1), node="x", seq=12)


def test_only_the_streams_heard_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "_MOST_STREAMS", 2)
    ledger = Ledger()
    for pod in ("a", "b", "a", "c"):
        ledger.add(Measure("errors", True, pod, 1), node="x", seq=1)
    assert len(ledger._windows) == 2
    assert not ledger.add(Measure("errors", True, "a", 1), node="x", seq=1)
    assert ledger.add(Measure("errors", True, "b", 1), node="x", seq=1)
