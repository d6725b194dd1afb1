"""What holds a rollout without speaking against the canary: output that drifts, and a split that is not what was asked for."""

import math

from penstock.judge.betting import BettingProcess, Null, Prior
from penstock.judge.counts import Measure
from penstock.judge.limits import MetricLimit
from penstock.judge.verdict import MetricEvidence

#: Evidence that holds. Source: JUDGE.md 3.6 (split, .1 %) and the release's usual 1 % for drift.
_SPLIT_NEEDED = 1000.0
_DRIFT_NEEDED = 100.0

#: A block of outputs closes at this size. Source: JUDGE.md 2 "Block closing".
_MIN_STABLE, _MIN_BOTH = 5, 20

#: Wrong shares that are bet on, as multiples of the intended one. Source: JUDGE.md 3.6.
_FACTORS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.4, 2.0)
_READ_OUT_NATS = 60.0


class _Holding:
    """What both have in common: they never take traffic away."""

    request_evidence = 1.0
    block_evidence = 1.0
    proof = 1.0
    withdraws = False

    def __init__(self, limit: MetricLimit) -> None:
        self.limit = limit
        self._n = {True: 0, False: 0}

    @property
    def evidence(self) -> float:
        raise NotImplementedError

    def lengthen(self, length_s: float) -> None:
        """There are no pod blocks here."""

    def restart_alarm(self) -> None:
        """Nothing here is an alarm."""

    def freeze(self, at_s: float) -> None:
        """Without stable nothing more is learnt."""

    def thaw(self, at_s: float) -> None:
        """See freeze."""

    def _snapshot(self, words: str, unit: str) -> MetricEvidence:
        return MetricEvidence(
            metric=self.limit.name,
            request_evidence=self.evidence,
            block_evidence=1.0,
            proof=1.0,
            n_canary=self._n[True],
            n_stable=self._n[False],
            bad_canary_ratio=None,
            bad_stable_ratio=None,
            gap=None,
            gap_interval=None,
            unit=unit,
            limit=words,
        )


class DriftMetric(_Holding):
    """Do the canary's outputs fall into other bins than stable's, by more than the tolerated total variation?

    In every block the suspicious bins are those where the canary's past share is above stable's; an output is bad when it
    falls into one. Source: JUDGE.md 3.7.
    """

    def __init__(self, limit: MetricLimit, *, n_starts: int | None) -> None:
        super().__init__(limit)
        self._process = BettingProcess(Prior(0.5, 200.0, 0.999), n_starts=n_starts)
        self._past: dict[bool, dict[str, int]] = {True: {}, False: {}}
        self._open: dict[bool, dict[str, int]] = {True: {}, False: {}}

    @property
    def evidence(self) -> float:
        return self._process.evidence

    @property
    def sentence(self) -> str:
        """Where outputs differ most, for a person."""
        canary, stable = (self._shares(arm) for arm in (True, False))
        label = max(canary, key=lambda one: canary[one] - stable.get(one, 0.0), default="")
        where = f"{label!r} {100 * canary.get(label, 0.0):.3g} % against {100 * stable.get(label, 0.0):.3g} % on stable"
        return f"{self.limit.name}: {where} (tolerated in all {100 * self.limit.gap:g} %)"

    @property
    def holds(self) -> str | None:
        return self.sentence if self.evidence >= _DRIFT_NEEDED else None

    def take(self, at_s: float, measure: Measure, *, probes: bool, warm: tuple[bool, bool] = (True, True)) -> None:
        """Count outputs by bin."""
        del at_s, probes, warm
        bins = self._open[measure.canary]
        for label, count in measure.outcomes.items():
            bins[label] = bins.get(label, 0) + count
            self._n[measure.canary] += count

    def close_due(self, at_s: float) -> None:
        n_canary, n_stable = (sum(self._open[arm].values()) for arm in (True, False))
        if n_canary == 0 or n_stable < _MIN_STABLE or n_canary + n_stable < _MIN_BOTH:
            return
        suspicious = self._suspicious()
        bad = {arm: sum(count for label, count in self._open[arm].items() if label in suspicious) for arm in self._open}
        self._process.observe_counts(at_s, (n_canary, bad[True]), (n_stable, bad[False]), Null(1.0, self.limit.gap))
        for arm, bins in self._open.items():
            past = self._past[arm]
            for label, count in bins.items():
                past[label] = past.get(label, 0) + count
        self._open = {True: {}, False: {}}

    def snapshot(self) -> MetricEvidence:
        return self._snapshot(f"total variation {self.limit.gap:g}", "output")

    def _suspicious(self) -> frozenset[str]:
        canary, stable = (self._shares(arm) for arm in (True, False))
        return frozenset(label for label, share in canary.items() if share > stable.get(label, 0.0))

    def _shares(self, arm: bool) -> dict[str, float]:
        past = self._past[arm]
        n = sum(past.values())
        return {label: count / n for label, count in past.items()}


class SplitMetric(_Holding):
    """Do new users reach the canary in the intended share? (sample-ratio mismatch)

    For every new user the wealth of a wrong share theta grows by theta/w or (1 - theta)/(1 - w). Source: JUDGE.md 3.6;
    Lindon & Malek, arXiv 2011.03567.
    """

    def __init__(self, limit: MetricLimit) -> None:
        super().__init__(limit)
        self._log_wealth = [0.0] * len(_FACTORS)
        self._wanted = 0.0
        self._open = {True: 0, False: 0}
        self._intended: float | None = limit.limit

    @property
    def evidence(self) -> float:
        return sum(math.exp(min(one, _READ_OUT_NATS)) for one in self._log_wealth) / len(_FACTORS)

    @property
    def sentence(self) -> str:
        """What share new users had, for a person."""
        n = sum(self._n.values())
        share = 100 * self._n[True] / n if n else 0.0
        return f"{self.limit.name}: {share:.3g} % of {n} new users reached the canary, {100 * self._wanted / max(n, 1):.3g} % were meant to"

    @property
    def holds(self) -> str | None:
        return self.sentence if self.evidence >= _SPLIT_NEEDED else None

    def take(self, at_s: float, measure: Measure, *, probes: bool, warm: tuple[bool, bool] = (True, True)) -> None:
        """Count new users of an arm; the intended share is the measure's value, else the limit."""
        del at_s, warm
        if not probes:
            self._open[measure.canary] += measure.n
            self._intended = measure.values[0] if measure.values else self._intended

    def close_due(self, at_s: float) -> None:
        del at_s
        intended, n_canary, n_stable = self._intended, self._open[True], self._open[False]
        if n_canary + n_stable == 0 or intended is None or not 0.0 < intended < 1.0:
            return
        for index, factor in enumerate(_FACTORS):
            share = min(factor * intended, (1.0 + intended) / 2.0)  # a share above 1 cannot be bet on
            gain = n_canary * math.log(share / intended) + n_stable * math.log((1.0 - share) / (1.0 - intended))
            self._log_wealth[index] += gain
        for arm in self._n:
            self._n[arm] += self._open[arm]
        self._wanted += intended * (n_canary + n_stable)
        self._open = {True: 0, False: 0}

    def snapshot(self) -> MetricEvidence:
        return self._snapshot("the intended share", "new user")
