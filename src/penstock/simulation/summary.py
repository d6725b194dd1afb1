"""Numbers about many simulated releases, with what chance leaves open."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from penstock.simulation.release import Told
from penstock.simulation.traffic import HEALTHY, Fault

#: Two-sided 95 %. Source: the normal distribution.
_Z = 1.959964

#: Steps of bisection: a bound is exact to 2^-50.
_N_HALVINGS = 50


def wilson(n_hits: int, n: int) -> tuple[float, float]:
    """Return the two-sided 95 % interval of a share. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927)."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = n_hits / n, _Z * _Z
    middle = share + z2 / (2 * n)
    reach = _Z * math.sqrt(share * (1.0 - share) / n + z2 / (4 * n * n))
    low, high = ((middle + sign * reach) / (1.0 + z2 / n) for sign in (-1.0, 1.0))
    return max(0.0, low), min(1.0, high)


def upper_95(n_hits: int, n: int) -> float:
    """Return the share that is exceeded with 5 % at most, having seen `n_hits` of `n`; about 3 / n for none.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934).
    """
    if n_hits >= n:
        return 1.0
    low, high = n_hits / n, 1.0
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _at_most(n_hits, n, middle) > 0.05 else (low, middle)  # noqa: PLR2004 - 95 %
    return high


def row(fault: Fault, told: Sequence[Told]) -> dict[str, Any]:
    """Return what these releases of one fault come to, as JSON values.

    Shares are 0..1 with their 95 % intervals; times are seconds since the fault began, `full_s` and `promoted_s` since the release did;
    a time or count that no release has is null. Raises ValueError for no release at all.
    """
    if not told:
        raise ValueError("no release was simulated")
    n = len(told)
    noticed = [one for one in told if one.withdrawn_s is not None]
    outcomes = {word: sum(one.outcome == word for one in told) for word in _OUTCOMES}
    healthy = fault == HEALTHY
    return {
        "fault": fault.name,
        "words": fault.words,
        "n": n,
        "detected_ratio": len(noticed) / n,
        "detected_95": list(wilson(len(noticed), n)),
        "withdrawn_s": _spread(one.withdrawn_s for one in noticed),
        "n_canary": _spread(one.n_at_withdrawal for one in noticed),
        "rolled_back_ratio": outcomes["rolled_back"] / n,
        "rolled_back_95": list(wilson(outcomes["rolled_back"], n)),
        "rolled_back_s": _spread(one.rolled_back_s for one in told),
        "promoted_ratio": outcomes["promoted"] / n,
        "promoted_95": list(wilson(outcomes["promoted"], n)),
        "full_s": _spread(one.full_s for one in told),
        "promoted_s": _spread(one.promoted_s for one in told),
        "paused_ratio": outcomes["paused"] / n,
        "unfinished_ratio": outcomes["unfinished"] / n,
        "failed_requests": _mean([one.n_failed for one in told]),
        "users_exposed": _mean([one.n_users for one in told]),
        "away_s": _mean([one.away_s for one in told]),
        "false_rollback": _false(outcomes["rolled_back"], n) if healthy else None,
    }


def cumulative(times_s: Iterable[float | None], n: int) -> tuple[list[float], list[float]]:
    """Return the steps of "share of `n` that happened by then": times, seconds, and shares, 0..1."""
    known = sorted(time_s for time_s in times_s if time_s is not None)
    return [0.0, *known], [0.0, *((i + 1) / n for i in range(len(known)))]


_OUTCOMES = ("promoted", "rolled_back", "paused", "unfinished")


def _false(n_hits: int, n: int) -> dict[str, Any]:
    return {"n": n_hits, "of": n, "upper_95": upper_95(n_hits, n)}


def _spread(values: Iterable[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"median": None, "p95": None}
    return {"median": float(np.median(known)), "p95": float(np.quantile(known, 0.95))}


def _mean(values: Sequence[float]) -> dict[str, float]:
    se = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "se": se, "p95": float(np.quantile(values, 0.95))}


def _at_most(n_hits: int, n: int, share: float) -> float:
    """Return the chance of at most `n_hits` of `n`; `share` is inside (0, 1)."""
    log_share, log_rest = math.log(share), math.log1p(-share)
    log_all = math.lgamma(n + 1)
    terms = (
        log_all - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_share + (n - k) * log_rest
        for k in range(n_hits + 1)
    )
    return math.fsum(math.exp(term) for term in terms)
