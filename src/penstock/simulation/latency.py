"""How long simulated answers take: lognormal, in the gateway's bins."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from penstock.judge.edges import TwoDigits

#: Spread of the logarithm. Source: JUDGE.md 6 (its latencies are lognormal; .5 puts the p95 at 2.3 x the median).
SIGMA = 0.5

#: An answer of a stalled pod takes about this long, milliseconds, and longer where the p95 is not far below: it is slow
#: by any comparison.
_STALLED_MS, _STALLED_P95S = 9900.0, 4.0

#: Times below this share of stable's p95 are told apart by nobody: they are one bin. Source: no threshold is set below
#: the p60 (.5 x the p95 at the spread above) before 20 answers are known, but once in 27,000 times (.6^20).
_SHORT_RATIO = 0.5

_N_QUANTILES = 4096
_NORMAL = NormalDist()


class Latencies:
    """Draws latencies, milliseconds: lower edges of two significant digits.

    Args:
        p95_ms: of the version.
        short_ms: what is faster is one bin.
    """

    def __init__(self, p95_ms: float, short_ms: float) -> None:
        edges = TwoDigits()
        median_ms = p95_ms / math.exp(SIGMA * _NORMAL.inv_cdf(0.95))
        short = edges.at_most(short_ms)
        self._short_ratio = _NORMAL.cdf(math.log(max(short, 1e-9) / median_ms) / SIGMA)
        self._short_edge = int(edges.at_most(short / 2.0))
        #: How long an answer of a stalled pod takes, milliseconds.
        self.stalled_ms = int(edges.at_most(max(_STALLED_MS, _STALLED_P95S * p95_ms)))
        self._long = _edges(median_ms, self._short_ratio)
        self._any = _edges(median_ms, 0.0)

    def draw(self, rng: np.random.Generator, n: int) -> dict[int, int]:
        """Return lower edge -> answers of `n` answers, the short ones in one bin."""
        n_long = int(rng.binomial(n, 1.0 - self._short_ratio))
        bins = {self._short_edge: n - n_long} if n > n_long else {}
        for edge in self._long[(rng.random(n_long) * _N_QUANTILES).astype(np.intp)].tolist():
            bins[edge] = bins.get(edge, 0) + 1
        return bins

    def draw_each(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Return the lower edge of each of `n` answers, shape (n,), none of them merged."""
        return self._any[(rng.random(n) * _N_QUANTILES).astype(np.intp)]


@lru_cache(maxsize=64)
def latencies(p95_ms: float, slowdown: float, limit_ms: float | None) -> Latencies:
    """Return the latencies of a version `slowdown` times as slow as stable.

    Args:
        p95_ms: stable's.
        slowdown: > 0.
        limit_ms: an absolute limit that is to be judged exactly, or None.
    """
    return Latencies(p95_ms * slowdown, _SHORT_RATIO * min(p95_ms, limit_ms or p95_ms))


def _edges(median_ms: float, from_ratio: float) -> NDArray[np.int64]:
    """Return the bins of evenly spaced quantiles above `from_ratio`."""
    edges = TwoDigits()
    step = (1.0 - from_ratio) / _N_QUANTILES
    shares = (from_ratio + (i + 0.5) * step for i in range(_N_QUANTILES))
    times_ms = (median_ms * math.exp(SIGMA * _NORMAL.inv_cdf(share)) for share in shares)
    return np.array([int(edges.at_most(time_ms)) for time_ms in times_ms], dtype=np.int64)
