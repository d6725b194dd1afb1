"""GrowthBook beyond its own cases: the guardrail's conditions, Student's t, and many releases at once."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.simulation.peers import growthbook, student
from penstock.simulation.peers.growthbook import Guardrail, Sample, Side, guardrail_lost, sequential_test
from penstock.simulation.peers.series import NEVER
from tests.simulation.releases import Traffic, traffic


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        ((10_000, 300, 10_000, 150), True),
        ((10_000, 150, 10_000, 300), False),
        ((1_000, 140, 10_000, 149), False),
        ((1_000, 140, 10_000, 150), True),
        ((10_000, 300, 10_000, 0), False),
        ((10_000, 160, 10_000, 150), False),
        ((200, 200, 10_000, 10), False),
        ((0, 0, 10_000, 200), False),
    ],
)
def test_a_guardrail_is_lost(counts: tuple[int, int, int, int], *, lost: bool) -> None:
    assert guardrail_lost(*counts) is lost


def test_a_certain_but_small_change_is_no_loss() -> None:
    counts = (10**9, 500_000_000, 10**9, 499_000_000)
    assert guardrail_lost(*counts, Guardrail(min_relative=0.001)) is True
    assert guardrail_lost(*counts) is False


def test_the_p_value_stays_within_the_bounds_of_the_search() -> None:
    sure = sequential_test(Sample.of_proportion(9999, 1), Sample.of_proportion(9999, 9000))
    unsure = sequential_test(Sample.of_proportion(99, 30), Sample.of_proportion(99, 20))
    assert (sure.p_value, unsure.p_value) == (1e-5, 0.4999)


@settings(deadline=None)
@given(st.integers(5, 4000), st.integers(5, 4000), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_interval_excludes_0_just_where_p_is_below_alpha(n_c: int, n_s: int, p_c: float, p_s: float) -> None:
    """So that `rollback_ticks` need not search for p. Exempt: GrowthBook's search stops within 1e-6 of the bound."""
    arms = Sample.of_proportion(n_s, max(1, round(n_s * p_s))), Sample.of_proportion(n_c, max(1, round(n_c * p_c)))
    greater, lesser = (sequential_test(*arms, side=side) for side in (Side.GREATER, Side.LESSER))
    if abs(greater.low) > 2e-6:
        assert (greater.p_value < 0.05) == (greater.low > 0.0)
    if abs(lesser.high) > 2e-6:
        assert (lesser.p_value < 0.05) == (lesser.high < 0.0)


def test_an_arm_that_does_not_vary_says_nothing() -> None:
    flat, varied = Sample.of_proportion(10, 0), Sample.of_proportion(10, 5)
    for test in (growthbook.fixed_test, sequential_test):
        assert test(flat, varied) == test(varied, flat) == growthbook.UNINFORMATIVE


def test_the_bound_is_tightest_near_its_tuning_parameter() -> None:
    """Relative to the width at one look; Waudby-Smith et al. say within a few percent of N*."""
    rho = growthbook.sequential_rho(0.1, 5000.0)
    n = np.array([50.0, 500.0, 5000.0, 50_000.0, 500_000.0])
    relative = growthbook.width_one_sided(np.ones(5), n, rho, 0.05) * np.sqrt(n)
    assert relative.argmin() == 2


@settings(deadline=None)
@given(traffic, st.sampled_from([1, 5]), st.sampled_from([30.0, 60.0]))
def test_many_releases_at_once_are_each_as_if_alone(releases: Traffic, min_bad: int, every_s: float) -> None:
    """Exempt as above: where the bound is within 1e-6 of 0."""
    rule, counts = Guardrail(min_bad=min_bad), releases.counts
    every = round(every_s / releases.tick_s)
    columns = (counts.n_canary, counts.bad_canary, counts.n_stable, counts.bad_stable)
    alone = [NEVER] * counts.n_releases
    for row in range(counts.n_releases):
        for look in range(every - 1, counts.n_ticks, every):
            n_c, bad_c, n_s, bad_s = (int(column[row, look]) for column in columns)
            said = sequential_test(Sample.of_proportion(n_s, bad_s), Sample.of_proportion(n_c, bad_c))
            assume(said == growthbook.UNINFORMATIVE or abs(said.low) > 2e-6)
            if guardrail_lost(n_c, bad_c, n_s, bad_s, rule):
                alone[row] = look
                break
    assert growthbook.rollback_ticks(counts, every_s=every_s, guardrail=rule).tolist() == alone


def test_a_broken_canary_falls_at_the_first_look() -> None:
    ones = np.ones((1, 3600), dtype=np.int64)
    broken = Traffic(10 * ones, 5 * ones, 90 * ones, ones, 1.0)
    assert growthbook.rollback_ticks(broken.counts).tolist() == [599]
    equal = Traffic(10 * ones, ones, 90 * ones, 9 * ones, 1.0)
    assert growthbook.rollback_ticks(equal.counts).tolist() == [NEVER]


@pytest.mark.parametrize(
    ("p", "dof", "t"),
    [(0.95, 1.0, 6.313752), (0.975, 10.0, 2.228139), (0.99, 30.0, 2.457262), (0.975, 120.0, 1.979930), (0.5, 3.0, 0.0)],
)
def test_student_quantiles(p: float, dof: float, t: float) -> None:
    """Source of the numbers: Abramowitz & Stegun, table 26.10."""
    assert student.quantile(p, dof) == pytest.approx(t, abs=1e-6)
    assert student.quantile(1.0 - p, dof) == pytest.approx(-t, abs=1e-6)


@settings(deadline=None)
@given(st.floats(-50.0, 50.0), st.floats(0.5, 1e5))
def test_student_is_symmetric_and_between_cauchy_and_normal(t: float, dof: float) -> None:
    below = student.cdf(t, dof)
    assert 0.0 <= below <= 1.0
    assert below + student.cdf(-t, dof) == pytest.approx(1.0, abs=1e-12)
    assert student.cdf(t, 1.0) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)


def test_student_far_out() -> None:
    assert student.cdf(1e200, 5.0) == 1.0
    assert student.cdf(-1e200, 5.0) == 0.0
