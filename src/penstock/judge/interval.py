"""How much worse the canary may be, as a range for a person: a confidence sequence over a grid of gaps. It decides nothing.

For every gap d of the grid two processes run: one bets that mean_c - mean_b is above d, the other that it is below. A gap
that either refuted is out, and what remains covers the true gap at every look with 95 %, as long as it does not change.
Source: JUDGE.md 2 "Confidence sequence"; duality of tests and confidence sets, Ville's inequality.
"""

import numpy as np

from penstock.judge.batch import BettingBatch
from penstock.judge.betting import Prior

#: Gaps on either side of 0, each about 1.9 times the one before, down to a hundredth of a percent.
_SIZES = tuple(float(size) for size in np.geomspace(1e-4, 0.5, 14))
GAPS = (*(-size for size in reversed(_SIZES)), 0.0, *_SIZES)

#: Each side may be wrong with this chance. Source: 95 % together.
_ALPHA_PER_SIDE = 0.025

#: A block of the interval is closed after 1 s or this share of the time so far, so that a day takes some 250 of them.
_MIN_BLOCK_S = 1.0
_SHARE_OF_AGE = 0.05

#: What is believed of stable counts for this many answers, and nothing is forgotten.
_PRIOR_WEIGHT, _DECAY = 200.0, 1.0


class GapInterval:
    """The range of mean_c - mean_b, in shares of answers, -1..1."""

    def __init__(self, prior_mean: float) -> None:
        prior = Prior(prior_mean, _PRIOR_WEIGHT, _DECAY)
        self._above = BettingBatch(prior, len(GAPS), n_starts=1)
        self._below = BettingBatch(prior, len(GAPS), n_starts=1, harm=False)
        self._refuted = np.zeros((2, len(GAPS)), dtype=bool)
        self._first_at_s: float | None = None
        self._opened_at_s = 0.0
        self._open = [0.0, 0.0, 0.0, 0.0]
        #: Blocks that are over and were not judged yet, (end, sums): nobody may ever ask, and judging is not cheap.
        self._due: list[tuple[float, list[float]]] = []

    @property
    def gap(self) -> tuple[float, float] | None:
        """(lowest, highest) gap that is not refuted, None before anything is; ends at -1 and 1 where nothing bounds it."""
        for block in self._due:
            self._judge(*block)
        self._due.clear()
        above, below = self._refuted
        if not (above.any() or below.any()):
            return None
        low = max((gap for gap, out in zip(GAPS, above, strict=True) if out), default=-1.0)
        high = min((gap for gap, out in zip(GAPS, below, strict=True) if out), default=1.0)
        return low, max(low, high)

    def add(self, at_s: float, canary: tuple[float, float], stable: tuple[float, float]) -> None:
        """Count (answers, bad answers) of both arms; a block that is over is judged when somebody asks for the gap."""
        if self._first_at_s is None:
            if canary[0] <= 0:
                return
            self._first_at_s = self._opened_at_s = at_s
        sums = self._open
        sums[0] += canary[0]
        sums[1] += canary[1]
        sums[2] += stable[0]
        sums[3] += stable[1]
        age_s = at_s - self._opened_at_s
        over = age_s >= _MIN_BLOCK_S and age_s >= _SHARE_OF_AGE * (at_s - self._first_at_s)
        if over and sums[0] > 0 and sums[2] > 0:
            self._due.append((at_s, self._open))
            self._opened_at_s = at_s
            self._open = [0.0, 0.0, 0.0, 0.0]

    def _judge(self, at_s: float, sums: list[float]) -> None:
        canary = np.tile(sums[:2], (len(GAPS), 1))
        stable = np.tile(sums[2:], (len(GAPS), 1))
        for index, batch in enumerate((self._above, self._below)):
            batch.observe(at_s, canary, stable, rho0=1.0, delta=np.array(GAPS))
            self._refuted[index] |= batch.evidence >= 1.0 / _ALPHA_PER_SIDE
