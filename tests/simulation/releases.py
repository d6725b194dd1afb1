"""Small random releases for the tests of the peers' rules."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from penstock.simulation.peers.series import Counts, Ints


@dataclass(frozen=True)
class Traffic:
    """Increments per release and tick, shape (R, T), and the same as cumulative counts."""

    n_canary: Ints
    bad_canary: Ints
    n_stable: Ints
    bad_stable: Ints
    tick_s: float

    @property
    def counts(self) -> Counts:
        arms = (self.n_canary, self.bad_canary, self.n_stable, self.bad_stable)
        return Counts(*(np.cumsum(arm, axis=1) for arm in arms), tick_s=self.tick_s)

    def share(self, release: int, tick: int, window: int) -> float | None:
        """The canary's bad share in the window that ends with this tick."""
        span = slice(max(0, tick + 1 - window), tick + 1)
        n = int(self.n_canary[release, span].sum())
        return int(self.bad_canary[release, span].sum()) / n if n else None


def drawn(seed: int, *, n_releases: int, n_ticks: int, tick_s: float, rate: float, bad: float) -> Traffic:
    """Requests per tick on the canary, ten times as many on stable; a canary's bad share is up to twice stable's."""
    rng = np.random.default_rng(seed)
    shape = (n_releases, n_ticks)
    n_canary, n_stable = rng.poisson(rate, shape), rng.poisson(10 * rate, shape)
    canary_bad = np.minimum(bad * rng.uniform(0.5, 2.0, (n_releases, 1)), 1.0)
    return Traffic(n_canary, rng.binomial(n_canary, canary_bad), n_stable, rng.binomial(n_stable, bad), tick_s)


#: From no request in most windows to several in each tick.
traffic = st.builds(
    drawn,
    seed=st.integers(0, 2**32 - 1),
    n_releases=st.integers(1, 4),
    n_ticks=st.integers(1, 120),
    tick_s=st.sampled_from([5.0, 10.0]),
    rate=st.sampled_from([0.02, 0.1, 0.5, 3.0]),
    bad=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
)
