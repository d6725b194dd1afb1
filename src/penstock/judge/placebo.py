"""The placebo: stable's pods judged against each other, all the time, as if one of them were a canary.

They run the same version, so whatever is found between them is the machine's doing. When the placebo finds harm, blocks
are too short for how long machines hang here, and get one level longer. It guards a safe default; alone it would come too
late. Source: JUDGE.md 10.1.6, 10.4 (threshold 10, one level at a time).
"""

from collections import deque
from typing import NamedTuple

from penstock.judge.betting import BettingProcess, Null, Prior
from penstock.judge.blocks import (
    BLOCKS_DECAY,
    PSEUDO_PODS,
    PodSum,
    cap_for,
    capped_data,
    capped_limit,
    most_comparable,
    told_apart,
)

#: Evidence that makes blocks longer. Source: JUDGE.md 10.4.
_NEEDED = 10.0

#: Lengths, as multiples of the first: 60, 120, 300 s. Source: JUDGE.md 10.4 (its ladder from the safe default on).
_LADDER = (1.0, 2.0, 5.0)

#: With one pod of stable its block is compared with its own blocks this long ago. Source: JUDGE.md 10.1.6.
_BACK_S = 600.0

#: Pods that are compared, at most: every one has a process of its own. Source: JUDGE.md 10 never simulated more than 20.
_MOST_PODS = 20

#: Stable's capped mean, as believed before the first block. Source: JUDGE.md 10.6 (.15 errors, .3 latency).
_PRIOR_MEAN = 0.15

#: What the canary's blocks are allowed, on which the placebo must stay silent too. Source: JUDGE.md 10.6.
_NULL = Null(1.25, 0.001)


class Lengthened(NamedTuple):
    """Blocks got longer.

    Attributes:
        at_s: when.
        length_s: the new length.
        reason: one sentence.
    """

    at_s: float
    length_s: float
    reason: str


class PastBlock(NamedTuple):
    closed_at_s: float
    #: metric -> pod -> (answers, bad answers)
    pods: dict[str, dict[str, PodSum]]


class Placebo:
    """Stable against itself, on whichever metrics it is fed. `length_s` is how long pod blocks must be.

    Args:
        first_length_s: the safe default.
    """

    def __init__(self, first_length_s: float) -> None:
        self.first_length_s = self.length_s = first_length_s
        self._level = 0
        self._opened_at_s: float | None = None
        self._pods: dict[str, dict[str, PodSum]] = {}
        self._past: deque[PastBlock] = deque()
        self._known: dict[str, PodSum] = {}
        self._processes: dict[tuple[str, str], BettingProcess] = {}
        self._news: list[Lengthened] = []

    @property
    def evidence(self) -> float:
        """The largest of the metrics' e-values; each is the average over pods."""
        metrics = {metric for metric, _ in self._processes}
        return max((self._evidence(metric) for metric in metrics), default=1.0)

    def add(self, metric: str, pod: str, n: float, bad: float) -> None:
        """Count answers of one of stable's pods towards the open block."""
        pods = self._pods.setdefault(metric, {})
        n_before, bad_before = pods.get(pod, (0, 0))
        pods[pod] = (n_before + n, bad_before + bad)

    def close_due(self, at_s: float) -> None:
        """Judge the open block if it is over."""
        if self._opened_at_s is None:
            self._opened_at_s = at_s
        if at_s - self._opened_at_s < self.length_s:
            return
        for metric, pods in self._pods.items():
            self._judge(at_s, metric, pods)
        self._keep(at_s)
        self._lengthen(at_s)

    @property
    def news(self) -> tuple[Lengthened, ...]:
        """What happened and was not forgotten yet, oldest first."""
        return tuple(self._news)

    def forget(self, news: Lengthened) -> None:
        """Somebody wrote it down."""
        self._news.remove(news)

    def _judge(self, at_s: float, metric: str, pods: dict[str, PodSum]) -> None:
        names = sorted(pods)[:_MOST_PODS]
        for name in names:
            own = [pods[name]]
            others = told_apart({other: pods[other] for other in names if other != name}) or self._long_ago(
                at_s, metric
            )
            if not others:
                continue
            n = most_comparable(own, others)
            if n == 0:
                continue
            n_known, bad_known = self._known.get(metric, (0.0, 0.0))
            cap = cap_for((bad_known + 1.0) / (n_known + 100.0), n)
            process = self._processes.get((metric, name))
            if process is None:
                prior = Prior(_PRIOR_MEAN, PSEUDO_PODS, BLOCKS_DECAY)
                process = self._processes[metric, name] = BettingProcess(prior, n_starts=None)
            process.observe(at_s, capped_data(own, n, cap), capped_data(others, n, cap), capped_limit(_NULL, n, cap))

    def _long_ago(self, at_s: float, metric: str) -> list[PodSum]:
        """Return what the only pod did in the newest block that is old enough."""
        old = [block for block in self._past if at_s - block.closed_at_s >= _BACK_S and metric in block.pods]
        return told_apart(old[-1].pods[metric]) if old else []

    def _keep(self, at_s: float) -> None:
        """What this block showed is past from here on."""
        for metric, pods in self._pods.items():
            n_known, bad_known = self._known.get(metric, (0.0, 0.0))
            n, bad = (sum(pod[index] for pod in pods.values()) for index in (0, 1))
            self._known[metric] = (BLOCKS_DECAY * n_known + n, BLOCKS_DECAY * bad_known + bad)
        self._past.append(PastBlock(at_s, self._pods))
        while self._past and at_s - self._past[0].closed_at_s > 2 * _BACK_S:
            self._past.popleft()
        self._pods = {}
        self._opened_at_s = at_s

    def _lengthen(self, at_s: float) -> None:
        if self._level + 1 >= len(_LADDER) or self.evidence < _NEEDED:
            return
        metric = max({metric for metric, _ in self._processes}, key=self._evidence)
        reason = f"stable's own servers differ in {metric} (evidence {self.evidence:.3g} of {_NEEDED:g})"
        self._level += 1
        self.length_s = self.first_length_s * _LADDER[self._level]
        self._processes.clear()
        self._past.clear()
        self._news.append(Lengthened(at_s, self.length_s, f"{reason}: pod blocks are {self.length_s:g} s from now on"))

    def _evidence(self, metric: str) -> float:
        values = [process.evidence for (name, _), process in self._processes.items() if name == metric]
        return sum(values) / len(values)
