"""One compared metric: its evidence from single requests, from pod blocks and for promotion, and its numbers for a person."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from penstock.judge.betting import START_EVERY_S, BettingProcess, Count, Prior, planned_starts
from penstock.judge.blocks import BlockEvidence
from penstock.judge.counts import Measure
from penstock.judge.interval import GapInterval
from penstock.judge.latency import LatencyScale, Stretch, Timing, n_slower
from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.judge.tolerance import Tolerance
from penstock.judge.verdict import MetricEvidence

#: A block of single requests closes at this size. Source: JUDGE.md 2 "Block closing"; scores: 3.3 (one and one).
MIN_STABLE = 5
MIN_BOTH = 20

#: Seconds after which a block that one arm is missing from is given up: its answers are no longer concurrent with what
#: comes. Source: the judge's start points (JUDGE.md 10.1.4) are this far apart.
MAX_ONE_ARMED_S = 60.0

#: Pseudo-counts and decay of stable's share. Source: JUDGE.md 2; scores are few, and hardly differ from each other.
_PSEUDO_ANSWERS = 200.0
_PSEUDO_SCORES = 5.0
_DECAY = 0.999

#: The stored wealth of a proof that the canary is not worse: it ends seconds after the canary broke. Source: JUDGE.md
#: 10.1.5 (10^3 per bet).
_MOST_PROOF_NATS = math.log(1000.0)

#: The alarm's start points are planned for an hour, over and over: a false alarm costs seconds, a late one users.
ALARM_STARTS = planned_starts(3600.0)

#: Kinds in which stable against itself would show a stall.
_STALLING = (MetricKind.SHARE, MetricKind.LATENCY)

#: Minutes that reasons look back over, one mark each.
_MINUTES_SHOWN = 10


class Tally(NamedTuple):
    """Sums since the release began; a bad score counts in part."""

    n_users: int = 0
    n_probes: int = 0
    bad_canary: float = 0
    n_stable: int = 0
    bad_stable: float = 0

    @property
    def canary_ratio(self) -> float | None:
        n = self.n_users + self.n_probes
        return self.bad_canary / n if n else None

    @property
    def stable_ratio(self) -> float | None:
        return self.bad_stable / self.n_stable if self.n_stable else None


#: One measure read as badness: answers, the sum of their badness, the same where health is to be proven, the same for pod
#: blocks (each user's first failure alone), and each answer's badness, for scores. No class: there are several a tick.
Reading: TypeAlias = tuple[int, float, float, float, tuple[float, ...]]


@dataclass(slots=True)
class OpenArm:
    """One arm's answers in an open block."""

    n: int = 0
    bad: float = 0
    bad_for_proof: float = 0
    values: list[float] = field(default_factory=list)

    def add(self, reading: Reading) -> None:
        n, bad, bad_for_proof, _, values = reading
        self.n += n
        self.bad += bad
        self.bad_for_proof += bad_for_proof
        if values:
            self.values.extend(values)


@dataclass(slots=True)
class OpenBlock:
    """Answers not yet bet on; users' requests and probes have one each."""

    opened_at_s: float
    canary: OpenArm = field(default_factory=OpenArm)
    stable: OpenArm = field(default_factory=OpenArm)


