"""Who sends the requests: Zipf users in sticky buckets, as the gateway splits them."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from penstock.simulation.traffic import BAD_USERS_RATIO, ZIPF, Condition, Traffic


@lru_cache(maxsize=4)
def _activity(n_users: int) -> NDArray[np.float64]:
    """Return the users' shares of all requests, most active first, shape (n_users,); they sum to 1."""
    shares = np.power(np.arange(1.0, n_users + 1.0), -ZIPF)
    return np.asarray(shares / shares.sum(), dtype=np.float64)


class Users:
    """One release's users. A growing weight only adds to the canary's.

    Args:
        traffic: how many there are, and whether some of them fail often.
        rng: source of chance.
    """

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        n = traffic.n_users
        #: In the order of their buckets: the first `weight * n` users are the canary's.
        self._shares = _activity(n)[rng.permutation(n)]
        bad = np.zeros(n)
        if Condition.BAD_USERS in traffic.conditions:
            bad[rng.random(n) < BAD_USERS_RATIO] = 1.0
        self._until = np.concatenate(([0.0], np.cumsum(self._shares)))
        self._until[-1] = 1.0  # sums of fractions do not end there by themselves
        self._bad_until = np.concatenate(([0.0], np.cumsum(self._shares * bad)))
        self._met: dict[int, int] = {}

    def n_of(self, weight: float) -> int:
        """Return how many users are the canary's at a weight, 0..1."""
        return round(weight * len(self._shares))

    def share(self, weight: float) -> float:
        """Return the share of requests that the canary's users send, 0..1; heavy users make it differ from the weight."""
        return float(self._until[self.n_of(weight)])

    def bad_shares(self, weight: float) -> tuple[float, float]:
        """Return the share of requests from users who fail often, within the canary's and within stable's."""
        bad, share = float(self._bad_until[self.n_of(weight)]), self.share(weight)
        rest = float(self._bad_until[-1]) - bad
        return bad / share if share else 0.0, rest / (1.0 - share) if share < 1.0 else 0.0

    def meet(self, weight: float, n_requests: int) -> None:
        """Note that the canary answered requests at this weight."""
        n = self.n_of(weight)
        self._met[n] = self._met.get(n, 0) + n_requests

    def forget(self) -> None:
        """Nobody has met the canary yet."""
        self._met.clear()

    def n_met(self, rng: np.random.Generator) -> int:
        """Return how many users have met the canary: each request is drawn to one of those who could have sent it."""
        met = np.zeros(len(self._shares), dtype=bool)
        for n, n_requests in self._met.items():
            if n and n_requests:
                shares = self._shares[:n] / self._until[n]
                met[:n] |= rng.multinomial(n_requests, shares / shares.sum()) > 0
        return int(met.sum())
