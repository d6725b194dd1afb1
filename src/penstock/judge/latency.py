"""Latency as a share: how many answers are slower than 1.1 x stable's p95. Histograms and thresholds, no evidence.

A comparison of quantiles becomes one of bad shares: stable's answer is bad when slower than u, the canary's when slower
than (1 + margin) u, with u taken from stable's past. That is exact for "not slower than stable stretched by the margin",
whatever the distribution and its drift. Both thresholds lie on edges of the bins, so counting above them is exact too; the
canary's is rounded up, in its favour. Source: JUDGE.md 3.2, 8.
"""

import math
from collections.abc import Mapping

#: Which quantile, and the share above it. Source: JUDGE.md 3.2 (p95 alone if only p95 matters).
QUANTILE = 0.95
SLOW_RATIO = 1.0 - QUANTILE

#: Share of stable's answers above the edge that stands for the p95 may exceed 5 % by this factor, as edges are coarse.
_COARSENESS = 1.5

#: Stable's answers before a threshold is set. Source: 5 beyond the p95, and JUDGE.md 3.2 is valid for any threshold.
_MIN_ANSWERS = 100.0

#: The same among replayed requests, which come slowly. Any threshold from the past is valid; a rough one costs power.
PROBES_MIN_ANSWERS = 20.0

#: Seconds between new thresholds, and what remains of older answers after each (a memory of about 1000 s).
#: Source: JUDGE.md 3.2 (refresh 10 s).
_REFRESH_S = 10.0
_DECAY = 0.99

#: Edges are every whole millisecond up to here, then every tenth of a decade's digit. Source: two significant digits.
_FINE_UP_TO_MS = 100

#: A bin that weighs less than this many answers is dropped.
_FORGOTTEN = 1e-3


def edge_at_least(latency_ms: float) -> int:
    """Return the first edge (whole milliseconds, two significant digits) that is not below `latency_ms`."""
    whole = math.ceil(latency_ms - 1e-9)  # 1.1 * 100 is 110.00000000000001 in binary
    if whole <= _FINE_UP_TO_MS:
        return max(whole, 0)
    step = int("1" + "0" * (len(str(whole)) - 2))
    return -(-whole // step) * step


def n_slower(bins: Mapping[int, int], edge_ms: float) -> int:
    """Return how many answers took `edge_ms` (an edge) or longer."""
    return sum(count for lower_ms, count in bins.items() if lower_ms >= edge_ms)


class LatencyHistogram:
    """Decayed answers of one arm: lower edge in ms -> weight."""

    def __init__(self) -> None:
        self._bins: dict[int, float] = {}

    def add(self, bins: Mapping[int, int]) -> None:
        for lower_ms, count in bins.items():
            self._bins[lower_ms] = self._bins.get(lower_ms, 0.0) + count

    def fade(self, remains: float) -> None:
        """Let older answers count less."""
        self._bins = {lower_ms: weight * remains for lower_ms, weight in self._bins.items() if weight > _FORGOTTEN}

    @property
    def n(self) -> float:
        """How many answers, decayed."""
        return sum(self._bins.values())

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency that `share` of the answers stay below, within its bin by interpolation; None if empty."""
        left = share * self.n
        for lower_ms in sorted(self._bins):
            weight = self._bins[lower_ms]
            if left <= weight:
                return lower_ms + (edge_at_least(lower_ms + 1) - lower_ms) * left / weight
            left -= weight
        return float(max(self._bins)) if self._bins else None

    def slow_edge_ms(self) -> int | None:
        """Return the edge that stands for the p95: the share of answers that reach it is as near to 5 % as edges allow.

        Never far above 5 %: where one bin holds most answers, that is the edge above the bin, which hardly any reach.
        """
        wanted, above = SLOW_RATIO * self.n, 0.0
        for lower_ms in sorted(self._bins, reverse=True):
            reached = above + self._bins[lower_ms]
            if reached >= wanted:
                near = reached <= _COARSENESS * wanted and reached - wanted < wanted - above
                return lower_ms if near else edge_at_least(lower_ms + 1)
            above = reached
        return None


class LatencyScale:
    """Thresholds from stable's past, and what either arm's p95 is, for a person."""

    def __init__(self, margin: float, *, min_answers: float = _MIN_ANSWERS) -> None:
        self._margin = margin
        self._min_answers = min_answers
        self._frozen = False
        self._refreshed_at_s = -math.inf
        self.stable = LatencyHistogram()
        self.canary = LatencyHistogram()
        #: Stable's answers at or above this are slow; None until stable is known well enough.
        self.stable_edge_ms: int | None = None
        self.canary_edge_ms: int | None = None

    def refresh(self, at_s: float) -> None:
        """Set the thresholds from the past; call before a tick is counted."""
        if at_s - self._refreshed_at_s < _REFRESH_S and self.stable_edge_ms is not None:
            return
        if not self._frozen and self.stable.n >= self._min_answers and (edge := self.stable.slow_edge_ms()):
            self.stable_edge_ms = edge
            self.canary_edge_ms = edge_at_least(edge * (1.0 + self._margin))
        if at_s - self._refreshed_at_s >= _REFRESH_S:
            self._refreshed_at_s = at_s
            self.canary.fade(_DECAY)
            if not self._frozen:
                self.stable.fade(_DECAY)

    def learn(self, bins: Mapping[int, int], *, canary: bool) -> None:
        """Take a tick's answers into account; call after it was counted."""
        if canary:
            self.canary.add(bins)
        elif not self._frozen:
            self.stable.add(bins)

    def freeze(self) -> None:
        """Keep stable's thresholds and p95 as they are."""
        self._frozen = True

    def thaw(self) -> None:
        """Follow stable again."""
        self._frozen = False

    def edge_ms(self, *, canary: bool) -> int | None:
        """The arm's threshold, None when stable is not known well enough."""
        return self.canary_edge_ms if canary else self.stable_edge_ms
