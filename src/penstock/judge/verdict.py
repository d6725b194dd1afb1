"""What the judge says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NoReturn


class Word(StrEnum):
    """The four words of a verdict."""

    #: Proven not worse than stable, within the margins.
    HEALTHY = "healthy"
    #: Proven worse than stable, on evidence that a stall cannot fake.
    HARMFUL = "harmful"
    #: Neither is proven yet.
    UNDECIDED = "undecided"
    #: Nothing can be seen: telemetry failed, or stable has no traffic to compare with.
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """What is known of one metric.

    Attributes:
        metric: `errors`, `latency`, `silence`, `client_errors` ...
        request_evidence: e-value from single requests; may only withdraw.
        block_evidence: e-value from pod blocks; may roll back.
        proof: e-value that the canary is not worse; may promote. 1 where the metric cannot prove that.
        n_canary: answers of the canary that were judged, probes included.
        n_stable: the same for stable.
        bad_canary_ratio: share of bad answers, 0..1; None before the first.
        bad_stable_ratio: the same for stable.
        gap: canary's share of bad answers minus stable's, -1..1; of scores, their mean badness. None where unknown.
        gap_interval: what it lies between with 95 %, at every look; None before anything is known.
        unit: what counts as one observation where the metric may roll back.
        limit: what the canary must stay within, as a person says it.
    """

    metric: str
    request_evidence: float
    block_evidence: float
    proof: float
    n_canary: int
    n_stable: int
    bad_canary_ratio: float | None
    bad_stable_ratio: float | None
    gap: float | None
    gap_interval: tuple[float, float] | None
    unit: str
    limit: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's answer to one tick. It has no truth value: ask for `word` or `alarm`.

    Attributes:
        word: one of four.
        alarm: the canary looks harmful on single requests right now: withdraw it and test again.
        quiet_s: seconds since the last alarm; how long a withdrawn canary has been behaving.
        evidence: e-value for rolling back; at `evidence_needed` the canary is condemned.
        evidence_needed: e.g. 125 (1 / 0.8 %).
        reasons: sentences that quote the numbers, most important first.
        holds: why the canary may not get more traffic although nothing is proven against it.
        metrics: metric -> evidence.
        n_canary: users' requests the canary answered in this release.
        n_probes: probes the canary answered.
        gross_s: seconds of unbroken gross failure.
        gross_needed_s: how long that must last before it condemns.
        failure_bound_ratio: the canary fails at most this share of its answers, 0..1, with 95 % at every look.
    """

    word: Word
    alarm: bool = False
    quiet_s: float = 0.0
    evidence: float = 1.0
    evidence_needed: float = 125.0
    reasons: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    metrics: Mapping[str, MetricEvidence] = field(default_factory=dict)
    n_canary: int = 0
    n_probes: int = 0
    gross_s: float = 0.0
    gross_needed_s: float = 0.0
    failure_bound_ratio: float = 1.0

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has four words; ask for verdict.word")

    def as_json(self) -> dict[str, Any]:
        """The verdict as journal, API and report carry it."""
        fields = asdict(self)
        fields["word"] = self.word.value
        fields["reasons"] = list(self.reasons)
        fields["holds"] = list(self.holds)
        fields["metrics"] = {name: asdict(metric) for name, metric in self.metrics.items()}
        return fields
