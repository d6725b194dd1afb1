"""Many simulated releases at once, in numpy: the judge's policy of withdrawing and condemning, for shares of bad answers.

The same arithmetic as `penstock.judge`, one row per release; a test holds it to the judge's own numbers. It leaves out what
makes the judge slower and changes no false alarm upwards: the placebo (it only lengthens blocks) and rounds.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penstock.judge.batch import BettingBatch, Floats
from penstock.judge.betting import Prior, planned_starts
from penstock.judge.blocks import BLOCKS_PER_START
from penstock.judge.gross import CANARY_RATIO, MIN_ANSWERS, MIN_POD_ANSWERS, STABLE_RATIO, WINDOW_S, patience_s
from penstock.judge.judge import ALARM_EVIDENCE, SUSPICIOUS_EVIDENCE
from penstock.judge.limits import BLOCKS_SHARE, ROUNDS_SHARE
from penstock.judge.metric import ALARM_STARTS, MAX_ONE_ARMED_S, MIN_BOTH, MIN_STABLE
from penstock.judge.tolerance import MIN_ANSWERS_FOR_GAP
from penstock.rollout.decide import QUIET_FIRST, QUIET_LONGEST
from penstock.simulation.rarefying import capped_binomials, rarefied

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FleetMetric:
    """One share of bad answers.

    Attributes:
        weight: its share of the evidence; all sum to 1.
        floor: of the request's and the block's null, share of answers.
        ratio: of the block's null; the request's gap becomes (ratio - 1) x stable's share where `learns_gap`.
        learns_gap: whether the request's gap follows stable's share (errors), or stays `floor` (latency).
        prior_ratio: stable's share as believed before it answered.
        prior_block: the same for its capped mean by pod block.
        fails: whether bad answers are failures, for the gross rule.
        ok_floor: gap to stable within which the canary counts as not worse.
    """

    weight: float
    floor: float = 0.001
    ratio: float = 1.25
    learns_gap: bool = True
    prior_ratio: float = 0.01
    prior_block: float = 0.15
    fails: bool = True
    ok_floor: float = 0.003


#: Errors, and answers slower than 1.1 x stable's p95, as the judge weighs them when there are only these two.
ERRORS = FleetMetric(0.5)
SLOW = FleetMetric(0.5, floor=0.0, learns_gap=False, prior_ratio=0.05, prior_block=0.3, fails=False, ok_floor=0.0)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What all releases share.

    Attributes:
        metrics: what is judged.
        n_canary_pods: endpoints of the canary.
        n_stable_pods: endpoints of stable.
        longest_stall_s: as in Limits; a pod block is as long.
        max_duration_s: as in Judge.
        alpha: as in Limits.
        proves: whether evidence for promotion is kept too.
        beta: as in Limits.
    """

    metrics: tuple[FleetMetric, ...] = (ERRORS, SLOW)
    n_canary_pods: int = 1
    n_stable_pods: int = 1
    longest_stall_s: float = 60.0
    max_duration_s: float = 3600.0
    alpha: float = 0.01
    proves: bool = False
    beta: float = 0.05


@dataclass(slots=True)
class FleetTick:
    """What happened in one second, per release.

    Attributes:
        canary: answers per pod, shape (n_releases, n_canary_pods).
        stable: the same, shape (n_releases, n_stable_pods).
        bad_canary: per metric, shaped as `canary`.
        bad_stable: per metric, shaped as `stable`.
        first_canary: bad answers that were their user's first, where users are known; else the same as `bad_canary`.
        first_stable: the same for stable.
    """

    canary: Counts
    stable: Counts
    bad_canary: list[Counts]
    bad_stable: list[Counts]
    first_canary: list[Counts] = field(default_factory=list)
    first_stable: list[Counts] = field(default_factory=list)


