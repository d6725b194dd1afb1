"""What a canary must stay within, and the one assumption about machines. Plain values: nothing here judges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Share of the false-alarm budget per kind of proof; pod blocks and rounds are pooled (one weighted average), the gross
#: rule stands alone. They sum to 1. Source: JUDGE.md 10.6 gives .8 / .2; the .8 is split .5 / .3 here because a round is
#: a fact about the version, and 1/.3 % is what 16 clear rounds earn.
BLOCKS_SHARE = 0.5
ROUNDS_SHARE = 0.3
GROSS_SHARE = 0.2


class MetricKind(StrEnum):
    """How a metric is reduced to something that can be bet on."""

    #: Bad answers among answers: errors, silence, pops.
    SHARE = "share"
    #: Answers slower than a quantile of stable's.
    LATENCY = "latency"
    #: Replayed requests, one beside the other: which release was slower.
    PAIRS = "pairs"
    #: Scores with a best and a worst value: MOS, character error rate, similarity.
    SCORE = "score"
    #: Events without a denominator: crashes, restarts.
    EVENTS = "events"
    #: A level that is read now and then: memory, real-time factor. Hard limit, and means of pod blocks.
    GAUGE = "gauge"
    #: How often each of several outcomes occurs; differing is no harm, but a person should know.
    DRIFT = "drift"
    #: New users per arm against the intended share: is the split what was asked for?
    SPLIT = "split"


#: Kinds that never take traffic away: they hold the rollout and say why. Source: JUDGE.md 3.6, 3.7.
HOLDING = frozenset({MetricKind.DRIFT, MetricKind.SPLIT})


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """What is tolerated of one metric. Raises ValueError for what cannot be meant.

    Attributes:
        name: what it is called in verdicts.
        kind: how it is judged.
        weight: its share of the evidence before renormalising over the metrics that are judged, >= 0.
        source: the counts it is read from; its name unless several metrics share them.
        ratio: tolerated multiple of stable's share, rate or level, >= 1. Source: JUDGE.md 10.6.
        floor: share of bad answers tolerated on top of stable's, [0, 1). Source: JUDGE.md 10.1.3.
        ok_ratio: a canary within this multiple of stable's share counts as not worse, >= 1.
        ok_floor: or within this gap, (0, 1). Source: JUDGE.md 3.1 (promotion margin: 1.5x or +.3 points).
        quantile: of latency, (0, 1).
        margin: how much slower that quantile may be, ratio >= 0. Source: JUDGE.md 3.2.
        gap: how much worse the mean score may be, in the score's units; for drift the tolerated total variation, (0, 1).
        best: the best possible score. For gauges the level that counts as none, usually 0.
        worst: the worst possible score. For gauges the highest possible level.
        limit: the canary's own limit, whatever stable does: a share, milliseconds, events per second or a level.
        fails: whether a bad answer is a failed answer, for the gross rule and the number of users who meet it.
        required: whether promotion on proof needs this metric proven not worse.
    """

    name: str
    kind: MetricKind
    weight: float = 0.1
    source: str = ""
    ratio: float = 1.25
    floor: float = 0.001
    ok_ratio: float = 1.5
    ok_floor: float = 0.003
    quantile: float = 0.95
    margin: float = 0.10
    gap: float = 0.0
    best: float = 0.0
    worst: float = 1.0
    limit: float | None = None
    fails: bool = False
    required: bool = True

    def __post_init__(self) -> None:
        for name, low, high, example in _RANGES:
            _within(f"{self.name}: {name}", getattr(self, name), low=low, high=high, example=example)
        if self.limit is not None:
            high = 1.0 if self.kind is MetricKind.SHARE else 1e12
            _within(f"{self.name}: limit", self.limit, low=0.0, high=high, example="0.005 for 0.5 %")
        if self.best == self.worst or not math.isfinite(self.worst - self.best):
            raise ValueError(
                f"{self.name}: best and worst are both {self.best:g}; a score needs two ends, e.g. 5 and 1"
            )

    @property
    def read_from(self) -> str:
        """The name of the counts it is read from."""
        return self.source or self.name

    def badness(self, score: float) -> float:
        """Return where a score lies between best (0) and worst (1), cut off at the ends."""
        return min(1.0, max(0.0, (score - self.best) / (self.worst - self.best)))


_OPEN = -1e-12
_RANGES = (
    ("weight", _OPEN, 1e6, "0.3"),
    ("ratio", 1.0 + _OPEN, 1000.0, "1.25"),
    ("floor", _OPEN, 1.0, "0.001 for 0.1 %"),
    ("ok_ratio", 1.0 + _OPEN, 1000.0, "1.5"),
    ("ok_floor", _OPEN, 1.0, "0.003 for 0.3 %"),
    ("quantile", 0.0, 1.0, "0.95"),
    ("margin", _OPEN, 100.0, "0.1 for 10 %"),
    ("gap", _OPEN, 1e6, "0.2"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than stable a canary may be. Raises ValueError for what cannot be meant.

    Attributes:
        metrics: what is judged; at least one with a weight above 0, no name twice.
        alpha: chance that a healthy release is condemned, over its whole life, (0, 1). Source: JUDGE.md 0.2.
        beta: chance that a metric at its margin is called not worse, (0, 1). Source: JUDGE.md 0.2.
        longest_stall_s: how long a healthy pod may hang, seconds > 0. Block length and the patience of the gross rule
            follow from it. Source: JUDGE.md 10.2b, 10.3.
    """

    metrics: tuple[MetricLimit, ...]
    alpha: float = 0.01
    beta: float = 0.05
    longest_stall_s: float = 60.0

    def __post_init__(self) -> None:
        _within("alpha", self.alpha, low=0.0, high=1.0, example="0.01")
        _within("beta", self.beta, low=0.0, high=1.0, example="0.05")
        _within("longest_stall_s", self.longest_stall_s, low=0.0, high=86400.0, example="60")
        names = [metric.name for metric in self.metrics]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"metrics: {twice} stands there twice")
        if not self.weights:
            raise ValueError("metrics: nothing would be judged; give at least one metric a weight above 0")

    @property
    def weights(self) -> Mapping[str, float]:
        """Metric -> weight over the metrics whose evidence counts against the canary; they sum to 1.

        Renormalised here, once: doing it later over the metrics that happen to have traffic would multiply the sum of
        evidence by up to 1 / (weights present). Source: JUDGE.md 10.1.11.
        """
        kept = {limit.name: limit.weight for limit in self.metrics if limit.weight > 0.0 and limit.kind not in HOLDING}
        total = sum(kept.values())
        return {name: weight / total for name, weight in kept.items()}

    @property
    def evidence_needed(self) -> float:
        """The e-value at which the pooled evidence of pod blocks and rounds condemns; 125 by default."""
        return 1.0 / (self.alpha * (BLOCKS_SHARE + ROUNDS_SHARE))

    @property
    def proof_needed(self) -> float:
        """The e-value at which a metric is proven not worse; 20 by default."""
        return 1.0 / self.beta


def _within(name: str, value: float, *, low: float, high: float, example: str) -> None:
    """NaN fails every comparison, so it is refused like any other number out of range."""
    if not low < value < high:
        raise ValueError(f"{name} is {value}; use a number between {max(low, 0.0):g} and {high:g}, e.g. {example}")
