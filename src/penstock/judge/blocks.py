"""Pod blocks: one datum per pod and block, since a stall makes all requests of a pod bad at once.

Requests of a stalled pod are not independent: tested one by one, equal versions are condemned in nearly every release
that meets a stall. A pod counts here once per block, by its bad answers capped at what stable is known for, and rarefied
to the same number of requests for every pod. Source: JUDGE.md 4, 10.1.1, 10.2b, 10.6.
"""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

from penstock.judge.betting import START_EVERY_S, BettingProcess, Null, Outcomes, Prior, planned_starts
from penstock.judge.counts import NO_POD

#: The cap as a multiple of the bad answers that stable would give. Source: JUDGE.md 10.1.8 (2x has no power at high rates).
_CAP_RATIO = 4.0

#: No pod counts for more requests than this in a block: the work grows with the cap, and at 2000 a share of 1 % against
#: .2 % already fills it. Source: 4 * .002 * 2000 + 1 = 17 < 20.
_MOST_REQUESTS = 2000

#: A block is extended up to this many times its length until every canary pod has a request. Source: JUDGE.md 10.6.
_MAX_EXTENSION = 4.0

#: Pseudo-counts and decay of stable's capped mean. Source: JUDGE.md 10.6.
PSEUDO_PODS = 5.0
BLOCKS_DECAY = 0.99

#: Blocks between start points. Few data a block, so a start of some blocks ago has lost little, and fewer starts share the
#: stake. Source: measured, benchmarks/judge.py (a day's late faults).
BLOCKS_PER_START = 10

#: What one pod answered in a block: answers, and the sum of their badness.
PodSum: TypeAlias = tuple[float, float]


@lru_cache(maxsize=1000)  # the placebo and every metric ask alike, block after block
def rarefied(n_total: int, n_bad: int, n: int, cap: int) -> float:
    """Return E[min(H, cap)] / cap, in 0..1: the capped bad answers among `n` of a pod's `n_total`, in expectation.

    H is hypergeometric, i.e. `n` answers drawn without replacement, `n_bad` of `n_total` being bad. Taking the
    expectation instead of drawing keeps the judge deterministic. Source: JUDGE.md 10.1.1.
    """
    if n_total <= n:
        return min(n_bad, cap) / cap
    if n_bad <= cap or n <= cap:
        return n * n_bad / n_total / cap
    n_good = n_total - n_bad
    log_draws = _log_factorial(n_total) - _log_factorial(n) - _log_factorial(n_total - n)
    log_bad, log_good = _log_factorial(n_bad), _log_factorial(n_good)
    missing = 0.0
    for k in range(max(0, n - n_good), min(cap, n)):
        ways_bad = log_bad - _log_factorial(k) - _log_factorial(n_bad - k)
        ways_good = log_good - _log_factorial(n - k) - _log_factorial(n_good - n + k)
        missing += (cap - k) * math.exp(ways_bad + ways_good - log_draws)
    return min(1.0, max(0.0, 1.0 - missing / cap))


@lru_cache(maxsize=1000)  # as above
def capped_binomial(n: int, ratio: float, cap: int) -> float:
    """Return E[min(Binomial(n, ratio), cap)] / cap, in 0..1.

    Concave in `ratio` and 0 at 0, hence f(rho p + d) <= rho f(p) + f(d) for rho >= 1: limits on shares of requests carry
    over to capped counts. Source: concavity of the truncated mean; JUDGE.md 10.6 tests on this scale.
    """
    if ratio <= 0.0:
        return 0.0
    if ratio >= 1.0:
        return min(n, cap) / cap
    log_odds = math.log(ratio) - math.log1p(-ratio)
    log_none, log_ways = n * math.log1p(-ratio), math.lgamma(n + 1)
    chances = [
        math.exp(log_ways - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_odds + log_none)
        for k in range(min(cap, n + 1))
    ]
    return min(1.0, max(0.0, 1.0 - sum((cap - k) * chance for k, chance in enumerate(chances)) / cap))


def cap_for(base_ratio: float, n: int) -> int:
    """Return how many bad answers of `n` a pod may count for; `base_ratio` is the share that stable is known for."""
    return math.ceil(_CAP_RATIO * base_ratio * n) + 1


def capped_limit(null: Null, n: int, cap: int) -> Null:
    """Carry a limit over from shares of requests to capped counts; see capped_binomial."""
    return Null(null.rho0, capped_binomial(n, null.delta, cap))


def told_apart(pods: Mapping[str, PodSum]) -> list[PodSum]:
    """Return the pods' counts in the order of their names, so that the order of a tick's entries changes no digit.

    Answers that no endpoint gave are nobody's block unless the arm has no other.
    """
    named = [pods[pod] for pod in sorted(pods) if pod != NO_POD]
    return named or list(pods.values())


def capped_data(pods: Iterable[PodSum], n: int, cap: int) -> Outcomes:
    """Return one datum per pod: its capped bad answers among `n`."""
    return [(rarefied(int(n_total), int(n_bad), n, cap), 1.0) for n_total, n_bad in pods]


def most_comparable(*arms: Iterable[PodSum]) -> int:
    """Return the number of requests that every pod reaches."""
    return int(min(_MOST_REQUESTS, *(n for pods in arms for n, _ in pods)))


@lru_cache(maxsize=20_000)  # blocks of like traffic ask for like numbers, a dozen times each
def _log_factorial(n: int) -> float:
    return math.lgamma(n + 1)