class ComparedMetric:
    """Evidence of a share, a latency or a score. Users' requests and probes never share a block: they may differ in kind.

    Args:
        limit: what is tolerated.
        limits: the release's.
        n_canary_pods: a pod block waits for this many.
        block_length_s: of pod blocks.
        n_starts: as in BettingProcess.
        timing: the thresholds that a latency is read against.
    """

    def __init__(
        self,
        limit: MetricLimit,
        limits: Limits,
        *,
        n_canary_pods: int,
        block_length_s: float,
        n_starts: int | None,
        timing: Timing | None = None,
    ) -> None:
        self.limit = limit
        self.tolerance = Tolerance(limit, limits.longest_stall_s)
        self._timing = timing
        self._is_score = limit.kind is MetricKind.SCORE
        #: Whether its answers are counted as good or bad, and nothing is to be read.
        self._is_counted = limit.kind in (MetricKind.SHARE, MetricKind.PAIRS)
        prior = Prior(self.tolerance.prior_ratio, _PSEUDO_SCORES if self._is_score else _PSEUDO_ANSWERS, _DECAY)
        self._harm = BettingProcess(prior, n_starts=ALARM_STARTS, renewed=True)
        self._proof = BettingProcess(prior, n_starts=n_starts, harm=False, most_nats=_MOST_PROOF_NATS)
        self._interval = GapInterval(self.tolerance.prior_ratio)
        self.blocks = BlockEvidence(
            prior_mean=self.tolerance.prior_block,
            length_s=block_length_s,
            n_canary_pods=n_canary_pods,
            n_starts=n_starts,
            means=self._is_score,
        )
        self._open: dict[bool, OpenBlock] = {}
        self._failed_users: tuple[set[str], set[str]] = (set(), set())
        self._sums: list[float] = [0] * len(Tally._fields)
        self._marks: deque[tuple[float, Tally]] = deque(maxlen=_MINUTES_SHOWN)

    @property
    def request_evidence(self) -> float:
        """E-value from single requests; may only withdraw."""
        return self._harm.evidence

    @property
    def block_evidence(self) -> float:
        """E-value from pod blocks; may roll back."""
        return self.blocks.evidence

    @property
    def proof(self) -> float:
        """E-value that the canary is not worse; may promote."""
        return self._proof.evidence

    #: Nothing here withdraws without evidence.
    withdraws = False

    @property
    def holds(self) -> str | None:
        """A reason to hold the rollout that is no evidence against the canary."""
        if self.limit.kind is MetricKind.LATENCY and self._timing and self._is_too_coarse(self._timing.users):
            return f"{self.limit.name}: the histogram's resolution is too coarse to compare; only limits are judged"
        return None

    def take(self, at_s: float, measure: Measure, *, probes: bool, warm: tuple[bool, bool] = (True, True)) -> None:
        """Count one measure.

        Args:
            at_s: now.
            measure: its counts.
            probes: whether it comes from replayed requests.
            warm: whether single requests, and pod blocks, may be judged by it.
        """
        reading = self._read(measure, probes=probes)
        if reading is None or reading[0] <= 0:
            return
        n, bad, _, bad_for_blocks, _ = reading
        canary, sums = measure.canary, self._sums
        if canary:
            sums[1 if probes else 0] += n
            sums[2] += bad
        else:
            sums[3] += n
            sums[4] += bad
        for_requests, for_blocks = warm
        if for_blocks:
            self.blocks.add(canary=canary, pod=measure.pod, n=n, bad=bad_for_blocks, probes=probes)
        if for_requests:
            block = self._open.get(probes)
            if block is None:
                block = self._open[probes] = OpenBlock(at_s)
            (block.canary if canary else block.stable).add(reading)

    def close_due(self, at_s: float) -> None:
        """Bet on what is complete. Nothing of a block is used for the limits and guesses that it is judged by."""
        if not self.blocks.waits(at_s):
            self.blocks.close_due(at_s, self.tolerance.for_blocks, self._known_share())
        for probes, block in tuple(self._open.items()):
            if self._is_over(at_s, block):
                self._bet(at_s, block)
                if not probes:
                    self._interval.add(at_s, (block.canary.n, block.canary.bad), (block.stable.n, block.stable.bad))
                del self._open[probes]
        if self.tolerance.learns:
            n_stable = int(self._sums[3])
            self.tolerance.learn(at_s, n_stable, self._sums[4] / n_stable if n_stable else 0.0)
        if not self._marks or at_s - self._marks[-1][0] >= START_EVERY_S:
            self._marks.append((at_s, self.total))

    def lengthen(self, length_s: float) -> None:
        """Make pod blocks this long."""
        self.blocks.length_s = length_s

    def read_for_placebo(self, measure: Measure) -> tuple[int, float] | None:
        """Return (answers, bad answers) of a stable pod, where stable against itself would show a stall."""
        if self.limit.limit is not None or self.limit.kind not in _STALLING:
            return None
        if self._is_counted:
            return (measure.n, measure.bad) if measure.n else None
        reading = self._read_latency(measure, probes=False)
        return reading[:2] if reading and reading[0] else None

    def restart_alarm(self) -> None:
        """Evidence from single requests starts again at 1; what is known of stable, and any proof, is kept."""
        self._harm.restart()
        self._open.clear()

    def freeze(self, at_s: float) -> None:
        """Judge against stable's last known share from here on."""
        self.tolerance.freeze(self._harm.baseline)
        self._open.clear()
        self.blocks.freeze(at_s, self.limit.ratio)

    def thaw(self, at_s: float) -> None:
        """Judge against concurrent answers of stable again."""
        self.tolerance.thaw()
        self._open.clear()
        self.blocks.thaw(at_s)

    @property
    def total(self) -> Tally:
        return Tally(*self._sums)  # type: ignore[arg-type]  # counts are whole, sums of badness need not be

    @property
    def recent(self) -> Tally:
        """Sums over about the last ten minutes."""
        if len(self._marks) < _MINUTES_SHOWN:
            return self.total
        recent = Tally(*(now - then for now, then in zip(self._sums, self._marks[0][1], strict=True)))  # type: ignore[arg-type]
        return self.total if recent.canary_ratio is None else recent

    def snapshot(self) -> MetricEvidence:
        """The metric as a verdict carries it; shares are over the whole release."""
        total = self.total
        canary, stable = total.canary_ratio, total.stable_ratio
        return MetricEvidence(
            metric=self.limit.name,
            request_evidence=self.request_evidence,
            block_evidence=self.block_evidence,
            proof=self.proof,
            n_canary=total.n_users + total.n_probes,
            n_stable=total.n_stable,
            bad_canary_ratio=canary,
            bad_stable_ratio=stable,
            gap=None if canary is None or stable is None else canary - stable,
            gap_interval=self._interval.gap,
            unit="pod-block, each user's first failure" if any(self._failed_users) else "pod-block",
            limit=self.tolerance.words,
        )

    def _read(self, measure: Measure, *, probes: bool) -> Reading | None:
        if self._is_counted:
            n_bad, user = measure.bad, measure.user
            return measure.n, n_bad, n_bad, n_bad if user is None else self._first_failure(measure, user), ()
        if self._is_score:
            values = tuple(self.limit.badness(score) for score in measure.values)
            bad = math.fsum(values)
            return len(values), bad, bad, bad, values
        return self._read_latency(measure, probes=probes)

    def _read_latency(self, measure: Measure, *, probes: bool) -> Reading | None:
        assert self._timing is not None  # noqa: S101 - the judge gives every latency its timing
        scale, bins = self._timing.scale(probes=probes), measure.bins
        n = sum(bins.values())
        if self.limit.limit is not None:
            bad = n_slower(bins, scale.edges.at_least(self.limit.limit))
            return n, bad, n_slower(bins, scale.edges.at_most(self.limit.limit)), bad, ()
        thresholds = scale.thresholds.get(Stretch(self.limit.quantile, self.limit.margin))
        if thresholds is None:
            return None
        if not measure.canary:
            bad = n_slower(bins, thresholds.stable)
            return n, bad, bad, bad, ()
        bad = n_slower(bins, thresholds.harm)
        for_proof = bad if thresholds.healthy == thresholds.harm else n_slower(bins, thresholds.healthy)
        return n, bad, for_proof, bad, ()

    def _is_too_coarse(self, scale: LatencyScale) -> bool:
        stretch = Stretch(self.limit.quantile, self.limit.margin)
        return self.limit.limit is None and stretch in scale.thresholds and scale.thresholds[stretch] is None

    def _first_failure(self, measure: Measure, user: str) -> int:
        """Return 1 for a user's first failure on this arm, else 0. Source: JUDGE.md 10.1.2 (denominators stay requests)."""
        known = self._failed_users[measure.canary]
        if measure.bad <= 0 or user in known:
            return 0
        known.add(user)
        return 1

    def _known_share(self) -> float:
        """Share of bad answers that a good canary would have: the limit itself where stable does not count."""
        known = self.tolerance.known_share
        return self._harm.baseline if known is None else known

    def _is_over(self, at_s: float, block: OpenBlock) -> bool:
        n_canary, n_stable = block.canary.n, block.stable.n
        if self.tolerance.alone:
            return n_canary > 0 or n_stable > 0
        if n_canary == 0 or n_stable == 0:
            return at_s - block.opened_at_s > MAX_ONE_ARMED_S
        if self._is_score:
            return True
        return n_stable >= MIN_STABLE and n_canary + n_stable >= MIN_BOTH

    def _bet(self, at_s: float, block: OpenBlock) -> None:
        harm, proof = self.tolerance.for_requests, self.tolerance.for_proof
        canary, stable = block.canary, block.stable
        if self._is_score:
            of_canary, of_stable = ([(value, 1.0) for value in sorted(arm.values)] for arm in (canary, stable))
            self._harm.observe(at_s, of_canary, of_stable, harm)
            self._proof.observe(at_s, of_canary, of_stable, proof)
            return
        stable_count: Count = (stable.n, stable.bad)
        self._harm.observe_counts(at_s, (canary.n, canary.bad), stable_count, harm)
        self._proof.observe_counts(at_s, (canary.n, canary.bad_for_proof), stable_count, proof)
