"""Levels that are read now and then: memory, real-time factor, CPU. Never a test per reading: readings follow each other.

A hard limit withdraws when a pod is above it three readings in a row; against stable only means of pod blocks are compared.
Source: JUDGE.md 3.5.
"""

import math

from penstock.judge.betting import Null
from penstock.judge.blocks import BlockEvidence
from penstock.judge.counts import Measure
from penstock.judge.limits import MetricLimit
from penstock.judge.verdict import MetricEvidence

#: Readings above the limit, one after the other, that withdraw. Source: JUDGE.md 3.5.
_READINGS = 3

#: Stable's mean level, as believed before the first block, on the scale from none to the highest possible.
_PRIOR_LEVEL = 0.5


class GaugeMetric:
    """A level's hard limit, and its comparison by pod blocks."""

    holds: str | None = None
    request_evidence = 1.0
    proof = 1.0

    def __init__(self, limit: MetricLimit, *, n_canary_pods: int, block_length_s: float, n_starts: int | None) -> None:
        self.limit = limit
        self.blocks = BlockEvidence(
            prior_mean=_PRIOR_LEVEL,
            length_s=block_length_s,
            n_canary_pods=n_canary_pods,
            n_starts=n_starts,
            means=True,
        )
        self._above: dict[str, int] = {}
        self._sums: dict[bool, tuple[int, float]] = {True: (0, 0.0), False: (0, 0.0)}
        self._frozen = False

    @property
    def block_evidence(self) -> float:
        return self.blocks.evidence

    @property
    def withdraws(self) -> bool:
        """Whether a canary pod is above the hard limit now."""
        return any(n >= _READINGS for n in self._above.values())

    @property
    def sentence(self) -> str:
        """What was read, for a person."""
        canary, stable = (self._mean(arm) for arm in (True, False))
        above = f", {_READINGS} readings in a row above {self.limit.limit:g}" if self.withdraws else ""
        against = "" if stable is None else f" against {stable:.3g} on stable"
        return f"{self.limit.name} {canary or 0.0:.3g}{against} (limit {self._words}){above}"

    def take(self, at_s: float, measure: Measure, *, probes: bool, warm: tuple[bool, bool] = (True, True)) -> None:
        """Count one pod's readings."""
        del at_s, warm
        levels = [value for value in measure.values if math.isfinite(value)]
        if probes or not levels:
            return
        n, total = self._sums[measure.canary]
        self._sums[measure.canary] = (n + len(levels), total + math.fsum(levels))
        if measure.canary and self.limit.limit is not None:
            for level in levels:
                self._above[measure.pod] = self._above.get(measure.pod, 0) + 1 if level > self.limit.limit else 0
        if not self._frozen:
            bad = math.fsum(self.limit.badness(level) for level in levels)
            self.blocks.add(canary=measure.canary, pod=measure.pod, n=len(levels), bad=bad, probes=False)

    def close_due(self, at_s: float) -> None:
        self.blocks.close_due(at_s, Null(self.limit.ratio, 0.0), _PRIOR_LEVEL)

    def lengthen(self, length_s: float) -> None:
        """Make pod blocks this long."""
        self.blocks.length_s = length_s

    def restart_alarm(self) -> None:
        self._above.clear()

    def freeze(self, at_s: float) -> None:
        """Without users stable's level says nothing about a busy server: only the hard limit is left."""
        self._frozen = True
        self.blocks.thaw(at_s)

    def thaw(self, at_s: float) -> None:
        self._frozen = False
        self.blocks.thaw(at_s)

    def snapshot(self) -> MetricEvidence:
        canary, stable = self._mean(True), self._mean(False)
        return MetricEvidence(
            metric=self.limit.name,
            request_evidence=1.0,
            block_evidence=self.block_evidence,
            proof=1.0,
            n_canary=self._sums[True][0],
            n_stable=self._sums[False][0],
            bad_canary_ratio=None,
            bad_stable_ratio=None,
            gap=None if canary is None or stable is None else canary - stable,
            gap_interval=None,
            unit="pod-block",
            limit=self._words,
        )

    @property
    def _words(self) -> str:
        hard = "" if self.limit.limit is None else f", at most {self.limit.limit:g}"
        return f"{self.limit.ratio:g}x stable's level{hard}"

    def _mean(self, arm: bool) -> float | None:
        n, total = self._sums[arm]
        return total / n if n else None