class _Requests:
    """One metric's evidence from single requests, users' and probes' in blocks of their own."""

    def __init__(self, metric: FleetMetric, plan: FleetPlan, n: int) -> None:
        prior = Prior(metric.prior_ratio, 200.0, 0.999)
        starts = planned_starts(plan.max_duration_s)
        self._metric = metric
        self._stall_s = plan.longest_stall_s
        self.harm = BettingBatch(prior, n, n_starts=ALARM_STARTS, renewed=True)
        self.proof = BettingBatch(prior, n, n_starts=starts, harm=False, most_nats=math.log(1000.0))
        self._proves = plan.proves
        self.delta = np.full(n, metric.floor)
        self.ok_delta = np.full(n, metric.ok_floor)
        self._gap_known = np.full(n, not metric.learns_gap)
        self._since_s = np.full(n, np.nan)
        self._sums = np.zeros((n, 2))
        self._open = {probes: np.zeros((n, 4)) for probes in (False, True)}
        self._opened_at_s = {probes: np.full(n, np.nan) for probes in (False, True)}

    def add(self, at_s: float, canary: Floats, stable: Floats, *, probes: bool) -> None:
        """Count (answers, bad answers) of both arms, each shaped (n_releases, 2)."""
        block, opened = self._open[probes], self._opened_at_s[probes]
        block[:, :2] += canary
        block[:, 2:] += stable
        self._sums += stable
        some = (canary[:, 0] + stable[:, 0]) > 0
        opened[some & np.isnan(opened)] = at_s

    def close_due(self, at_s: float) -> None:
        for probes in (False, True):
            block, opened = self._open[probes], self._opened_at_s[probes]
            n_canary, n_stable = block[:, 0], block[:, 2]
            over = (n_canary > 0) & (n_stable >= MIN_STABLE) & (n_canary + n_stable >= MIN_BOTH)
            stale = ((n_canary == 0) | (n_stable == 0)) & (at_s - opened > MAX_ONE_ARMED_S)
            over |= stale
            if over.any():
                self._bet(at_s, block, over)
                block[over] = 0.0
                opened[over] = np.nan
        self._learn_gap(at_s)

    def _bet(self, at_s: float, block: Floats, over: Bools) -> None:
        canary, stable = block[:, :2], block[:, 2:]
        self.harm.observe(at_s, canary, stable, rho0=1.0, delta=self.delta, which=over)
        if self._proves:
            self.proof.observe(at_s, canary, stable, rho0=1.0, delta=self.ok_delta, which=over)

    def _learn_gap(self, at_s: float) -> None:
        if self._gap_known.all():
            return
        n_stable, bad_stable = self._sums.T
        self._since_s[np.isnan(self._since_s) & (n_stable > 0)] = at_s
        known = ~self._gap_known & (n_stable >= MIN_ANSWERS_FOR_GAP) & (at_s - self._since_s >= self._stall_s)
        share = bad_stable[known] / n_stable[known]
        self.delta[known] = np.maximum(self._metric.floor, (self._metric.ratio - 1.0) * share)
        self.ok_delta[known] = np.maximum(self._metric.ok_floor, 0.5 * share)
        self._gap_known |= known

    def restart(self, which: Bools) -> None:
        self.harm.restart(which)
        for probes in (False, True):
            self._open[probes][which] = 0.0
            self._opened_at_s[probes][which] = np.nan


class _Blocks:
    """One metric's evidence from pod blocks."""

    def __init__(self, metric: FleetMetric, plan: FleetPlan, n: int) -> None:
        self._metric = metric
        self._length_s = max(1.0, plan.longest_stall_s)
        self._n_canary_pods = plan.n_canary_pods
        every_s = BLOCKS_PER_START * self._length_s
        self.process = BettingBatch(
            Prior(metric.prior_block, 5.0, 0.99),
            n,
            n_starts=planned_starts(plan.max_duration_s, every_s),
            start_every_s=every_s,
        )
        shapes = (n, plan.n_canary_pods, 2), (n, plan.n_stable_pods, 2)
        self._pods = {probes: tuple(np.zeros(shape) for shape in shapes) for probes in (False, True)}
        self._opened_at_s = np.zeros(n)
        self._base = np.full(n, np.nan)
        self._is_open = np.zeros(n, dtype=bool)

    def add(self, tick: FleetTick, index: int, *, probes: bool) -> None:
        canary, stable = self._pods[probes]
        self._is_open |= tick.canary.sum(axis=1) > 0
        canary[..., 0] += tick.canary
        canary[..., 1] += (tick.first_canary or tick.bad_canary)[index]
        there = self._is_open[:, None]
        stable[..., 0] += tick.stable * there
        stable[..., 1] += (tick.first_stable or tick.bad_stable)[index] * there

    def close_due(self, at_s: float, base: Floats) -> None:
        """Judge blocks that are over; `base` is the share of bad answers that stable is known for."""
        self._opened_at_s[~self._is_open] = at_s
        fresh = self._is_open & np.isnan(self._base)
        self._base[fresh] = base[fresh]
        age_s = at_s - self._opened_at_s
        due = self._is_open & (age_s >= self._length_s)
        if not due.any():
            return
        seen = (self._pods[False][0][..., 0] > 0) | (self._pods[True][0][..., 0] > 0)
        over = due & (seen.all(axis=1) | (age_s >= 4.0 * self._length_s))
        rows = np.flatnonzero(over)
        if rows.size:
            self._judge(at_s, rows)
            self._opened_at_s[rows], self._base[rows], self._is_open[rows] = at_s, np.nan, False
            for arms in self._pods.values():
                for pods in arms:
                    pods[rows] = 0.0

    def _judge(self, at_s: float, rows: NDArray[np.int64]) -> None:
        comparable = np.stack([_comparable(*(pods[rows] for pods in self._pods[probes])) for probes in (False, True)])
        by_probes = comparable[1] > comparable[0]
        canary, stable = (
            np.where(by_probes[:, None, None], self._pods[True][arm][rows], self._pods[False][arm][rows])
            for arm in (0, 1)
        )
        n = comparable.max(axis=0)
        kept = n > 0
        rows, canary, stable, n = rows[kept], canary[kept], stable[kept], n[kept]
        cap = np.ceil(4.0 * self._base[rows] * n) + 1.0
        data = [np.where(pods[..., 0] > 0, rarefied(pods, n, cap), np.nan) for pods in (canary, stable)]
        delta = capped_binomials(n, self._metric.floor, cap)
        self.process.observe_values(at_s, rows, data[0], data[1], rho0=self._metric.ratio, delta=delta)


