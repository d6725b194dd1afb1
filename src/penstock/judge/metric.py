"""One metric: what is tolerated, its evidence from single requests and from pod blocks, and its numbers for a person."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from penstock.judge.answers import Reading
from penstock.judge.betting import START_EVERY_S, BettingProcess, Null, Prior, counted
from penstock.judge.blocks import BlockEvidence
from penstock.judge.latency import SLOW_RATIO
from penstock.judge.limits import Limits
from penstock.judge.pairs import HALF
from penstock.judge.verdict import MetricEvidence

#: A block of single requests closes at this size. Source: JUDGE.md 2 "Block closing".
_MIN_STABLE = 5
_MIN_BOTH = 20

#: Seconds after which a block that one arm is missing from is given up: its answers are no longer concurrent with what
#: comes. Source: the judge's start points (JUDGE.md 10.1.4) are this far apart.
_MAX_ONE_ARMED_S = 60.0

#: Pseudo-counts and decay of stable's share. Source: JUDGE.md 2.
_PSEUDO_ANSWERS = 200.0
_DECAY = 0.999

#: Stable's answers before delta is frozen (and one longest stall, so that a single stall does not pass for the rule).
#: Source: at .2 % .. 2 % these hold 1 .. 10 bad ones; before, the floor alone is tolerated, which is the stricter test.
_MIN_ANSWERS_FOR_DELTA = 500

#: Minutes that reasons look back over, one mark each.
_MINUTES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is tolerated of a metric.

    Attributes:
        floor: absolute gap to stable, share of answers 0..1.
        ratio: tolerated multiple of stable's share.
        limit: an absolute limit on the canary's share instead; then stable is ignored.
        prior_ratio: stable's share of bad answers, as believed before it answered, (0, 1).
        prior_block: the same for its capped mean by pod block. Source: JUDGE.md 10.6 (.15 / .3).
        words: the limit as a person says it.
    """

    floor: float
    ratio: float
    limit: float | None
    prior_ratio: float
    prior_block: float
    words: str


def tolerance_for(name: str, limits: Limits) -> Tolerance:
    """Return what the limits tolerate of the metric called `name`."""
    ratio = limits.error_ratio
    match name:
        case "errors_limit":
            limit = limits.max_errors_ratio or 0.0
            return Tolerance(0.0, ratio, limit, limit, 0.15, f"at most {100 * limit:.3g} %")
        case "latency_limit":
            return Tolerance(0.0, ratio, SLOW_RATIO, SLOW_RATIO, 0.3, f"p95 at most {limits.max_p95_ms:g} ms")
        case "latency_pairs":
            words = f"slower than {1 + limits.latency_margin:.2f}x stable in half of the pairs"
            return Tolerance(0.0, ratio, HALF, HALF, HALF, words)
        case "latency":
            return Tolerance(0.0, ratio, None, SLOW_RATIO, 0.3, f"p95 {1 + limits.latency_margin:.2f}x")
        case _:
            floor = limits.error_floor
            return Tolerance(floor, ratio, None, 0.01, 0.15, f"{ratio:g}x and +{100 * floor:.3g} %")


class Tally(NamedTuple):
    """Sums since the release began."""

    n_users: int = 0
    n_probes: int = 0
    bad_canary: int = 0
    n_stable: int = 0
    bad_stable: int = 0

    @property
    def canary_ratio(self) -> float | None:
        n = self.n_users + self.n_probes
        return self.bad_canary / n if n else None

    @property
    def stable_ratio(self) -> float | None:
        return self.bad_stable / self.n_stable if self.n_stable else None


@dataclass(slots=True)
class _OpenBlock:
    """Answers not yet bet on; users' requests and probes have one each."""

    opened_at_s: float
    n_canary: int = 0
    bad_canary: int = 0
    n_stable: int = 0
    bad_stable: int = 0


