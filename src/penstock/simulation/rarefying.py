"""Capped counts of pod blocks for many releases at once: the expectations of `penstock.judge.blocks`, in numpy."""

import numpy as np
from numpy.typing import NDArray

from penstock.judge.batch import Floats


def _log_factorials(most: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


def rarefied(pods: Floats, n: Floats, cap: Floats) -> Floats:
    """Return E[min(H, cap)] / cap per pod; H is hypergeometric: `n` of the pod's answers, drawn without replacement.

    Args:
        pods: shape (rows, pods, 2): answers, bad answers.
        n: answers drawn, shape (rows,).
        cap: bad answers that count at most, shape (rows,).
    """
    n_total, n_bad = pods[..., 0], pods[..., 1]
    drawn, most = (np.broadcast_to(one[:, None], n_total.shape) for one in (n, cap))
    result: Floats = np.minimum(n_bad, most) / most
    thinned = n_total > drawn
    linear = thinned & ((n_bad <= most) | (drawn <= most))
    result[linear] = drawn[linear] * n_bad[linear] / n_total[linear] / most[linear]
    hard = thinned & ~linear
    if hard.any():
        result[hard] = _hypergeometric(n_total[hard], n_bad[hard], drawn[hard], most[hard])
    return result


def _hypergeometric(n_total: Floats, n_bad: Floats, drawn: Floats, cap: Floats) -> Floats:
    table = _log_factorials(int(n_total.max()))
    total, bad, draws = (one.astype(np.int64) for one in (n_total, n_bad, drawn))
    good = total - bad

    def log_choose(of: NDArray[np.int64], k: NDArray[np.int64]) -> Floats:
        ways: Floats = table[of] - table[k] - table[of - k]
        return ways

    missing = np.zeros(len(cap))
    for k in range(int(np.minimum(cap, drawn).max())):
        possible = (k < np.minimum(cap, drawn)) & (k >= draws - good) & (k <= bad)
        at = np.flatnonzero(possible)
        if at.size:
            ways = log_choose(bad[at], np.full(at.size, k)) + log_choose(good[at], draws[at] - k)
            missing[at] += (cap[at] - k) * np.exp(ways - log_choose(total[at], draws[at]))
    return np.clip(1.0 - missing / cap, 0.0, 1.0)


def capped_binomials(n: Floats, ratio: float, cap: Floats) -> Floats:
    """Return E[min(Binomial(n, ratio), cap)] / cap per row; `n` and `cap` have shape (rows,)."""
    if ratio <= 0.0:
        return np.zeros(len(n))
    table = _log_factorials(int(n.max(initial=1)))
    draws = n.astype(np.int64)
    log_odds = np.log(ratio) - np.log1p(-ratio)
    missing = np.zeros(len(n))
    for k in range(int(np.minimum(cap, n + 1).max(initial=0))):
        at = np.flatnonzero(k < np.minimum(cap, n + 1))
        log_ways = table[draws[at]] - table[k] - table[draws[at] - k]
        missing[at] += (cap[at] - k) * np.exp(log_ways + k * log_odds + n[at] * np.log1p(-ratio))
    return np.clip(1.0 - missing / cap, 0.0, 1.0)
