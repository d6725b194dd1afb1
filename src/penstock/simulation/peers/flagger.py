"""Flagger: checks that are failed once are never forgiven, and a rollback comes one tick after the last of them.

Source: fluxcd/flagger@15bd6ad5 pkg/controller/scheduler.go (advanceCanary), pkg/controller/scheduler_metrics.go
(runMetricChecks), pkg/apis/flagger/v1beta1/canary.go (GetAnalysisInterval, GetAnalysisThreshold, GetMetricInterval),
pkg/metrics/providers/prometheus.go (RunQuery).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from penstock.simulation.peers.series import NEVER, Counts, Flags, Ints, shares, since

#: A shorter interval is raised to this. Source: canary.go, GetAnalysisInterval.
SHORTEST_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Range:
    """`thresholdRange` of a metric, in the metric's unit; None where the user gave no bound."""

    low: float | None = None
    high: float | None = None

    def fails(self, value: float | None) -> bool:
        """Return whether a check fails: out of range, or nothing found (None, NaN). Source: scheduler_metrics.go."""
        if value is None or math.isnan(value):
            return True
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


class Analysis:
    """One canary while it is Progressing with traffic on it, advanced by a ticker.

    Attributes:
        n_failed_checks: since the canary's start; no check that passes ever lowers it.
        rolled_back: whether the traffic was taken away.
    """

    __slots__ = ("_ranges", "_threshold", "n_failed_checks", "rolled_back")

    def __init__(self, ranges: Sequence[Range], *, threshold: int = 1) -> None:
        self._ranges = tuple(ranges)
        self._threshold = threshold if threshold > 0 else 1
        self.n_failed_checks = 0
        self.rolled_back = False

    def tick(self, values: Iterable[float | None]) -> bool:
        """Advance by one tick and return whether the canary is rolled back.

        `values` holds one value per range, in order; it is read only up to the first that fails, and not at all on the
        tick that rolls back. Source: scheduler.go, advanceCanary; scheduler_metrics.go, runMetricChecks.
        """
        if self.rolled_back or self.n_failed_checks >= self._threshold:
            self.rolled_back = True
        elif any(allowed.fails(value) for allowed, value in zip(self._ranges, values, strict=True)):
            self.n_failed_checks += 1
        return self.rolled_back


def rollback_ticks(
    counts: Counts,
    *,
    interval_s: float = 60.0,
    threshold: int = 5,
    max_ratio: float = 0.01,
    window_s: float = 60.0,
    also: Sequence[tuple[Counts, float]] = (),
) -> Ints:
    """Return the tick, shape (R,), at whose end each release is rolled back; NEVER where it is not.

    A check fails where the canary's bad share in the last `window_s` seconds is above `max_ratio`, or where there was
    no request. `also` holds further metrics of the same releases with their greatest ratios: a tick fails once if any
    of them does, so minima of single metrics would not be the same. The first analysis comes one interval after the
    canary got traffic. Intervals below 10 s are raised to 10 s, thresholds below 1 to 1.
    """
    looks = counts.looks(max(interval_s, SHORTEST_INTERVAL_S))
    failed = np.zeros((counts.n_releases, len(looks)), dtype=np.bool_)
    for metric, limit in ((counts, max_ratio), *also):
        failed |= _failed(metric, limit, looks, window_s)
    condemned = np.cumsum(failed, axis=1) >= max(threshold, 1)
    next_look = np.append(looks[1:], NEVER)
    if not looks.size:
        return np.full(counts.n_releases, NEVER, dtype=np.int64)
    return np.where(condemned.any(axis=1), next_look[condemned.argmax(axis=1)], NEVER)


def _failed(counts: Counts, max_ratio: float, looks: Ints, window_s: float) -> Flags:
    """Return which checks fail, shape (R, looks). A window without requests has no share: NaN is not "at most"."""
    window = counts.whole_ticks(window_s)
    n, bad = since(counts.n_canary, looks, window), since(counts.bad_canary, looks, window)
    failed: Flags = ~(shares(bad, n) <= max_ratio)
    return failed
