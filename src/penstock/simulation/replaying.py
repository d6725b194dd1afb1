"""What Penstock would have done with recorded counts: the real judge, and the policy of a rollout. Pure.

A decision changes no later count, since those happened long ago: while the canary is withdrawn its recorded answers stand
in for probes. Steps and dwells are left out for the same reason. The policy is that of `rollout.decide`: an alarm withdraws,
quiet gives the traffic back, proof of harm rolls back, proof of health promotes. Rounds of replayed requests need the
requests themselves, so pod blocks get their share of the budget.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from penstock.judge.counts import Tick
from penstock.judge.judge import Judge
from penstock.judge.limits import HOLDING, Limits, MetricKind
from penstock.judge.verdict import MetricEvidence, Verdict, Word
from penstock.rollout.decide import SUSPICIOUS, quiet_after_s
from penstock.simulation.recorded import Record


class Act(StrEnum):
    """What is done."""

    WITHDRAW = "withdraw"
    RESUME = "resume"
    ROLLBACK = "rollback"
    PROMOTE = "promote"


class Outcome(StrEnum):
    """How a record ends."""

    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"
    PROMOTE = "promote"
    UNDECIDED = "undecided"


class Action(NamedTuple):
    """One decision.

    Attributes:
        at_s: when, on the record's clock.
        act: what.
        metric: which one led; None where several did.
        n_canary: outcomes of the canary judged by then, of that metric, else of the one that has most.
        evidence: for withdrawing that of single requests, for promoting the weakest proof, else that for rolling back.
        reason: one sentence.
    """

    at_s: float
    act: Act
    metric: str | None
    n_canary: int
    evidence: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {
            "t": self.at_s,
            "action": self.act.value,
            "metric": self.metric,
            "n_canary": self.n_canary,
            "evidence": self.evidence,
            "reason": self.reason,
        }


def judge_for(record: Record, limits: Limits) -> Judge:
    """Return the judge of a record; `limits` name only metrics that it has."""
    n_canary, n_stable = record.n_pods
    return Judge(
        limits,
        n_canary_pods=n_canary,
        n_stable_pods=n_stable,
        max_duration_s=record.span_s,
        edges=record.edges,
        rounds=False,
    )


class Replay:
    """One record being judged.

    Args:
        judge: a fresh one, or one that was remembered along with this replay's other state.
        limits: the judge's.
    """

    def __init__(self, judge: Judge, limits: Limits) -> None:
        self.judge = judge
        self.actions: list[Action] = []
        self._limits = limits
        self._withdrawn_at_s: float | None = None
        self._n_withdrawals = 0
        self._promoted = False
        #: Whether nothing more is judged: the canary was rolled back.
        self.over = False

    @property
    def withdrawn(self) -> bool:
        """Whether the canary has no traffic for now."""
        return self._withdrawn_at_s is not None

    @property
    def outcome(self) -> Outcome:
        """How it would end here."""
        if self.over:
            return Outcome.ROLLBACK
        if self.withdrawn:
            return Outcome.WITHDRAW
        return Outcome.PROMOTE if self._promoted else Outcome.UNDECIDED

    def observe(self, tick: Tick) -> Action | None:
        """Judge one tick and return what is done about it. After a rollback nothing is."""
        if self.over:
            return None
        judge = self.judge
        judge.count(tick)
        act: Callable[[], Action] | None = None
        if judge.condemned:
            act = self._roll_back
        elif self.withdrawn:
            act = self._resume if self._may_resume() else None
        elif judge.alarm:
            act = self._withdraw
        elif not self._promoted and judge.healthy:
            act = self._promote
        if act is None:
            return None
        action = act()
        self.actions.append(action)
        return action

    @property
    def _at_s(self) -> float:
        return self.judge.at_s or 0.0

    def _may_resume(self) -> bool:
        """As in decide(): quiet for long enough since the withdrawal, nothing suspicious, and stable to compare with."""
        judge = self.judge
        quiet_s = min(judge.quiet_s(), self._at_s - (self._withdrawn_at_s or 0.0))
        if quiet_s < quiet_after_s(self._limits.longest_stall_s, self._n_withdrawals):
            return False
        if judge.gross_s > 0.0 or judge.evidence >= SUSPICIOUS:
            return False
        return judge.verdict().word is not Word.BLIND

    def _withdraw(self) -> Action:
        verdict = self.judge.verdict()
        above = self.judge.above_limit
        metric = above[0] if above else self._leader(verdict, lambda one: one.request_evidence)
        reason = "; ".join(self.judge.alarm_reasons)
        action = self._action(Act.WITHDRAW, verdict, metric, self.judge.request_evidence, reason)
        self._withdrawn_at_s = self._at_s
        self._n_withdrawals += 1
        self.judge.restart_alarm()
        return action

    def _resume(self) -> Action:
        verdict = self.judge.verdict()
        quiet_s = min(verdict.quiet_s, self._at_s - (self._withdrawn_at_s or 0.0))
        self._withdrawn_at_s = None
        self.judge.restart_alarm()
        return self._action(Act.RESUME, verdict, None, verdict.evidence, f"behaved for {quiet_s:.0f} s")

    def _roll_back(self) -> Action:
        self.over = True
        verdict = self.judge.verdict()
        if verdict.evidence >= verdict.evidence_needed:
            metric = self._leader(verdict, lambda one: one.block_evidence)
        else:  # gross failure
            metric = self._leader(verdict, lambda one: one.bad_canary_ratio or 0.0, only_failures=True)
        return self._action(Act.ROLLBACK, verdict, metric, verdict.evidence, "; ".join(verdict.reasons))

    def _promote(self) -> Action:
        self._promoted = True
        verdict = self.judge.verdict()
        return self._action(Act.PROMOTE, verdict, None, self.proof, "; ".join(verdict.reasons))

    @property
    def proof(self) -> float:
        """The weakest proof of a required metric, an e-value."""
        return weakest_proof(self._limits, self.judge.verdict().metrics)

    def _leader(
        self, verdict: Verdict, strength: Callable[[MetricEvidence], float], *, only_failures: bool = False
    ) -> str | None:
        """Return the metric that says most, weighted as the judge does."""
        weights = self._limits.weights
        fails = {limit.name for limit in self._limits.metrics if limit.fails}
        among = [name for name in weights if name in fails or not only_failures]
        return max(among, key=lambda name: weights[name] * strength(verdict.metrics[name]), default=None)

    def _action(self, act: Act, verdict: Verdict, metric: str | None, evidence: float, reason: str) -> Action:
        n_canary = most_of_canary(verdict.metrics) if metric is None else verdict.metrics[metric].n_canary
        return Action(self._at_s, act, metric, n_canary, evidence, reason)


def most_of_canary(metrics: Mapping[str, MetricEvidence]) -> int:
    """Return how many outcomes of the canary were judged, of the metric that has most."""
    return max((one.n_canary for one in metrics.values()), default=0)


def weakest_proof(limits: Limits, metrics: Mapping[str, MetricEvidence]) -> float:
    """Return the smallest proof of a metric that promotion needs; 1 where it needs none."""
    needed = [limit.name for limit in limits.metrics if limit.required and limit.kind not in HOLDING]
    return min((metrics[name].proof for name in needed if name in metrics), default=1.0)


def metrics_as_json(limits: Limits, metrics: Mapping[str, MetricEvidence]) -> dict[str, dict[str, Any]]:
    """Return what is known of each metric; estimates of scores are in the score's units, the canary's minus stable's."""
    spans = {limit.name: limit.worst - limit.best for limit in limits.metrics if limit.kind is MetricKind.SCORE}
    return {name: _metric_as_json(one, spans.get(name, 1.0)) for name, one in metrics.items()}


def _metric_as_json(one: MetricEvidence, span: float) -> dict[str, Any]:
    interval = None if one.gap_interval is None else sorted(span * end for end in one.gap_interval)
    return {
        "evidence_harm": one.block_evidence,
        "evidence_ok": one.proof,
        "estimate": None if one.gap is None else span * one.gap,
        "interval": interval,
        "n_canary": one.n_canary,
        "n_stable": one.n_stable,
        "unit_of_evidence": one.unit,
    }


def tick_as_json(replay: Replay, limits: Limits) -> dict[str, Any]:
    """Return how things stand after a tick."""
    verdict = replay.judge.verdict()
    return {
        "t": replay.judge.at_s,
        "n_canary": most_of_canary(verdict.metrics),
        "n_stable": max((one.n_stable for one in verdict.metrics.values()), default=0),
        "request_evidence": replay.judge.request_evidence,
        "evidence": verdict.evidence,
        "proof": weakest_proof(limits, verdict.metrics),
        "alarm": verdict.alarm,
        "withdrawn": replay.withdrawn,
        "word": verdict.word.value,
    }
