"""Flagger: what fails a check, what is remembered, and many releases at once."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulation.peers import flagger
from penstock.simulation.peers.flagger import Analysis, Range
from penstock.simulation.peers.series import NEVER
from tests.simulation.releases import Traffic, traffic


@pytest.mark.parametrize(
    ("value", "fails"), [(99.0, False), (98.99, True), (100.0, False), (100.1, True), (None, True), (math.nan, True)]
)
def test_a_check_fails_out_of_range_and_without_values(value: float | None, *, fails: bool) -> None:
    assert Range(low=99.0, high=100.0).fails(value) is fails
    assert Range().fails(5.0) is False


def test_failed_checks_are_never_forgiven_and_rollback_comes_a_tick_later() -> None:
    analysis = Analysis([Range(high=1.0)], threshold=2)
    values = [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0]
    assert [analysis.tick([value]) for value in values] == [False] * 5 + [True] * 2
    assert analysis.n_failed_checks == 2


def test_an_unset_threshold_is_one() -> None:
    analysis = Analysis([Range(high=1.0)], threshold=0)
    assert [analysis.tick([2.0]), analysis.tick([2.0])] == [False, True]


def test_the_first_failure_stops_the_checks() -> None:
    read = []

    def values() -> Iterator[float]:
        for value in (0.0, 5.0, 0.0):
            read.append(value)
            yield value

    analysis = Analysis([Range(high=1.0)] * 3)
    analysis.tick(values())
    assert read == [0.0, 5.0]
    assert analysis.n_failed_checks == 1
    assert analysis.tick(values()) is True
    assert read == [0.0, 5.0]


def stepwise(releases: list[Traffic], release: int, interval_s: float, threshold: int, limits: list[float]) -> int:
    analysis = Analysis([Range(high=limit) for limit in limits], threshold=threshold)
    tick_s = releases[0].tick_s
    every, window = round(max(interval_s, 10.0) / tick_s), round(60.0 / tick_s)
    for tick in range(every - 1, releases[0].n_canary.shape[1], every):
        if analysis.tick([metric.share(release, tick, window) for metric in releases]):
            return tick
    return NEVER


@settings(deadline=None)
@given(traffic, st.sampled_from([5.0, 10.0, 30.0]), st.integers(0, 4), st.sampled_from([0.0, 0.02, 0.2]))
def test_many_releases_at_once_are_each_as_if_alone(
    releases: Traffic, interval_s: float, threshold: int, max_ratio: float
) -> None:
    """With a second metric: bad half of the time."""
    slow = Traffic(releases.n_canary, releases.n_canary // 2, releases.n_stable, releases.bad_stable, releases.tick_s)
    one = flagger.rollback_ticks(
        releases.counts, interval_s=interval_s, threshold=threshold, max_ratio=max_ratio
    ).tolist()
    both = flagger.rollback_ticks(
        releases.counts, interval_s=interval_s, threshold=threshold, max_ratio=max_ratio, also=[(slow.counts, 0.3)]
    ).tolist()
    rows = range(releases.counts.n_releases)
    assert one == [stepwise([releases], row, interval_s, threshold, [max_ratio]) for row in rows]
    assert both == [stepwise([releases, slow], row, interval_s, threshold, [max_ratio, 0.3]) for row in rows]


def test_a_broken_canary_falls_one_interval_after_the_fifth_check() -> None:
    ones = np.ones((1, 600), dtype=np.int64)
    counts = Traffic(ones, ones, ones, 0 * ones, 1.0).counts
    assert flagger.rollback_ticks(counts).tolist() == [359]
    assert flagger.rollback_ticks(counts, threshold=10).tolist() == [NEVER]


def test_a_release_shorter_than_an_interval_is_never_rolled_back() -> None:
    ones = np.ones((2, 30), dtype=np.int64)
    assert flagger.rollback_ticks(Traffic(ones, ones, ones, ones, 1.0).counts).tolist() == [NEVER, NEVER]
