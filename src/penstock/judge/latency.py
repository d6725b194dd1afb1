"""Latency as a share: how many answers are slower than 1.1 x stable's p95. Histograms and thresholds, no evidence.

A comparison of quantiles becomes one of bad shares: stable's answer is bad when slower than u, the canary's when slower
than (1 + margin) u, with u taken from stable's past. That is exact for "not slower than stable stretched by the margin",
whatever the distribution and its drift. Both thresholds lie on edges of the bins, so counting above them is exact too; the
canary's is rounded in its favour where harm is to be proven, and against it where health is. Source: JUDGE.md 3.2, 8.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from penstock.judge.edges import Edges, TwoDigits
from penstock.judge.limits import Limits, MetricKind, MetricLimit

#: Share of stable's answers above the edge that stands for the quantile may exceed what it should be by this factor.
_COARSENESS = 1.5

#: Where the next edge is further from stable's than this multiple of the margin, nothing can be compared.
#: Source: JUDGE.md 3.2 ("if the edge ratio is > 2 (1 + m), say so").
_TOO_COARSE = 2.0

#: Stable's answers before a threshold is set. Source: 5 beyond the p95, and JUDGE.md 3.2 is valid for any threshold.
_MIN_ANSWERS = 100.0

#: The same among replayed requests, which come slowly. Any threshold from the past is valid; a rough one costs power.
_PROBES_MIN_ANSWERS = 20.0

#: Seconds between new thresholds, and what remains of older answers after each (a memory of about 1000 s).
#: Source: JUDGE.md 3.2 (refresh 10 s).
_REFRESH_S = 10.0
_DECAY = 0.99

#: A bin that weighs less than this many answers is dropped.
_FORGOTTEN = 1e-3

#: A pod's latency is not judged on single requests before this many answers: the first pay for cold caches.
#: Source: JUDGE.md 10.1.10 ("or after K warm-up requests"); 20 as the smallest p95 that can be seen at all.
WARM_UP_ANSWERS = 20

#: ... and not by pod blocks before this many longest stalls have passed since it was first seen (90 s at 60 s).
#: Source: JUDGE.md 10.1.10.
WARM_UP_STALLS = 1.5


def n_slower(bins: Mapping[float, int], edge_ms: float) -> int:
    """Return how many answers took `edge_ms` (an edge) or longer."""
    return sum(count for lower_ms, count in bins.items() if lower_ms >= edge_ms)


class Stretch(NamedTuple):
    """A quantile, and how much slower the canary's may be."""

    quantile: float
    margin: float


class Thresholds(NamedTuple):
    """From here on an answer is slow, milliseconds, edges all.

    Attributes:
        stable: of stable.
        harm: of the canary, where harm is to be proven; rounded up.
        healthy: of the canary, where health is to be proven; rounded down.
    """

    stable: float
    harm: float
    healthy: float


class LatencyHistogram:
    """Decayed answers of one arm: lower edge in ms -> weight."""

    def __init__(self) -> None:
        self._bins: dict[float, float] = {}

    def add(self, bins: Mapping[float, int]) -> None:
        mine = self._bins
        for lower_ms, count in bins.items():
            mine[lower_ms] = mine.get(lower_ms, 0.0) + count

    def fade(self, remains: float) -> None:
        """Let older answers count less."""
        self._bins = {lower_ms: weight * remains for lower_ms, weight in self._bins.items() if weight > _FORGOTTEN}

    @property
    def n(self) -> float:
        """How many answers, decayed."""
        return sum(self._bins.values())

    def quantile_ms(self, share: float, edges: Edges) -> float | None:
        """Return the latency that `share` of the answers stay below, within its bin by interpolation; None if empty."""
        left = share * self.n
        for lower_ms in sorted(self._bins):
            weight = self._bins[lower_ms]
            if left <= weight:
                upper_ms = edges.above(lower_ms)
                return lower_ms if math.isinf(upper_ms) else lower_ms + (upper_ms - lower_ms) * left / weight
            left -= weight
        return float(max(self._bins)) if self._bins else None

    def slow_edge_ms(self, quantile: float, edges: Edges) -> float | None:
        """Return the edge that stands for the quantile: the share that reaches it is as near to 1 - quantile as can be.

        Never far above it: where one bin holds most answers, that is the edge above the bin, which hardly any reach.
        """
        wanted, above = (1.0 - quantile) * self.n, 0.0
        for lower_ms in sorted(self._bins, reverse=True):
            reached = above + self._bins[lower_ms]
            if reached >= wanted:
                near = reached <= _COARSENESS * wanted and reached - wanted < wanted - above
                return lower_ms if near else edges.above(lower_ms)
            above = reached
        return None


