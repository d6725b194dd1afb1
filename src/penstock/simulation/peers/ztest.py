"""The naive baseline: a pooled two-proportion z-test, looked at again and again at the same level.

Each look is right on its own; looking until one fires is not, and no guarantee is left.
Source: Armitage, McPherson & Rowe, Repeated significance tests on accumulating data, 1969; PEERS.md 3, JUDGE.md 6.
"""

import math
from statistics import NormalDist

import numpy as np

from penstock.simulation.peers.series import Counts, Floats, Ints, first_look


def p_value(n_canary: int, bad_canary: int, n_stable: int, bad_stable: int) -> float:
    """Return the one-sided p-value of "the canary's bad share is the greater one"; 1 where nothing can be said.

    With the pooled share p, z = (p_c - p_s) / sqrt(p (1 - p) (1 / n_c + 1 / n_s)).
    Source: Fleiss, Statistical methods for rates and proportions,, without the continuity correction.
    """
    counts = (np.array([float(count)]) for count in (n_canary, bad_canary, n_stable, bad_stable))
    z = float(_z(*counts)[0])
    return 1.0 if z == -math.inf else NormalDist().cdf(-z)


def rollback_ticks(counts: Counts, *, every_s: float = 10.0, alpha: float = 0.01) -> Ints:
    """Return the tick, shape (R,), of the first look with p < `alpha`, over all that was counted; NEVER for none."""
    looks = counts.looks(every_s)
    columns = (counts.n_canary, counts.bad_canary, counts.n_stable, counts.bad_stable)
    z = _z(*(column[:, looks].astype(np.float64) for column in columns))
    return first_look(z > NormalDist().inv_cdf(1.0 - alpha), looks)


def _z(n_canary: Floats, bad_canary: Floats, n_stable: Floats, bad_stable: Floats) -> Floats:
    """Return z, any shape; minus infinity where an arm is empty or all answers were alike."""
    pooled = (bad_canary + bad_stable) / np.maximum(n_canary + n_stable, 1.0)
    per_answer = 1.0 / np.maximum(n_canary, 1.0) + 1.0 / np.maximum(n_stable, 1.0)
    spread = np.sqrt(pooled * (1.0 - pooled) * per_answer)
    known = (n_canary > 0) & (n_stable > 0) & (spread > 0)
    difference = bad_canary / np.maximum(n_canary, 1.0) - bad_stable / np.maximum(n_stable, 1.0)
    z: Floats = np.divide(difference, spread, out=np.full(spread.shape, -np.inf), where=known)
    return z
