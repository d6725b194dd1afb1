"""What is tolerated of one compared metric, as nulls for the bets: of single requests, of pod blocks, and for promotion.

The gap on top of stable's share is frozen early: one process for ratio and floor. Source: JUDGE.md 10.1.3, 10.6.
"""

from penstock.judge.betting import Null
from penstock.judge.limits import MetricKind, MetricLimit

#: Share of pairs in which a canary that is not slower may be the slower one.
HALF = 0.5

#: Stable's answers before the gap is frozen (and one longest stall, so that a single stall does not pass for the rule).
#: Source: at .2 % .. 2 % these hold 1 .. 10 bad ones; before, the floor alone is tolerated, which is the stricter test.
MIN_ANSWERS_FOR_GAP = 500

#: Stable's share, and its capped mean by pod block, as believed before it answered. Source: JUDGE.md 10.6 (.15 / .3).
_PRIORS = {
    MetricKind.SHARE: (0.01, 0.15),
    MetricKind.LATENCY: (0.05, 0.3),
    MetricKind.PAIRS: (HALF, HALF),
    MetricKind.SCORE: (0.3, 0.3),
}


class Tolerance:
    """What one metric's limits come to, given what stable is known for."""

    def __init__(self, limit: MetricLimit, longest_stall_s: float) -> None:
        self._limit = limit
        self._longest_stall_s = longest_stall_s
        self._stable_since_s: float | None = None
        self._frozen_share: float | None = None
        self._gaps: tuple[float, float] | None = None
        #: Whether stable's share still decides what is tolerated.
        self.learns = limit.kind is MetricKind.SHARE
        self._absolute = _absolute(limit)
        prior_ratio, self.prior_block = _PRIORS[limit.kind]
        if limit.kind is MetricKind.LATENCY:
            prior_ratio = 1.0 - limit.quantile
        #: Stable's mean badness as believed before it answered, (0, 1).
        self.prior_ratio = prior_ratio if self._absolute is None else self._absolute
        self._settle()

    def learn(self, at_s: float, n_stable: int, stable_ratio: float) -> None:
        """Freeze the tolerated gaps at max(floor, (ratio - 1) * stable's share), once stable is known."""
        if not self.learns or not n_stable:
            return
        if self._stable_since_s is None:
            self._stable_since_s = at_s
        if n_stable >= MIN_ANSWERS_FOR_GAP and at_s - self._stable_since_s >= self._longest_stall_s:
            limit = self._limit
            self.learns = False
            harm = max(limit.floor, (limit.ratio - 1.0) * stable_ratio)
            self._gaps = harm, max(limit.ok_floor, (limit.ok_ratio - 1.0) * stable_ratio)
            self._settle()

    def freeze(self, baseline: float) -> None:
        """Judge against stable's last known share from here on."""
        self._frozen_share = baseline
        self._settle()

    def thaw(self) -> None:
        """Judge against concurrent answers of stable again."""
        self._frozen_share = None
        self._settle()

    def _settle(self) -> None:
        """Work out the nulls: they are asked for at every tick, and change a few times in a release."""
        #: Whether stable does not count: there is a limit of the canary's own, or stable's last share.
        self.alone = self._absolute is not None or self._frozen_share is not None
        #: What single requests may show before the alarm.
        self.for_requests = self._for_requests()
        #: What pod blocks may show, as shares of requests.
        self.for_blocks = self._for_blocks()
        #: What must be refuted before the canary counts as not worse.
        self.for_proof = self._for_proof()

    def _for_requests(self) -> Null:
        if (limit := self._one_sided()) is not None:
            return Null(0.0, limit)
        return Null(1.0, self._gap()[0])

    def _for_blocks(self) -> Null:
        if (limit := self._one_sided()) is not None:
            return Null(0.0, limit)
        if self._limit.kind is MetricKind.SCORE:
            return Null(1.0, self._gap()[0])
        return Null(self._limit.ratio, self._limit.floor if self._limit.kind is MetricKind.SHARE else 0.0)

    def _for_proof(self) -> Null:
        if self._absolute is not None:
            return Null(0.0, self._absolute)
        if self._frozen_share is not None:
            return Null(0.0, min(1.0, self._frozen_share + max(self._gap()[1], self._limit.ok_floor)))
        return Null(1.0, self._gap()[1])

    @property
    def known_share(self) -> float | None:
        """The share of bad answers that a good canary would have, where stable does not count."""
        return self._absolute

    @property
    def words(self) -> str:
        """What is tolerated, as a person says it."""
        limit = self._limit
        if self._frozen_share is not None and self._absolute is None:
            return f"{100 * (self._one_sided() or 0.0):.3g} %, from stable's last share"
        match limit.kind:
            case MetricKind.PAIRS:
                return f"slower than {1 + limit.margin:.2f}x stable in half of the pairs"
            case MetricKind.LATENCY:
                name = f"p{100 * limit.quantile:g}"
                return (
                    f"{name} {1 + limit.margin:.2f}x" if limit.limit is None else f"{name} at most {limit.limit:g} ms"
                )
            case MetricKind.SCORE:
                return f"{limit.gap:g} worse" if limit.limit is None else f"at most {limit.limit:g}"
            case _ if limit.limit is not None:
                return f"at most {100 * limit.limit:.3g} %"
            case _:
                return f"{limit.ratio:g}x and +{100 * limit.floor:.3g} %"

    def _gap(self) -> tuple[float, float]:
        """Return the tolerated gap to stable's mean badness: before it is harm, and before it is not proven healthy."""
        limit = self._limit
        if limit.kind is MetricKind.LATENCY:
            return 0.0, 0.0  # the margin is in the thresholds
        if limit.kind is MetricKind.SCORE:
            gap = limit.gap / abs(limit.worst - limit.best)
            return gap, gap
        return (limit.floor, limit.ok_floor) if self._gaps is None else self._gaps

    def _one_sided(self) -> float | None:
        """Return the canary's own limit, where stable does not count."""
        if self._absolute is not None or self._frozen_share is None:
            return self._absolute
        return min(1.0, self._limit.ratio * self._frozen_share + max(self._limit.floor, 0.001))


def _absolute(limit: MetricLimit) -> float | None:
    """Return the canary's own limit as a mean badness, 0..1; None where it is compared with stable."""
    if limit.kind is MetricKind.PAIRS:
        return HALF
    if limit.limit is None:
        return None
    if limit.kind is MetricKind.LATENCY:
        return 1.0 - limit.quantile
    return limit.badness(limit.limit) if limit.kind is MetricKind.SCORE else limit.limit
