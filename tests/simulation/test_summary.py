"""Intervals and rows."""

from math import comb

import pytest

from penstock.simulation.release import Told
from penstock.simulation.summary import cumulative, row, upper_95, wilson
from penstock.simulation.traffic import HEALTHY, Fault

PROMOTED = Told("promoted", None, None, 50.0, 60.0, None, 100, 0, 90, 0.0)
ROLLED_BACK = Told("rolled_back", 4.0, 30.0, None, None, 8, 8, 5, 7, 26.0)


def test_upper_bounds_are_clopper_pearsons() -> None:
    """At the bound, what was seen or less has a chance of 5 %; for none that is 1 - .05^(1/n)."""
    assert upper_95(0, 400) == pytest.approx(1.0 - 0.05 ** (1 / 400))
    bound = upper_95(2, 200)
    assert sum(comb(200, k) * bound**k * (1 - bound) ** (200 - k) for k in range(3)) == pytest.approx(0.05)
    assert upper_95(5, 5) == upper_95(0, 0) == 1.0


def test_intervals_are_wilsons() -> None:
    """(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) at 8 of 10."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 50)[0] == 0.0


def test_a_row_of_faults() -> None:
    told = row(Fault("errors-7", "errors 7 %", errors_ratio=0.07), [ROLLED_BACK, ROLLED_BACK, PROMOTED, PROMOTED])
    assert told["detected_ratio"] == told["rolled_back_ratio"] == told["promoted_ratio"] == 0.5
    assert told["withdrawn_s"] == {"median": 4.0, "p95": 4.0}
    assert told["n_canary"]["median"] == 8.0
    assert told["failed_requests"]["mean"] == 2.5
    assert told["failed_requests"]["se"] == pytest.approx(1.4434, abs=1e-4)
    assert told["false_rollback"] is None


def test_a_row_of_healthy_releases_says_how_sure_it_is() -> None:
    told = row(HEALTHY, [PROMOTED] * 400)
    assert told["false_rollback"] == {"n": 0, "of": 400, "upper_95": pytest.approx(0.00746, abs=1e-5)}
    assert told["withdrawn_s"] == {"median": None, "p95": None}
    assert row(HEALTHY, [PROMOTED])["users_exposed"] == {"mean": 90.0, "se": 0.0, "p95": 90.0}
    with pytest.raises(ValueError, match="no release"):
        row(HEALTHY, [])


def test_steps_of_what_happened_by_then() -> None:
    assert cumulative([3.0, None, 1.0], 4) == ([0.0, 1.0, 3.0], [0.0, 0.25, 0.5])