class Metric:
    """One metric's evidence. Users' requests and probes never share a block: they may differ in kind."""

    def __init__(
        self, name: str, limits: Limits, *, n_canary_pods: int, block_length_s: float, n_starts: int | None
    ) -> None:
        self.name = name
        self.tolerance = tolerance_for(name, limits)
        self._longest_stall_s = limits.longest_stall_s
        self._requests = BettingProcess(Prior(self.tolerance.prior_ratio, _PSEUDO_ANSWERS, _DECAY), n_starts=n_starts)
        self.blocks = BlockEvidence(
            prior_mean=self.tolerance.prior_block,
            length_s=block_length_s,
            n_canary_pods=n_canary_pods,
            n_starts=n_starts,
        )
        self._open: dict[bool, _OpenBlock] = {}
        self._delta: float | None = None
        self._stable_since_s: float | None = None
        self._frozen_limit: float | None = None
        self._sums = [0] * len(Tally._fields)
        self._marks: deque[tuple[float, Tally]] = deque(maxlen=_MINUTES_SHOWN)

    @property
    def request_evidence(self) -> float:
        """E-value from single requests; may only withdraw."""
        return self._requests.evidence

    @property
    def block_evidence(self) -> float:
        """E-value from pod blocks; may roll back."""
        return self.blocks.evidence

    @property
    def limit_words(self) -> str:
        """What is tolerated, as a person says it."""
        if self._frozen_limit is None or self.tolerance.limit is not None:
            return self.tolerance.words
        return f"{100 * self._frozen_limit:.3g} %, from stable's last share"

    def count(self, at_s: float, reading: Reading, *, canary: bool, pod: str, probes: bool) -> None:
        """Count one pod's answers of one tick."""
        n, bad = reading.n, reading.bad
        if n <= 0:
            return
        self._tally(n, bad, canary=canary, probes=probes)
        if reading.for_blocks:
            self.blocks.add(canary=canary, pod=pod, n=n, bad=bad, probes=probes)
        if not reading.for_requests:
            return
        block = self._open.setdefault(probes, _OpenBlock(at_s))
        if canary:
            block.n_canary += n
            block.bad_canary += bad
        else:
            block.n_stable += n
            block.bad_stable += bad

    def close_due(self, at_s: float) -> None:
        """Bet on what is complete. Nothing of a block is used for the limits and guesses that it is judged by."""
        self.blocks.close_due(at_s, self._block_null(), self._known_ratio())
        null = self._request_null()
        for probes, block in list(self._open.items()):
            if self._is_over(at_s, block, null):
                canary = counted(block.n_canary, block.bad_canary)
                self._requests.observe(at_s, canary, counted(block.n_stable, block.bad_stable), null)
                del self._open[probes]
        self._freeze_delta(at_s)
        if not self._marks or at_s - self._marks[-1][0] >= START_EVERY_S:
            self._marks.append((at_s, self.total))

    def restart_alarm(self) -> None:
        """Evidence from single requests starts again at 1; what is known of stable is kept."""
        self._requests.restart()
        self._open.clear()

    def freeze(self, at_s: float) -> None:
        """Judge against stable's last known share from here on."""
        tolerance = self.tolerance
        self._frozen_limit = min(1.0, tolerance.ratio * self._requests.baseline + max(tolerance.floor, 0.001))
        self._open.clear()
        self.blocks.freeze(at_s, tolerance.ratio)

    def thaw(self, at_s: float) -> None:
        """Judge against concurrent answers of stable again."""
        self._frozen_limit = None
        self._open.clear()
        self.blocks.thaw(at_s)

    @property
    def total(self) -> Tally:
        return Tally(*self._sums)

    @property
    def recent(self) -> Tally:
        """Sums over about the last ten minutes."""
        if len(self._marks) < _MINUTES_SHOWN:
            return self.total
        recent = Tally(*(now - then for now, then in zip(self._sums, self._marks[0][1], strict=True)))
        return self.total if recent.canary_ratio is None else recent

    def snapshot(self) -> MetricEvidence:
        """The metric as a verdict carries it; shares are over the whole release."""
        total = self.total
        return MetricEvidence(
            metric=self.name,
            request_evidence=self.request_evidence,
            block_evidence=self.block_evidence,
            n_canary=total.n_users + total.n_probes,
            n_stable=total.n_stable,
            bad_canary_ratio=total.canary_ratio,
            bad_stable_ratio=total.stable_ratio,
            limit=self.limit_words,
        )

    def _tally(self, n: int, bad: int, *, canary: bool, probes: bool) -> None:
        sums = self._sums
        if canary:
            sums[1 if probes else 0] += n
            sums[2] += bad
        else:
            sums[3] += n
            sums[4] += bad

    def _request_null(self) -> Null:
        """rho0 = 1 and a gap, frozen early: one process for ratio and floor. Source: JUDGE.md 10.1.3, 10.6."""
        if (limit := self._absolute_limit()) is not None:
            return Null(0.0, limit)
        return Null(1.0, self.tolerance.floor if self._delta is None else self._delta)

    def _block_null(self) -> Null:
        if (limit := self._absolute_limit()) is not None:
            return Null(0.0, limit)
        return Null(self.tolerance.ratio, self.tolerance.floor)

    def _absolute_limit(self) -> float | None:
        return self.tolerance.limit if self.tolerance.limit is not None else self._frozen_limit

    def _known_ratio(self) -> float:
        """Share of bad answers that a good canary would have: the limit itself where stable does not count."""
        return self._requests.baseline if self.tolerance.limit is None else self.tolerance.limit

    def _is_over(self, at_s: float, block: _OpenBlock, null: Null) -> bool:
        if null.rho0 == 0.0:
            return block.n_canary > 0 or block.n_stable > 0
        both = block.n_canary > 0 and block.n_stable >= _MIN_STABLE and block.n_canary + block.n_stable >= _MIN_BOTH
        one_armed = block.n_canary == 0 or block.n_stable == 0
        return both or (one_armed and at_s - block.opened_at_s > _MAX_ONE_ARMED_S)

    def _freeze_delta(self, at_s: float) -> None:
        """Freeze the tolerated gap at max(floor, (ratio - 1) * stable's share), once stable is known."""
        if self._delta is not None or not self.tolerance.floor:
            return
        total = self.total
        if self._stable_since_s is None and total.n_stable:
            self._stable_since_s = at_s
        since_s = at_s if self._stable_since_s is None else self._stable_since_s
        if total.n_stable >= _MIN_ANSWERS_FOR_DELTA and at_s - since_s >= self._longest_stall_s:
            self._delta = max(self.tolerance.floor, (self.tolerance.ratio - 1.0) * (total.stable_ratio or 0.0))