def _comparable(canary: Floats, stable: Floats) -> Floats:
    """Return the answers that every pod with any reaches, 0 where an arm has none; at most 2000."""

    def least(pods: Floats) -> Floats:
        n = pods[..., 0]
        fewest: Floats = np.where(n > 0, n, np.inf).min(axis=1)
        return fewest

    both = np.minimum(least(canary), least(stable))
    missing = ~np.isfinite(least(canary)) | ~np.isfinite(least(stable))
    return np.where(missing, 0.0, np.minimum(both, 2000.0))


class _Gross:
    """Seconds of unbroken gross failure, at one-second ticks."""

    def __init__(self, plan: FleetPlan, n: int) -> None:
        self._length = round(min(WINDOW_S, plan.longest_stall_s))
        self.needed_s = patience_s(plan.longest_stall_s, plan.n_canary_pods)
        self.lasted_s = np.zeros(n)
        self._canary = np.zeros((self._length, n, plan.n_canary_pods, 2))
        self._stable = np.zeros((self._length, n, 2))
        self._pods, self._of_stable = np.zeros((n, plan.n_canary_pods, 2)), np.zeros((n, 2))
        self._at = 0

    def observe(self, canary: Floats, stable: Floats, *, probes: bool) -> Bools:
        """Count one second's users' requests, then its probes; canary (n, pods, 2), stable (n, 2). Returns who fails now."""
        self._at += 0 if probes else 1
        slot = self._at % self._length
        if not probes:
            self._pods -= self._canary[slot]
            self._of_stable -= self._stable[slot]
            self._canary[slot] = self._stable[slot] = 0.0
        self._pods += canary
        self._of_stable += stable
        self._canary[slot] += canary
        self._stable[slot] += stable
        pods, of_stable = self._pods, self._of_stable
        n_canary, bad_canary = pods.sum(axis=1).T
        unknown = (n_canary < MIN_ANSWERS) | (of_stable[:, 0] == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            telling = (pods[..., 1] / pods[..., 0] >= CANARY_RATIO) | (pods[..., 0] < MIN_POD_ANSWERS)
            bad = (bad_canary / n_canary >= CANARY_RATIO) & (of_stable[:, 1] / of_stable[:, 0] < STABLE_RATIO)
        gross: Bools = bad & telling.all(axis=1) & ~unknown
        self.lasted_s[~gross & ~unknown] = 0.0
        if self._at > 1 and not probes:
            self.lasted_s[gross] += 1.0
        return gross


class Fleet:
    """The policy over `n` releases: feed a second of users' requests, then one of probes for those that are withdrawn.

    Attributes:
        withdrawn: which are withdrawn now.
        n_withdrawals: how often each was.
        condemned: which are.
        healthy: which are proven not worse now, where the plan proves.
    """

    def __init__(self, plan: FleetPlan, n: int) -> None:
        self._plan = plan
        self._requests = [_Requests(metric, plan, n) for metric in plan.metrics]
        self._blocks = [_Blocks(metric, plan, n) for metric in plan.metrics]
        self._gross = _Gross(plan, n)
        self._weights = np.array([metric.weight for metric in plan.metrics])
        self._needed = 1.0 / (plan.alpha * (BLOCKS_SHARE + ROUNDS_SHARE))
        self.withdrawn = np.zeros(n, dtype=bool)
        self.n_withdrawals = np.zeros(n, dtype=np.int64)
        self.condemned = np.zeros(n, dtype=bool)
        self.healthy = np.zeros(n, dtype=bool)
        self._quiet_since_s = np.zeros(n)
        self._withdrawn_at_s = np.zeros(n)

    @property
    def alarm_evidence(self) -> Floats:
        """The weighted evidence of single requests, shape (n,)."""
        return self._weighted([one.harm.evidence for one in self._requests])

    @property
    def evidence(self) -> Floats:
        """The weighted evidence of pod blocks, shape (n,)."""
        return self._weighted([one.process.evidence for one in self._blocks])

    def _weighted(self, evidence: list[Floats]) -> Floats:
        total: Floats = np.stack(evidence, axis=1) @ self._weights
        return total

    @property
    def gross_s(self) -> Floats:
        """Seconds of unbroken gross failure, shape (n,)."""
        return self._gross.lasted_s

    def observe(self, at_s: float, tick: FleetTick, *, probes: bool = False) -> None:
        """Take one second of users' requests into account, or after it one of probes (none where nobody is withdrawn)."""
        n_canary, n_stable = tick.canary.sum(axis=1), tick.stable.sum(axis=1)
        for index, (request, block) in enumerate(zip(self._requests, self._blocks, strict=True)):
            canary = np.stack([n_canary, tick.bad_canary[index].sum(axis=1)], axis=1).astype(float)
            stable = np.stack([n_stable, tick.bad_stable[index].sum(axis=1)], axis=1).astype(float)
            request.add(at_s, canary, stable, probes=probes)
            block.add(tick, index, probes=probes)
            block.close_due(at_s, request.harm.baseline)
            request.close_due(at_s)
        self._mind_gross(at_s, tick, probes=probes)
        self.condemned |= (self.evidence >= self._needed) | (self._gross.lasted_s >= self._gross.needed_s)
        self._move(at_s)
        if self._plan.proves:
            self.healthy = self._proven()

    def _mind_gross(self, at_s: float, tick: FleetTick, *, probes: bool) -> None:
        failing = [index for index, metric in enumerate(self._plan.metrics) if metric.fails]
        bad_canary, bad_stable = np.zeros_like(tick.canary), np.zeros_like(tick.stable)
        for index in failing:
            bad_canary, bad_stable = bad_canary + tick.bad_canary[index], bad_stable + tick.bad_stable[index]
        canary = np.stack([tick.canary, np.minimum(tick.canary, bad_canary)], axis=2).astype(float)
        stable = np.stack([tick.stable, np.minimum(tick.stable, bad_stable)], axis=2).sum(axis=1).astype(float)
        self._quiet_since_s[self._gross.observe(canary, stable, probes=probes)] = at_s

    def _move(self, at_s: float) -> None:
        alarm = self.alarm_evidence >= ALARM_EVIDENCE
        self._quiet_since_s[alarm] = at_s
        starts = alarm & ~self.withdrawn
        self.n_withdrawals[starts] += 1
        self._withdrawn_at_s[starts] = at_s
        since_s = np.maximum(self._quiet_since_s, self._withdrawn_at_s)
        doubled = QUIET_FIRST * 2.0 ** (np.maximum(self.n_withdrawals, 1) - 1)
        needed_s = self._plan.longest_stall_s * np.minimum(doubled, QUIET_LONGEST)
        calm = (self.evidence < SUSPICIOUS_EVIDENCE) & (self._gross.lasted_s == 0.0)
        ends = self.withdrawn & ~alarm & calm & (at_s - since_s >= needed_s)
        self.withdrawn = (self.withdrawn | starts) & ~ends
        for request in self._requests:
            request.restart(alarm | ends)

    def _proven(self) -> Bools:
        needed = 1.0 / self._plan.beta
        proven = np.all([one.proof.evidence >= needed for one in self._requests], axis=0)
        calm = (self.evidence < SUSPICIOUS_EVIDENCE) & (self._gross.lasted_s == 0.0) & ~self.withdrawn
        return np.asarray(proven & calm)
