"""GrowthBook: its frequentist tests, and the rule by which a Safe Rollout's guardrail is lost.

The settings of a Safe Rollout are the defaults: sequential, one-sided, absolute difference, alpha 5 %, N* 5000.
Source: growthbook/growthbook@8f1db445 packages/stats/gbstats/frequentist/tests.py (MIT), packages/shared/src/experiments
/experiments.ts (MIT); formulas: Waudby-Smith et al., arXiv 2103.06476v7.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from penstock.simulation.peers import student
from penstock.simulation.peers.series import Counts, Flags, Floats, Ints, first_look

#: Where GrowthBook's search for a one-sided sequential p-value begins, ends and is content. Source: tests.py.
_LEAST_P, _GREATEST_P = 1e-5, 0.4999
_CLOSE_ENOUGH = 1e-6
_MOST_STEPS = 100


class Side(StrEnum):
    """What is tested of canary minus stable."""

    BOTH = "two-sided"
    GREATER = "greater"
    LESSER = "lesser"


class Sample(NamedTuple):
    """One arm: how many units, their mean and variance."""

    n: int
    mean: float
    variance: float

    @classmethod
    def of_sums(cls, n: int, total: float, total_squares: float) -> "Sample":
        """Return the sample of n > 1 values with these sums. Source: gbstats statistics.py, SampleMeanStatistic."""
        return cls(n, total / n, (total_squares - total**2 / n) / (n - 1))

    @classmethod
    def of_proportion(cls, n: int, bad: int) -> "Sample":
        """Return the sample of n units of which `bad` counted. Source: gbstats statistics.py, ProportionStatistic."""
        mean = bad / n if n else 0.0
        return cls(n, mean, mean * (1.0 - mean))


class Estimate(NamedTuple):
    """What a test says: the difference, its interval, its standard error, the p-value."""

    difference: float
    low: float
    high: float
    std_error: float
    p_value: float


#: What is said where an arm does not vary or stable's mean is 0. Source: tests.py, TTest._default_output.
UNINFORMATIVE = Estimate(0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What it takes to lose a guardrail.

    Attributes:
        alpha: level of the sequential test. Source: PEERS.md 2.4.
        tuning: N*, the sample size at which the interval is tightest.
        min_bad: bad units that the worse arm must have: GrowthBook's "sample size" is the metric's numerator.
        min_relative: difference over stable's mean from which a change counts, a ratio.
    """

    alpha: float = 0.05
    tuning: float = 5000.0
    min_bad: int = 150
    min_relative: float = 0.005


def fixed_test(
    stable: Sample, canary: Sample, *, side: Side = Side.BOTH, relative: bool = False, alpha: float = 0.05
) -> Estimate:
    """Return Welch's t-test, right for one look. Source: tests.py, TwoSidedTTest, OneSidedTreatment*TTest."""
    moments = _moments(stable, canary, relative=relative)
    if moments is None:
        return UNINFORMATIVE
    difference, std_error = moments
    dof = _welch_dof(stable, canary)
    level = 1.0 - alpha / 2.0 if side is Side.BOTH else 1.0 - alpha
    low, high = _interval(difference, student.quantile(level, dof) * std_error, side)
    below = student.cdf(difference / std_error, dof)
    p_value = {Side.BOTH: 2.0 * min(below, 1.0 - below), Side.GREATER: 1.0 - below, Side.LESSER: below}[side]
    return Estimate(difference, low, high, std_error, p_value)


def sequential_test(
    stable: Sample,
    canary: Sample,
    *,
    side: Side = Side.GREATER,
    relative: bool = False,
    alpha: float = 0.05,
    tuning: float = 5000.0,
) -> Estimate:
    """Return the test by an asymptotic confidence sequence, which may be looked at again and again.

    Source: tests.py, SequentialTwoSidedTTest, SequentialOneSidedTreatment*TTest.
    """
    moments = _moments(stable, canary, relative=relative)
    if moments is None:
        return UNINFORMATIVE
    difference, std_error = moments
    n = float(stable.n + canary.n)
    rho = sequential_rho(alpha if side is Side.BOTH else 2.0 * alpha, tuning)
    s2 = np.array(std_error**2 * n)
    if side is Side.BOTH:
        width = _width_two_sided(std_error, n, rho, alpha)
        p_value = _p_two_sided(difference, std_error, n, rho)
    else:
        width = float(width_one_sided(s2, np.array(n), rho, alpha))
        p_value = _p_one_sided(difference if side is Side.GREATER else -difference, s2, n, rho)
    low, high = _interval(difference, width, side)
    return Estimate(difference, low, high, std_error, p_value)


def sequential_rho(level: float, tuning: float) -> float:
    """Return rho, by which the interval is tightest at `tuning` units; `level` is alpha, 2 alpha for one side.

    rho = sqrt((-2 ln level + ln(1 - 2 ln level)) / N*). Source: arXiv 2103.06476v7 eq. 161.
    """
    log = -2.0 * math.log(level)
    return math.sqrt((log + math.log(log + 1.0)) / tuning)


def width_one_sided(s2: Floats, n: Floats, rho: float, alpha: float) -> Floats:
    """Return the half-width of the one-sided sequence, any shape, with s2 = n times the squared standard error.

    sqrt(s2 * 2 (n rho^2 + 1) / (n rho)^2 * ln(1 + sqrt(n rho^2 + 1) / (2 alpha))). Source: arXiv 2103.06476v7 eq. 134.
    """
    grown = n * rho**2 + 1.0
    width: Floats = np.sqrt(s2 * 2.0 * grown / (n * rho) ** 2 * np.log(1.0 + np.sqrt(grown) / (2.0 * alpha)))
    return width


