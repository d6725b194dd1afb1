"""All metrics of one release: measures go to those that read them, and their evidence is summed. Nothing is concluded here."""

from collections import Counter
from collections.abc import Iterable, Mapping

from penstock.judge.answers import Answers
from penstock.judge.counts import Measure
from penstock.judge.edges import Edges
from penstock.judge.gauge import GaugeMetric
from penstock.judge.gross import PodAnswers
from penstock.judge.kinds import AnyMetric, metric_for
from penstock.judge.latency import timings_for
from penstock.judge.limits import HOLDING, Limits
from penstock.judge.metric import ComparedMetric
from penstock.judge.pairs import slower_in_pair
from penstock.judge.placebo import Placebo
from penstock.judge.reasons import metric_words
from penstock.judge.verdict import MetricEvidence

#: Single requests, and pod blocks, may be judged by it.
_WARM = (True, True)


class Panel:
    """The metrics that the limits declare.

    Args:
        limits: the release's.
        placebo: what stable's own answers are fed to; its length is that of pod blocks.
        n_canary_pods: a pod block waits for this many.
        n_starts: as in BettingProcess.
        edges: bins of latencies by the name of their counts; two significant digits where it is not named.

    Attributes:
        metrics: name -> metric.
    """

    def __init__(
        self,
        limits: Limits,
        placebo: Placebo,
        *,
        n_canary_pods: int,
        n_starts: int | None,
        edges: Mapping[str, Edges],
    ) -> None:
        self._placebo = placebo
        self._weights = dict(limits.weights)
        self._proof_needed = limits.proof_needed
        self._timings = timings_for(limits, edges)
        judged = [limit for limit in limits.metrics if limit.name in self._weights or limit.kind in HOLDING]
        self.metrics: dict[str, AnyMetric] = {
            limit.name: metric_for(
                limit,
                limits,
                n_canary_pods=n_canary_pods,
                block_length_s=placebo.length_s,
                n_starts=n_starts,
                timing=self._timings.get(limit.read_from),
            )
            for limit in judged
        }
        self._by_source: dict[str, list[AnyMetric]] = {}
        for metric in self.metrics.values():
            self._by_source.setdefault(metric.limit.read_from, []).append(metric)
        self._failing = {limit.read_from for limit in judged if limit.fails}
        self._weighted = [(weight, self.metrics[name]) for name, weight in self._weights.items()]
        self._levels = [metric for metric in self.metrics.values() if isinstance(metric, GaugeMetric)]
        self._required = [limit.name for limit in judged if limit.required and limit.kind not in HOLDING]
        self._faults: Counter[str] = Counter()
        #: How long pod blocks are.
        self._length_s = placebo.length_s

    @property
    def request_evidence(self) -> float:
        """The weighted e-value of single requests, >= 0."""
        return sum([weight * metric.request_evidence for weight, metric in self._weighted])

    @property
    def block_evidence(self) -> float:
        """The weighted e-value of pod blocks, >= 0."""
        return sum([weight * metric.block_evidence for weight, metric in self._weighted])

    @property
    def withdraws(self) -> tuple[str, ...]:
        """Metrics that are above their hard limit now: they raise the alarm without evidence."""
        return tuple([metric.limit.name for metric in self._levels if metric.withdraws])

    @property
    def holds(self) -> tuple[str, ...]:
        """Reasons to hold the rollout that are no evidence against the canary."""
        return tuple([metric.holds for metric in self.metrics.values() if metric.holds])

    @property
    def required(self) -> str:
        """The metrics that must be proven not worse, for a person; empty where there is none."""
        return _listed(self._required)

    @property
    def unproven(self) -> str:
        """Those that are not, for a person."""
        return _listed(name for name in self._required if self.metrics[name].proof < self._proof_needed)

    @property
    def proven(self) -> bool:
        """Whether every required metric is proven not worse, and there is one."""
        for name in self._required:
            if self.metrics[name].proof < self._proof_needed:
                return False
        return bool(self._required)

    def refresh(self, at_s: float, *, probes: bool) -> None:
        """Set the thresholds of latencies from the past; call before a tick is counted."""
        for timing in self._timings.values():
            timing.scale(probes=probes).refresh(at_s)

    def count_answers(self, at_s: float, pods: tuple[Answers, ...], *, probes: bool) -> Iterable[PodAnswers]:
        """Count what the gateway counted; return which answers failed."""
        for pod in pods:
            if pod.canary:
                self._faults.update(pod.faults)
            for measure in pod.measures():
                self.take(at_s, measure, probes=probes)
        if probes:
            self._count_pair(at_s, pods)
        return [(pod.canary, pod.pod, pod.n, pod.n_failed) for pod in pods]

    def take(self, at_s: float, measure: Measure, *, probes: bool) -> int:
        """Count one measure; return how many answers it stands for, 0 for what is no answer (crashes, levels, users)."""
        metrics = self._by_source.get(measure.metric, ())
        timing = self._timings.get(measure.metric)
        warm = _WARM
        if timing is not None:
            warm = timing.warmed_up(at_s, (measure.canary, measure.pod), sum(measure.bins.values()))
        compared, for_placebo = False, not (measure.canary or probes)
        for metric in metrics:
            metric.take(at_s, measure, probes=probes, warm=warm)
            if isinstance(metric, ComparedMetric):
                compared = True
                if for_placebo and (read := metric.read_for_placebo(measure)):
                    self._placebo.add(metric.limit.name, measure.pod, *read)
        if timing is not None:
            timing.scale(probes=probes).learn(measure.bins, canary=measure.canary)
        return (measure.n or len(measure.values) or sum(measure.bins.values())) if compared else 0

    def failed(self, measures: Iterable[Measure]) -> Iterable[PodAnswers]:
        """Return which answers failed; of several measures of a pod's answers, the one with most answers holds."""
        failed: dict[tuple[bool, str], PodAnswers] = {}
        for measure in measures:
            if measure.metric in self._failing:
                pod = measure[1:3]
                known = failed.get(pod)
                failed[pod] = measure[1:5] if known is None else _together(known, measure)
        return failed.values()

    def close_due(self, at_s: float) -> None:
        """Bet on what is complete, stable against itself too."""
        for metric in self.metrics.values():
            metric.close_due(at_s)
        self._placebo.close_due(at_s)
        if self._placebo.length_s != self._length_s:
            self._length_s = self._placebo.length_s
            for metric in self.metrics.values():
                metric.lengthen(self._length_s)

    def restart_alarm(self) -> None:
        """Evidence from single requests starts again at 1."""
        for metric in self.metrics.values():
            metric.restart_alarm()

    def freeze(self, at_s: float) -> None:
        """Judge against what stable used to do."""
        for timing in self._timings.values():
            timing.freeze()
        for metric in self.metrics.values():
            metric.freeze(at_s)

    def thaw(self, at_s: float) -> None:
        """Compare with concurrent answers of stable again."""
        for timing in self._timings.values():
            timing.thaw()
        for metric in self.metrics.values():
            metric.thaw(at_s)

    def snapshots(self) -> dict[str, MetricEvidence]:
        """Every metric as a verdict carries it."""
        return {name: metric.snapshot() for name, metric in self.metrics.items()}

    def sentences(self, *, of_blocks: bool) -> tuple[str, ...]:
        """One sentence for each metric whose evidence has grown, strongest first; levels above their limit before them."""
        parts = {
            name: weight * (self.metrics[name].block_evidence if of_blocks else self.metrics[name].request_evidence)
            for name, weight in self._weights.items()
        }
        ranked = sorted(parts, key=lambda name: parts[name], reverse=True)
        hard = () if of_blocks else self.withdraws
        grown = [name for name in ranked if parts[name] > 2.0 * self._weights[name] and name not in hard]
        said = [self.metrics[name] for name in (*hard, *grown)]
        return tuple(metric_words(one, self._timings.get(one.limit.read_from), self._faults) for one in said)

    def _count_pair(self, at_s: float, answers: tuple[Answers, ...]) -> None:
        for metric in self._by_source.get("latency_pairs", ()):
            if pair := slower_in_pair(answers, metric.limit.margin):
                pod, slower = pair
                metric.take(at_s, Measure("latency_pairs", True, pod, 1, int(slower)), probes=True)


def _together(known: PodAnswers, measure: Measure) -> PodAnswers:
    """Add a measure of the same pod: of another user, or of another kind of failure among the same answers."""
    canary, pod, n_known, bad = known
    n = max(n_known, measure.n) if measure.user is None else n_known + measure.n
    return canary, pod, n, min(n, bad + measure.bad)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