class BlockEvidence:
    """One metric's evidence from pod blocks.

    Users' requests and probes are kept apart in a block, as they may differ in kind; the one that compares more requests
    per pod is judged, so that a stall is never counted twice.

    Args:
        prior_mean: stable's mean datum, as believed before the first block, (0, 1).
        length_s: how long a block is, seconds.
        n_canary_pods: a block waits for this many.
        n_starts: start points a minute apart would be so many; there are fewer, see BLOCKS_PER_START.
        means: take a pod's mean badness as its datum instead of its capped bad answers; for scores and levels.
    """

    def __init__(
        self, *, prior_mean: float, length_s: float, n_canary_pods: int, n_starts: int | None, means: bool = False
    ) -> None:
        self.length_s = length_s
        self._n_canary_pods = n_canary_pods
        self._means = means
        start_every_s = BLOCKS_PER_START * length_s
        self._process = BettingProcess(
            Prior(prior_mean, PSEUDO_PODS, BLOCKS_DECAY),
            n_starts=None if n_starts is None else planned_starts(n_starts * START_EVERY_S, start_every_s),
            start_every_s=start_every_s,
        )
        self._frozen_ratio: float | None = None
        self._n_last = 0
        self._opened_at_s = 0.0
        self._base_ratio: float | None = None
        self._is_open = False
        #: (probes, canary) -> pod -> (answers, bad answers) in the open block.
        self._pods: dict[tuple[bool, bool], dict[str, PodSum]] = {}

    @property
    def evidence(self) -> float:
        """The e-value, >= 0."""
        return self._process.evidence

    def add(self, *, canary: bool, pod: str, n: float, bad: float, probes: bool) -> None:
        """Count `n` answers of a pod with this sum of badness towards the open block."""
        if n > 0 and (canary or self._is_open):  # stable before the canary's first answer is not concurrent with it
            pods = self._pods.get((probes, canary))
            if pods is None:
                pods = self._pods[probes, canary] = {}
            n_before, bad_before = pods.get(pod, (0, 0))
            pods[pod] = (n_before + n, bad_before + bad)
            self._is_open |= canary

    def freeze(self, at_s: float, ratio: float) -> None:
        """From here on tolerate `ratio` times what stable used to be; the open block is dropped."""
        self._frozen_ratio = ratio
        self._open(at_s)

    def thaw(self, at_s: float) -> None:
        """Compare with stable again; the open block is dropped."""
        self._frozen_ratio = None
        self._open(at_s)

    def waits(self, at_s: float) -> bool:
        """Whether the open block is not over yet, so that close_due would change nothing."""
        return self._is_open and self._base_ratio is not None and at_s - self._opened_at_s < self.length_s

    def close_due(self, at_s: float, null: Null, base_ratio: float) -> None:
        """Judge the open block if it is over.

        Args:
            at_s: now, seconds, never falling.
            null: what is tolerated, as a share of requests (not of capped counts).
            base_ratio: share of bad answers that stable is known for, 0..1.
        """
        if not self._is_open:
            self._opened_at_s = at_s
            return
        if self._base_ratio is None:
            self._base_ratio = base_ratio
        age_s = at_s - self._opened_at_s
        if age_s < self.length_s or (age_s < _MAX_EXTENSION * self.length_s and not self._every_canary_pod()):
            return
        self._judge(at_s, null, self._base_ratio)
        self._open(at_s)

    def _open(self, at_s: float) -> None:
        self._opened_at_s = at_s
        self._base_ratio = None
        self._is_open = False
        self._pods = {}

    def _every_canary_pod(self) -> bool:
        seen = {pod for probes in (False, True) for pod in self._pods.get((probes, True), ())}
        return len(seen - {NO_POD} or seen) >= self._n_canary_pods

    def _judge(self, at_s: float, null: Null, base_ratio: float) -> None:
        needs_stable = null.rho0 > 0.0
        n, canary, stable = max(
            (self._arms(probes, needs_stable) for probes in (False, True)), key=lambda arms: arms[0]
        )
        if n == 0:
            return
        if self._means:
            self._process.observe(at_s, _means(canary), _means(stable), self._against_frozen(null))
            return
        if self._frozen_ratio is not None and self._n_last:
            n = min(n, self._n_last)  # stable's capped mean was learnt at about this many requests
        cap = cap_for(base_ratio, n)
        limit = self._against_frozen(capped_limit(null, n, cap))
        self._process.observe(at_s, capped_data(canary, n, cap), capped_data(stable, n, cap), limit)
        if needs_stable:
            self._n_last = n

    def _arms(self, probes: bool, needs_stable: bool) -> tuple[int, list[PodSum], list[PodSum]]:
        """Return the requests per pod that all pods reach, and (n, bad) per pod of either arm; 0 where an arm is silent."""
        canary = told_apart(self._pods.get((probes, True), {}))
        stable = told_apart(self._pods.get((probes, False), {})) if needs_stable else []
        if not canary or (needs_stable and not stable):
            return 0, [], []
        return most_comparable(canary, stable), canary, stable

    def _against_frozen(self, null: Null) -> Null:
        """Against a frozen baseline, stable's own mean stays a floor for the limit: its stalls are in there."""
        if self._frozen_ratio is None:
            return null
        return Null(null.rho0, max(null.delta, self._frozen_ratio * self._process.baseline))


def _means(pods: Iterable[PodSum]) -> Outcomes:
    return [(bad / n, 1.0) for n, bad in pods]