def guardrail_lost(
    n_canary: int, bad_canary: int, n_stable: int, bad_stable: int, guardrail: Guardrail | None = None
) -> bool:
    """Return whether a Safe Rollout is rolled back for this guardrail, of which more is worse.

    Source: experiments.ts, getMetricResultStatus, hasEnoughData, isBelowMinChange, isStatSig; PEERS.md 2.4.
    """
    rule = guardrail or Guardrail()
    if not (bad_canary and bad_stable and max(bad_canary, bad_stable) >= rule.min_bad):
        return False
    stable, canary = Sample.of_proportion(n_stable, bad_stable), Sample.of_proportion(n_canary, bad_canary)
    said = sequential_test(stable, canary, alpha=rule.alpha, tuning=rule.tuning)
    return said.difference / stable.mean >= rule.min_relative and said.p_value < rule.alpha


def rollback_ticks(counts: Counts, *, every_s: float = 600.0, guardrail: Guardrail | None = None) -> Ints:
    """Return the tick, shape (R,), of the first look at which the guardrail is lost; NEVER for none.

    The best case for GrowthBook: a request is a unit, a query takes no time, and no step's hold delays the look. The
    product splits canary and control equally; give it such counts where that is wanted. One-sided, p < alpha says the
    same as "the interval's lower end is above 0". Of several guardrails the earliest counts: take the minimum.
    """
    looks = counts.looks(every_s)
    columns = (counts.n_canary, counts.bad_canary, counts.n_stable, counts.bad_stable)
    return first_look(
        _lost(guardrail or Guardrail(), *(column[:, looks].astype(np.float64) for column in columns)), looks
    )


def _lost(rule: Guardrail, n_c: Floats, bad_c: Floats, n_s: Floats, bad_s: Floats) -> Flags:
    enough = (bad_c > 0) & (bad_s > 0) & (np.maximum(bad_c, bad_s) >= rule.min_bad)
    mean_c, mean_s = bad_c / np.maximum(n_c, 1.0), bad_s / np.maximum(n_s, 1.0)
    enough &= (mean_c < 1.0) & (mean_s < 1.0)  # an arm that does not vary says nothing
    n = n_c + n_s
    s2 = n * (mean_c * (1.0 - mean_c) / np.maximum(n_c, 1.0) + mean_s * (1.0 - mean_s) / np.maximum(n_s, 1.0))
    width = width_one_sided(s2, np.maximum(n, 1.0), sequential_rho(2.0 * rule.alpha, rule.tuning), rule.alpha)
    difference = mean_c - mean_s
    return enough & (difference >= rule.min_relative * mean_s) & (difference > width)


def _moments(stable: Sample, canary: Sample, *, relative: bool) -> tuple[float, float] | None:
    """Return the difference and its standard error, None where nothing can be said.

    Relative differences by the delta method. Source: gbstats models/tests.py, EffectMoments, frequentist_variance.
    """
    if stable.variance <= 0.0 or canary.variance <= 0.0 or stable.mean == 0.0:
        return None
    difference = canary.mean - stable.mean
    of_canary, of_stable = canary.variance / canary.n, stable.variance / stable.n
    if not relative:
        return difference, math.sqrt(of_canary + of_stable)
    variance = of_canary / stable.mean**2 + of_stable * canary.mean**2 / stable.mean**4
    return difference / abs(stable.mean), math.sqrt(variance)


def _welch_dof(stable: Sample, canary: Sample) -> float:
    of_canary, of_stable = canary.variance / canary.n, stable.variance / stable.n
    return (of_canary + of_stable) ** 2 / (of_canary**2 / (canary.n - 1) + of_stable**2 / (stable.n - 1))


def _interval(difference: float, width: float, side: Side) -> tuple[float, float]:
    return (
        -math.inf if side is Side.LESSER else difference - width,
        math.inf if side is Side.GREATER else difference + width,
    )


def _width_two_sided(std_error: float, n: float, rho: float, alpha: float) -> float:
    """Return the half-width of the two-sided sequence. Source: arXiv 2103.06476v7 eq. 9."""
    grown = n * rho**2 + 1.0
    return std_error * math.sqrt(n * 2.0 * grown * math.log(math.sqrt(grown) / alpha)) / (n * rho)


def _p_two_sided(difference: float, std_error: float, n: float, rho: float) -> float:
    """Return min(1, 1 / e-value). Source: arXiv 2103.06476v7 eq. 155, as tests.py writes it."""
    grown = n * rho**2 + 1.0
    evidence = rho**2 * n * (difference / std_error) ** 2 / (2.0 * grown)
    return min(1.0, math.exp(0.5 * math.log(grown) - evidence))


def _p_one_sided(difference: float, s2: Floats, n: float, rho: float) -> float:
    """Return the level, rho held, at which the interval just reaches 0, as GrowthBook searches it.

    Where 100 halvings are not enough GrowthBook reports no p-value: that takes differences above 1e9, not of ratios.
    Source: tests.py, SequentialOneSidedTreatmentLesserTTest.compute_p_value.
    """

    def excess(alpha: float) -> float:
        return difference - float(width_one_sided(s2, np.array(n), rho, alpha))

    low, high = _LEAST_P, _GREATEST_P
    if excess(low) > 0.0:
        return low
    if excess(high) < 0.0:
        return high
    gap, alpha, n_steps = math.inf, (low + high) / 2.0, 0
    while abs(gap) >= _CLOSE_ENOUGH and n_steps < _MOST_STEPS:
        gap = excess(alpha)
        low, high = (alpha, high) if gap < 0.0 else (low, alpha)
        alpha = (low + high) / 2.0
        n_steps += 1
    return alpha
