"""Kayenta's Mann-Whitney test: a confidence interval and an estimate of the shift between two samples.

The interval is found by inverting the test with a root finder whose stopping rule matters, since the function is a step
function. Many pairs of samples are tested at once, each in lockstep exactly as it would be alone. The classification
that follows from the test lives in `kayenta`, not here.

Source: spinnaker/kayenta@a69573be kayenta-mannwhitney, MannWhitney.scala and BrentSolver.java; after R's wilcox.test.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np

from penstock.simulation.peers.series import Flags, Floats, Ints

#: A root is located within this, in the metric's unit. Source: BrentSolver.java.
_TOLERANCE = 1e-4
_EPSILON = 2.220446049250313e-16

#: Rows of a Brent search: the points a, b, c, and the function there. b takes c's place, a and c take b's.
_SWAPPED = [1, 2, 1, 4, 5, 4]

#: The function whose roots are sought: points, shape (k,), and the rows, shape (k,), that they belong to.
_Steps: TypeAlias = Callable[[Floats, Ints], Floats]


class Shifts(NamedTuple):
    """Location of x minus that of y, per pair of samples, shape (K,). NaN where all observations are tied."""

    low: Floats
    high: Floats
    estimate: Floats


def padded(samples: Sequence[Floats]) -> Floats:
    """Return samples of different lengths, each at least 1, as rows of one array, filled up with infinity."""
    rows = np.full((len(samples), max((len(sample) for sample in samples), default=1)), np.inf)
    for row, sample in zip(rows, samples, strict=True):
        row[: len(sample)] = sample
    return rows


def shifts(x: Floats, y: Floats, confidence: float) -> Shifts:
    """Return the two-sided interval at `confidence` (0..1), and the Hodges-Lehmann estimate, of every pair of rows.

    x has shape (K, nx), y (K, ny); both may be `padded`. Source: MannWhitney.scala, calculateConfidenceInterval.
    """
    x, y = np.sort(x, axis=1), np.sort(y, axis=1)
    rows = np.arange(len(x))
    least = x[:, 0] - y[rows, np.isfinite(y).sum(axis=1) - 1]
    most = x[rows, np.isfinite(x).sum(axis=1) - 1] - y[:, 0]
    at_least, at_most = wilcoxon_z(x, y, least), wilcoxon_z(x, y, most)

    def root(z: float) -> Floats:
        return _root(lambda mu, rows: wilcoxon_z(x[rows], y[rows], mu) - z, least, most, at_least - z, at_most - z)

    tail = NormalDist().inv_cdf((1.0 - confidence) / 2.0)
    return Shifts(root(-tail), root(tail), root(0.0))


def wilcoxon_z(x: Floats, y: Floats, mu: Floats) -> Floats:
    """Return the standardised rank sum, shape (K,), of x - mu against y, NaN where all observations are tied.

    With U the rank sum of x - mu less its mean, t the sizes of tied groups and N = nx + ny, continuity corrected:
    z = (U - sign(U) / 2) / sqrt(nx ny / 12 * (N + 1 - sum(t^3 - t) / (N (N - 1)))).
    Source: MannWhitney.scala, wilcoxonDiff (without its quantile).
    """
    n_x, n_y = np.isfinite(x).sum(axis=1), np.isfinite(y).sum(axis=1)
    n = n_x + n_y
    pooled = np.concatenate([x - mu[:, None], y], axis=1)
    order = np.argsort(pooled, axis=1)
    ranks, sizes = _tied_ranks(np.take_along_axis(pooled, order, axis=1))
    real = np.arange(pooled.shape[1]) < n[:, None]
    of_x = real & (order < x.shape[1])
    u = np.where(of_x, ranks, 0.0).sum(axis=1) - n_x * (n_x + 1) / 2.0 - n_x * n_y / 2.0
    ties = np.where(real, sizes**2 - 1.0, 0.0).sum(axis=1)  # t^3 - t, spread over the t members of a group
    variance = n_x * n_y / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)))
    sigma = np.sqrt(np.maximum(variance, 0.0))
    z: Floats = np.divide(u - 0.5 * np.sign(u), sigma, out=np.full(len(x), np.nan), where=sigma > 0)
    return z


def _tied_ranks(ordered: Floats) -> tuple[Floats, Floats]:
    """Return the ranks, 1 and up, of sorted rows, ties averaged, and the size of the group each belongs to."""
    column = np.arange(ordered.shape[1])
    starts = np.ones(ordered.shape, dtype=np.bool_)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(ordered.shape, dtype=np.bool_)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, column, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, column, len(column))[:, ::-1], axis=1)[:, ::-1]
    return (first + last) / 2.0 + 1.0, last - first + 1.0


def _root(steps: _Steps, low: Floats, high: Floats, at_low: Floats, at_high: Floats) -> Floats:
    """Return where a falling function crosses 0 between low and high, an end where it does not, NaN where it is NaN."""
    found = np.where(at_low <= 0.0, low, high)
    found[np.isnan(at_low) | np.isnan(at_high)] = np.nan
    rows = np.flatnonzero((at_low > 0.0) & (at_high < 0.0))
    state = np.stack([low, high, low, at_low, at_high, at_low])[:, rows]
    while rows.size:
        previous = state[1] - state[0]
        swap = np.abs(state[5]) < np.abs(state[4])
        state[:, swap] = state[_SWAPPED][:, swap]
        tolerance = 2.0 * _EPSILON * np.abs(state[1]) + _TOLERANCE / 2.0
        done = (np.abs(state[2] - state[1]) / 2.0 <= tolerance) | (state[4] == 0.0)
        found[rows[done]] = state[1, done]
        rows, state = rows[~done], state[:, ~done]
        step = _step(state, previous[~done], tolerance[~done])
        state[[0, 3]] = state[[1, 4]]
        state[1] += step
        state[4] = steps(state[1], rows)
        same_side = np.sign(state[4]) * np.sign(state[5]) > 0.0
        state[np.ix_([2, 5], same_side)] = state[np.ix_([0, 3], same_side)]
    return found


def _step(state: Floats, previous: Floats, tolerance: Floats) -> Floats:
    """Return how far b moves: by interpolation where that is trusted, else by half the way to c, at least `tolerance`.

    Source: BrentSolver.java; Brent, Algorithms for minimization without derivatives, 1973, chapter 4.
    """
    a, b, c, at_a, at_b, at_c = state
    span = c - b
    with np.errstate(divide="ignore", invalid="ignore"):
        two = at_b / at_a  # secant through a and b
        p, q = span * two, 1.0 - two
        ratio, three = at_a / at_c, at_b / at_c  # inverse quadratic through a, b and c
        p = np.where(a == c, p, two * (span * ratio * (ratio - three) - (b - a) * (three - 1.0)))
        q = np.where(a == c, q, (ratio - 1.0) * (three - 1.0) * (two - 1.0))
        q, p = np.where(p > 0.0, -q, q), np.abs(p)
        trusted: Flags = (np.abs(previous) >= tolerance) & (np.abs(at_a) > np.abs(at_b))
        trusted &= (p < 0.75 * span * q - np.abs(tolerance * q) / 2.0) & (p < np.abs(previous * q / 2.0))
        step = np.where(trusted, p / q, span / 2.0)
    return np.where(np.abs(step) < tolerance, np.where(step > 0.0, tolerance, -tolerance), step)
