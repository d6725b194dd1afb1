"""How bad the canary can still be: an upper bound on its share of failed answers, for deciding how many users may meet it.

For each share a of a grid, a process bets that the canary fails less than a. The smallest a that is refuted as a lower
limit bounds the failure rate with 95 % at every look. A canary that has answered nothing may fail everything: the bound is
1. While weight * bound stays within the budget, at most that share of all traffic fails because of the canary.
Source: JUDGE.md 5 (grid, bets, rule).
"""

import math

import numpy as np
from numpy.typing import NDArray

#: Source: JUDGE.md 5 ("the grid {.9, .7, .5, ... .002}").
GRID = (0.9, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.035, 0.025, 0.018, 0.012, 0.008, 0.005, 0.0035, 0.002)
_BETS = (0.1, 0.3, 0.6, 0.95)
_BETA = 0.05

#: Wealth is cut to this, so that a canary that broke later is seen as such. Source: JUDGE.md 10.1.5.
_MOST_NATS = math.log(1000.0)

#: Counts that are bet on together, at most: more would need fresh memory every time.
_MOST_DUE = 100


class FailureBound:
    """The bound, and the evidence behind it."""

    def __init__(self) -> None:
        shares, bets = np.array(GRID)[:, None], np.array(_BETS)
        self._when_bad = np.broadcast_to(np.log1p(-bets), (len(GRID), len(_BETS))).copy()
        self._when_good = np.log1p(bets * shares / (1.0 - shares))
        self._log_wealth = np.zeros((len(GRID), len(_BETS)))
        #: Counts that are not bet on yet: a replay never asks for the bound, and numpy is quicker with many at once.
        self._due: list[tuple[int, int]] = []

    @property
    def ratio(self) -> float:
        """The canary fails at most this share of its answers, 0..1."""
        self._bet()
        refuted = np.exp(self._log_wealth).mean(axis=1) >= 1.0 / _BETA
        return float(np.array(GRID)[refuted].min(initial=1.0))

    def observe(self, n: int, bad: int) -> None:
        """Count the canary's answers: `bad` of `n` failed."""
        self._due.append((n, bad))
        if len(self._due) >= _MOST_DUE:
            self._bet()

    def _bet(self) -> None:
        """Bet on what is due, one count after the other: wealth is cut after each."""
        if not self._due:
            return
        n, bad = np.array(self._due, dtype=float).T[:, :, None, None]
        gains = bad * self._when_bad + (n - bad) * self._when_good
        wealth, n_done = self._log_wealth, 0
        for index in np.flatnonzero(bad).tolist():
            if index > n_done:
                self._rise(gains[n_done:index])
            np.add(wealth, gains[index], out=wealth)
            np.minimum(wealth, _MOST_NATS, out=wealth)
            n_done = index + 1
        if n_done < len(gains):
            self._rise(gains[n_done:])
        self._due = []

    def _rise(self, gains: NDArray[np.float64]) -> None:
        """Add gains of good answers alone, in their order: to cut wealth once comes to the same as after each."""
        gains[0] += self._log_wealth
        np.minimum(gains.sum(axis=0), _MOST_NATS, out=self._log_wealth)