class LatencyScale:
    """Thresholds from stable's past, and how fast either arm is, for a person."""

    def __init__(self, edges: Edges, stretches: Iterable[Stretch], *, min_answers: float = _MIN_ANSWERS) -> None:
        self.edges = edges
        self._stretches = tuple(stretches)
        self._min_answers = min_answers
        self._frozen = False
        self._refreshed_at_s = -math.inf
        self.stable = LatencyHistogram()
        self.canary = LatencyHistogram()
        #: Empty until stable is known well enough; None where the edges are too coarse to compare.
        self.thresholds: dict[Stretch, Thresholds | None] = {}

    def refresh(self, at_s: float) -> None:
        """Set the thresholds from the past; call before a tick is counted."""
        due = at_s - self._refreshed_at_s >= _REFRESH_S
        if not due and self.thresholds:
            return
        if not self._frozen and self.stable.n >= self._min_answers:
            for stretch in self._stretches:
                if edge_ms := self.stable.slow_edge_ms(stretch.quantile, self.edges):
                    self.thresholds[stretch] = self._around(edge_ms, stretch.margin)
        if due:
            self._refreshed_at_s = at_s
            self.canary.fade(_DECAY)
            if not self._frozen:
                self.stable.fade(_DECAY)

    def _around(self, edge_ms: float, margin: float) -> Thresholds | None:
        wanted_ms = edge_ms * (1.0 + margin)
        harm_ms = self.edges.at_least(wanted_ms)
        if not harm_ms <= _TOO_COARSE * wanted_ms:
            return None
        return Thresholds(edge_ms, harm_ms, max(self.edges.at_most(wanted_ms), edge_ms))

    def learn(self, bins: Mapping[float, int], *, canary: bool) -> None:
        """Take a tick's answers into account; call after it was counted."""
        if canary:
            self.canary.add(bins)
        elif not self._frozen:
            self.stable.add(bins)

    def freeze(self) -> None:
        """Keep stable's thresholds and quantiles as they are."""
        self._frozen = True

    def thaw(self) -> None:
        """Follow stable again."""
        self._frozen = False


class Timing:
    """One source of latencies: the scales of users' requests and of probes, and which pods have warmed up.

    Replays reach idle pods one by one: what is slow among them is not what is slow under the users' load.
    """

    def __init__(self, edges: Edges, stretches: Iterable[Stretch], *, longest_stall_s: float) -> None:
        stretches = tuple(stretches)
        self.users = LatencyScale(edges, stretches)
        self.probes = LatencyScale(edges, stretches, min_answers=_PROBES_MIN_ANSWERS)
        self._warm_up_s = WARM_UP_STALLS * longest_stall_s
        self._pods: dict[tuple[bool, str], tuple[float, int]] = {}

    def scale(self, *, probes: bool) -> LatencyScale:
        return self.probes if probes else self.users

    @property
    def busier(self) -> LatencyScale:
        """The scale that has seen more of the canary."""
        return self.users if self.users.canary.n > self.probes.canary.n else self.probes

    def warmed_up(self, at_s: float, pod: tuple[bool, str], n: int) -> tuple[bool, bool]:
        """Count `n` answers of (canary, pod); return whether single requests, and pod blocks, may be judged by them."""
        first_s, n_before = self._pods.get(pod, (at_s, 0))
        self._pods[pod] = (first_s, n_before + n)
        return n_before >= WARM_UP_ANSWERS, at_s >= first_s + self._warm_up_s

    def freeze(self) -> None:
        self.users.freeze()
        self.probes.freeze()

    def thaw(self) -> None:
        self.users.thaw()
        self.probes.thaw()


def timings_for(limits: Limits, edges: Mapping[str, Edges]) -> dict[str, Timing]:
    """Return one timing per source of latencies, with the quantiles that its metrics compare."""
    by_source: dict[str, list[MetricLimit]] = {}
    for limit in limits.metrics:
        if limit.kind is MetricKind.LATENCY:
            by_source.setdefault(limit.read_from, []).append(limit)
    return {
        source: Timing(
            edges.get(source, TwoDigits()),
            [Stretch(limit.quantile, limit.margin) for limit in some if limit.limit is None],
            longest_stall_s=limits.longest_stall_s,
        )
        for source, some in by_source.items()
    }
