"""Events without a denominator: crashes, restarts, out-of-memory kills, against the time that was watched.

Null hypothesis, in every block, rates per second of exposure:  rate_c <= rho0 * rate_b + delta
Wealth of one bet lam, for k events in exposure T:

    log e(lam) = k_c log1p(lam) + k_b log1p(-lam rho0 T_c / T_b) - lam delta T_c

Proof: for Poisson counts E (1 + x)^k = exp(x rate T), so E e(lam) = exp(lam T_c (rate_c - rho0 rate_b - delta)) <= 1 under
the null. A count of at most one event per block is Bernoulli, for which 1 + x p <= exp(x p) gives the same inequality, so
capped counts are valid too. No guess of stable's rate is needed: it cancels exactly. Source: JUDGE.md 2 "Poisson form".
"""

import math

from penstock.judge.betting import BETS, BettingProcess, Prior

#: No bet may cost more than this share of its wealth per event of stable. Source: as in betting.
_MOST_AT_STAKE = 0.95

#: The betting process only lends its wealth, start points and read-out here; its guess of stable is not used.
_NO_PRIOR = Prior(0.5, 1.0, 1.0)


class PoissonProcess(BettingProcess):
    """Wealth that the canary has more events per second than tolerated."""

    __slots__ = ()

    def __init__(self, *, n_starts: int | None) -> None:
        super().__init__(_NO_PRIOR, n_starts=n_starts)

    def observe_events(
        self, at_s: float, canary: tuple[int, float], stable: tuple[int, float], *, rho0: float, delta_hz: float
    ) -> None:
        """Bet on one block.

        Args:
            at_s: the block's end, seconds, never falling.
            canary: (events, exposure in seconds); its exposure is the sum over its pods.
            stable: the same; ignored where `rho0` is 0.
            rho0: tolerated multiple of stable's rate.
            delta_hz: tolerated rate on top, events per second.

        A block in which the canary, or stable where it counts, was not watched changes nothing.
        """
        n_canary, canary_s = canary
        n_stable, stable_s = stable
        if canary_s <= 0.0 or (rho0 > 0.0 and stable_s <= 0.0):
            return
        self.admit_starts(at_s)
        tilt = rho0 * canary_s / stable_s if rho0 else 0.0
        for index, wanted in enumerate(BETS):
            bet = min(wanted, _MOST_AT_STAKE / tilt) if tilt else wanted
            gain = n_canary * math.log1p(bet) - bet * delta_hz * canary_s
            if tilt:
                gain += n_stable * math.log1p(-bet * tilt)
            self._log_wealth[index] += gain
        self._evidence = None
