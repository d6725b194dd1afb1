"""Counts, and the windows that are cut from them."""

import numpy as np
import pytest

from penstock.simulation.peers.series import NEVER, Counts, first_look, shares, since


def counts(n_ticks: int = 12, tick_s: float = 10.0) -> Counts:
    column = np.cumsum(np.ones((2, n_ticks), dtype=np.int64), axis=1)
    return Counts(column, column, column, column, tick_s)


def test_looks_fall_on_the_ends_of_ticks() -> None:
    assert counts().looks(30.0).tolist() == [2, 5, 8, 11]
    assert counts().looks(120.0).tolist() == [11]
    assert counts().looks(130.0).tolist() == []


@pytest.mark.parametrize("seconds", [15.0, 4.0, 0.0])
def test_a_time_that_is_no_whole_number_of_ticks_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a whole number of ticks of 10 s"):
        counts().whole_ticks(seconds)


def test_a_tenth_of_a_second_divides_a_minute() -> None:
    assert counts(tick_s=0.1).whole_ticks(60.0) == 600


def test_arrays_of_different_shapes_are_refused() -> None:
    column, shorter = np.zeros((2, 3), dtype=np.int64), np.zeros((2, 2), dtype=np.int64)
    with pytest.raises(ValueError, match="one shape"):
        Counts(column, column, column, shorter, 1.0)
    with pytest.raises(ValueError, match="one shape"):
        Counts(column[0], column[0], column[0], column[0], 1.0)


def test_a_window_reaches_back_to_the_start_at_most() -> None:
    cumulative = np.array([[1, 3, 6, 10]])
    assert since(cumulative, np.array([0, 1, 3]), window=2).tolist() == [[1, 3, 7]]


def test_no_request_has_no_share() -> None:
    ratios = shares(np.array([0, 1]), np.array([0, 4]))
    assert np.isnan(ratios[0])
    assert ratios[1] == 0.25


def test_the_first_look_that_fires_counts() -> None:
    fired = np.array([[False, True, True], [False, False, False]])
    assert first_look(fired, np.array([4, 9, 14])).tolist() == [9, NEVER]
    assert first_look(np.zeros((2, 0), dtype=bool), np.array([], dtype=np.int64)).tolist() == [NEVER, NEVER]
