"""What a canary must stay within, and the one assumption about machines. Plain values: nothing here judges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: Share of the false-alarm budget per kind of proof; pod blocks and rounds are pooled (one weighted average), the gross
#: rule stands alone. They sum to 1. Source: JUDGE.md 10.6 gives .8 / .2; the .8 is split .5 / .3 here because a round is
#: a fact about the version, and 1/.3 % is what 16 clear rounds earn.
BLOCKS_SHARE = 0.5
ROUNDS_SHARE = 0.3
GROSS_SHARE = 0.2

#: Metrics and their weight before renormalising over those that are judged. Source: JUDGE.md 3 "Combining" (errors .3,
#: latency .2, quality .3, rest .2), quality being the server's own fault marks here; a guess there and here.
DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "errors": 0.35,
        "latency": 0.3,
        "faults": 0.25,
        "client_errors": 0.1,
        "latency_pairs": 0.1,
        "errors_limit": 0.2,
        "latency_limit": 0.2,
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than stable a canary may be. Raises ValueError for what cannot be meant.

    Attributes:
        alpha: chance that a healthy release is condemned, over its whole life, (0, 1). Source: JUDGE.md 0.2.
        latency_margin: how much slower its p95 may be, ratio >= 0; 0.1 = 10 %. Source: JUDGE.md 3.2.
        error_floor: share of bad answers that is always tolerated on top of stable's, (0, 1). Source: JUDGE.md 10.1.3.
        error_ratio: tolerated multiple of stable's share of bad answers, >= 1. Source: JUDGE.md 10.6.
        longest_stall_s: how long a healthy pod may hang, seconds > 0. Block length and the patience of the gross rule
            follow from it. Source: JUDGE.md 10.2b, 10.3.
        max_errors_ratio: the canary's own limit for errors, (0, 1), whatever stable does; None for none.
        max_p95_ms: the canary's own limit for the p95 of the time to the first byte, milliseconds > 0; None for none.
        weights: metric -> weight >= 0; a metric with weight 0, or left out, is not judged.
    """

    alpha: float = 0.01
    latency_margin: float = 0.10
    error_floor: float = 0.001
    error_ratio: float = 1.25
    longest_stall_s: float = 60.0
    max_errors_ratio: float | None = None
    max_p95_ms: float | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)

    def __post_init__(self) -> None:
        _within("alpha", self.alpha, low=0.0, high=1.0, example="0.01")
        _within("latency_margin", self.latency_margin, low=-1e-12, high=100.0, example="0.1 for 10 %")
        _within("error_floor", self.error_floor, low=0.0, high=1.0, example="0.001 for 0.1 %")
        _within("error_ratio", self.error_ratio, low=1.0 - 1e-12, high=1000.0, example="1.25")
        _within("longest_stall_s", self.longest_stall_s, low=0.0, high=86400.0, example="60")
        if self.max_errors_ratio is not None:
            _within("max_errors_ratio", self.max_errors_ratio, low=0.0, high=1.0, example="0.005 for 0.5 %")
        if self.max_p95_ms is not None:
            _within("max_p95_ms", self.max_p95_ms, low=0.0, high=1e9, example="800")
        self._check_weights()

    def _check_weights(self) -> None:
        if unknown := sorted(set(self.weights) - set(DEFAULT_WEIGHTS)):
            known = ", ".join(DEFAULT_WEIGHTS)
            raise ValueError(f"weights: no metric is called {unknown[0]!r}; there are {known}")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0.0):
                raise ValueError(f"weights: {name} has {weight}; use a number of at least 0, e.g. 0.3")
        if not self.declared_weights:
            raise ValueError("weights: nothing would be judged; give at least one metric a weight above 0")

    @property
    def declared_weights(self) -> Mapping[str, float]:
        """Metric -> weight over the metrics that are judged; they sum to 1.

        Renormalised here, once: doing it later over the metrics that happen to have traffic would multiply the sum of
        evidence by up to 1 / (weights present). Source: JUDGE.md 10.1.11.
        """
        absent = {"errors_limit": self.max_errors_ratio is None, "latency_limit": self.max_p95_ms is None}
        kept = {name: weight for name, weight in self.weights.items() if weight > 0.0 and not absent.get(name)}
        total = sum(kept.values())
        return {name: weight / total for name, weight in kept.items()}

    @property
    def evidence_needed(self) -> float:
        """The e-value at which the pooled evidence of pod blocks and rounds condemns; 125 by default."""
        return 1.0 / (self.alpha * (BLOCKS_SHARE + ROUNDS_SHARE))


def _within(name: str, value: float, *, low: float, high: float, example: str) -> None:
    """NaN fails every comparison, so it is refused like any other number out of range."""
    if not low < value < high:
        raise ValueError(f"{name} is {value}; use a number between {max(low, 0.0):g} and {high:g}, e.g. {example}")
