"""The centred block betting e-process: the one primitive that the judge reduces every question to.

A bet that the canary is worse is placed on every block of answers. Where it is not worse, no betting can be expected to
win, so wealth of 1 / alpha is proof at level alpha: whenever one looks, however often, whatever the traffic did.

Null hypothesis, in every block t (outcomes in [0, 1], higher = worse):  mean_c(t) <= rho0 * mean_b(t) + delta
Wealth of one bet lam, with r = n_c / n_b, a = rho0 * h + delta, and h any guess of stable's mean made from the past:

    log e(lam) = sum_i log1p(lam * (X_i - a)) + sum_j log1p(lam * rho0 * r * (h - Y_j))

Proof idea: given the past, E e(lam) = prod(1 + lam (mu_ci - a)) * prod(1 + lam rho0 r (h - mu_bj))
<= exp(lam n_c (mu_c - rho0 mu_b - delta)) <= 1 under the null, as 1 + x <= exp(x): h cancels, and so does any drift that
both arms share. Block sizes and boundaries may depend on counts and on the clock, not on outcomes. Products over blocks,
averages over bets and mixtures over start times stay e-processes, and by Ville's inequality
P(wealth ever >= 1 / alpha) <= alpha. What it needs: outcomes independent within a block, given the past.

Source: JUDGE.md 2 (formula and proof), 10.1.4 (start points); after Waudby-Smith & Ramdas, "Estimating means of bounded
random variables by betting", and Turner, Ly & Grunwald, arXiv 2106.02693.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import NamedTuple, TypeAlias

#: Bets, a factor of 2 apart: from differences of a few percent up to rare faults. Source: JUDGE.md 2.
BETS = tuple(2.0**power for power in range(-4, 7))

#: The same on a canary that is better.
_AGAINST = tuple(-bet for bet in BETS)
_N_BETS = len(BETS)

#: No factor falls below 1 - this, so that no single answer ruins a bet. Source: JUDGE.md 2.
_MOST_AT_STAKE = 0.95

#: ... where nothing can be lost, e.g. by the canary at a limit of 0.
_LEAST_WORST = 1e-12

#: Wealth is read out up to exp(this); a decision falls near exp(5). Source: JUDGE.md 2.
_READ_OUT_NATS = 60.0

#: Seconds between start points, so that a canary that breaks late is found as fast. Source: JUDGE.md 10.1.4.
START_EVERY_S = 60.0

#: An answer's badness in [0, 1], and how many answers had it.
Outcomes: TypeAlias = Sequence[tuple[float, float]]

#: Answers of one arm, and how many of them were bad.
Count: TypeAlias = tuple[float, float]


class Null(NamedTuple):
    """What is tolerated: `rho0` times stable's mean, plus `delta`. `rho0` 0 is an absolute limit: stable is ignored."""

    rho0: float
    delta: float


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of stable's mean before it answered. A wrong belief costs time, never validity.

    Attributes:
        mean: badness, (0, 1).
        weight: how many answers the belief counts for, > 0.
        decay: what remains of older answers after one block, (0, 1].
    """

    mean: float
    weight: float
    decay: float


class BettingProcess:
    """One metric's wealth in one direction.

    Args:
        prior: what is believed of stable before it answered.
        n_starts: start points planned after the first; None for a rollout without an end.
        renewed: whether the plan begins again when it is over, so that late faults are found as fast after a day as after
            an hour. The budget is then one of each plan's length and no longer one of the release: for alarms alone.
        start_every_s: seconds between start points.
        harm: True bets that the canary is worse than the null allows. False bets that it is better, i.e. against
            mean_c >= rho0 * mean_b + delta: every bet lam becomes -lam, and what wins is evidence for promotion.
        most_nats: what any bet's wealth is cut to after every block, in nats. Lowering an e-process is always valid; it
            bounds how long a proof outlives the state it proved. Source: JUDGE.md 10.1.5.
    """

    __slots__ = (
        "_bad",
        "_evidence",
        "_first_at_s",
        "_harm",
        "_log_wealth",
        "_most_nats",
        "_n",
        "_n_started",
        "_n_starts",
        "_prior",
        "_renewed",
        "_start_every_s",
        "_waiting",
        "baseline",
    )

    def __init__(
        self,
        prior: Prior,
        *,
        n_starts: int | None,
        renewed: bool = False,
        start_every_s: float = START_EVERY_S,
        harm: bool = True,
        most_nats: float = math.inf,
    ) -> None:
        self._prior = prior
        self._n_starts = n_starts
        self._renewed = renewed
        self._start_every_s = start_every_s
        self._harm = harm
        self._most_nats = most_nats
        self._bad = 0.0
        self._n = 0.0
        #: h, stable's mean as the past suggests it, strictly between 0 and 1.
        self.baseline = self._believed()
        self.restart()

    def restart(self) -> None:
        """Start again at wealth 1; what is known of stable is kept."""
        self._log_wealth = [-math.inf] * _N_BETS
        self._first_at_s: float | None = None
        self._n_started = 0
        #: The wealth of the start points that are still to come.
        self._waiting = 1.0
        self._evidence: float | None = None

    @property
    def evidence(self) -> float:
        """The e-value, >= 0; 1 before the first block."""
        if self._evidence is None:
            wealth = self._log_wealth
            if max(wealth) > _READ_OUT_NATS:
                wealth = [min(one, _READ_OUT_NATS) for one in wealth]
            self._evidence = sum(map(math.exp, wealth)) / _N_BETS + self._waiting
        return self._evidence

    def observe(self, at_s: float, canary: Outcomes, stable: Outcomes, null: Null) -> None:
        """Bet on one block of outcomes in [0, 1], then learn from it.

        Args:
            at_s: the block's end, seconds, never falling.
            canary: its outcomes, higher = worse.
            stable: the same.
            null: what is tolerated, both sides on the scale of the outcomes.

        A block that lacks the canary, or that lacks stable although `rho0` > 0, changes no wealth.
        """
        n_canary = sum(count for _, count in canary)
        n_stable = sum(count for _, count in stable)
        rho0, delta = null
        if n_canary > 0 and (n_stable > 0 or rho0 == 0.0):
            self.admit_starts(at_s)
            h = self.baseline
            fair, tilt = rho0 * h + delta, rho0 * n_canary / n_stable if rho0 else 0.0
            factors = [(value - fair, count) for value, count in canary if count]
            if tilt:
                factors += [(tilt * (h - value), count) for value, count in stable if count]
            self._bet(factors, self._worst(h, fair, tilt))
        self.learn(n_stable, sum(value * count for value, count in stable))

    def observe_counts(self, at_s: float, canary: Count, stable: Count, null: Null) -> None:
        """The same for answers that are good or bad: each arm is (answers, bad answers)."""
        n_canary, bad_canary = canary
        n_stable, bad_stable = stable
        rho0, delta = null
        if n_canary > 0 and (n_stable > 0 or rho0 == 0.0):
            self.admit_starts(at_s)
            h = self.baseline
            fair, tilt = rho0 * h + delta, rho0 * n_canary / n_stable if rho0 else 0.0
            good_canary, good_stable = n_canary - bad_canary, n_stable - bad_stable
            factors = [(1.0 - fair, bad_canary)] if bad_canary else []
            if good_canary:
                factors.append((-fair, good_canary))
            if tilt and bad_stable:
                factors.append((tilt * (h - 1.0), bad_stable))
            if tilt and good_stable:
                factors.append((tilt * h, good_stable))
            self._bet(factors, self._worst(h, fair, tilt))
        self.learn(n_stable, bad_stable)

    def learn(self, n_stable: float, bad_stable: float) -> None:
        """Update h from answers of stable, `bad_stable` being the sum of their badness; they are past from here on."""
        if n_stable > 0:
            decay = self._prior.decay
            self._bad = decay * self._bad + bad_stable
            self._n = decay * self._n + n_stable
            self.baseline = self._believed()

    def admit_starts(self, at_s: float) -> None:
        """Stake the share of every start point that has come. Wealth not staked yet waits at 1."""
        if self._first_at_s is None:
            self._first_at_s = at_s
        n_after_first = (at_s - self._first_at_s) // self._start_every_s
        if n_after_first < self._n_started:
            return
        due = 1 + int(n_after_first)
        before, now = (share_started(n, self._n_starts, renewed=self._renewed) for n in (self._n_started, due))
        share = now - before
        self._waiting = max(0.0, 1.0 - now)
        if share > 0.0:
            self._log_wealth = [_log_add(wealth, math.log(share)) for wealth in self._log_wealth]
            self._evidence = None
        self._n_started = due

    def _believed(self) -> float:
        prior = self._prior
        return (self._bad + prior.mean * prior.weight) / (self._n + prior.weight)

    def _worst(self, h: float, fair: float, tilt: float) -> float:
        """Return the most that one answer can cost a bet of 1: a good canary's or a bad stable's, or the reverse."""
        canary, stable = (fair, tilt * (1.0 - h)) if self._harm else (1.0 - fair, tilt * h)
        worst = canary if canary > stable else stable  # noqa: FURB136 - max() takes five times as long
        return worst if worst > _LEAST_WORST else _LEAST_WORST  # noqa: FURB136 - as above

    def _bet(self, factors: list[tuple[float, float]], worst: float) -> None:
        most = _MOST_AT_STAKE / worst
        n_possible = bisect_left(BETS, most)
        before = self._log_wealth
        wealth = _raised(before, (BETS if self._harm else _AGAINST)[:n_possible], factors)
        if n_possible < _N_BETS:  # all larger bets are this one
            gain = _gain(most if self._harm else -most, factors)
            wealth += [one + gain for one in before[n_possible:]]
        most_nats = self._most_nats
        if most_nats < math.inf:
            wealth = [one if one < most_nats else most_nats for one in wealth]  # noqa: FURB136 - min() takes five times as long
        self._log_wealth = wealth
        self._evidence = None


def _raised(wealth: Sequence[float], bets: Sequence[float], factors: Sequence[tuple[float, float]]) -> list[float]:
    """Return the wealth of these bets after they gained what they gain.

    Written out for each number of factors: this is most of what the judge costs.
    """
    both = zip(wealth, bets, strict=False)  # the wealth of larger bets is not asked for
    if len(factors) == 2:  # noqa: PLR2004 - see above
        (f, n), (g, m) = factors
        return [one + (n * log1p(bet * f) + m * log1p(bet * g)) for one, bet in both]
    if len(factors) == 3:  # noqa: PLR2004 - as above
        (f, n), (g, m), (h, k) = factors
        return [one + (n * log1p(bet * f) + m * log1p(bet * g) + k * log1p(bet * h)) for one, bet in both]
    if len(factors) == 4:  # noqa: PLR2004 - as above
        (f, n), (g, m), (h, k), (i, j) = factors
        return [
            one + (n * log1p(bet * f) + m * log1p(bet * g) + k * log1p(bet * h) + j * log1p(bet * i))
            for one, bet in both
        ]
    return [one + _gain(bet, factors) for one, bet in both]


def _gain(bet: float, factors: Sequence[tuple[float, float]]) -> float:
    """Return what one bet gains, in nats."""
    gain = 0.0
    for factor, count in factors:
        gain += count * log1p(bet * factor)
    return gain


def planned_starts(max_duration_s: float | None, start_every_s: float = START_EVERY_S) -> int | None:
    """Return how many start points a rollout of this length has after the first; None when it has no end."""
    return None if max_duration_s is None else max(1, math.ceil(max_duration_s / start_every_s))


def share_started(n_points: int, n_starts: int | None, *, renewed: bool = False) -> float:
    """Return the share of wealth staked once `n_points` start points have come: .6 at the first, never more than 1.

    Without a plan point k gets .4 of 1/log(k+e-2) - 1/log(k+e-1), about .4/(k log^2 k), which telescopes to .4 in all.
    With a plan .3 is spread evenly over it and .1 that way, so that a rollout that outlasts its plan still stakes
    something. A renewed plan spreads .3 over each of its lengths, without an end. Source: JUDGE.md 10.1.4 (an even spread
    finds late faults faster, but must not end before the rollout); .6 measured: benchmarks/judge.py (mean delay over the
    information bound 1.63 at most, 1.67 with half).
    """
    if n_points == 0:
        return 0.0
    endless = 1.0 - 1.0 / math.log(n_points - 1 + math.e)
    if n_starts is None:
        return 0.6 + 0.4 * endless
    if renewed:
        return 0.6 + 0.3 * (n_points - 1) / n_starts
    return 0.6 + 0.3 * min(n_points - 1, n_starts) / n_starts + 0.1 * endless


def _log_add(one: float, other: float) -> float:
    """log(exp(one) + exp(other)); `other` is finite."""
    high, low = (one, other) if one > other else (other, one)
    return high + math.log1p(math.exp(low - high))
