"""Many betting processes at once, in numpy: the same arithmetic as `betting`, one row per stream.

For thousands of services, for margin grids and for simulations; a single stream is faster in plain Python.
"""

import numpy as np
from numpy.typing import NDArray

from penstock.judge.betting import BETS, START_EVERY_S, Prior, share_started

_MOST_AT_STAKE = 0.95
_READ_OUT_NATS = 60.0
_BETS = np.array(BETS)

Floats = NDArray[np.float64]


class BettingBatch:
    """`n_streams` independent processes that share a clock and a schedule of start points.

    Args:
        prior: what is believed of stable before it answered, the same for all streams.
        n_streams: how many.
        n_starts: as in BettingProcess.
        renewed: as in BettingProcess.
        start_every_s: as in BettingProcess.
        harm: as in BettingProcess.
        most_nats: as in BettingProcess.

    State per stream: 11 wealths, two sums, a start time and a count, 8 bytes each: 120 bytes.
    """

    def __init__(
        self,
        prior: Prior,
        n_streams: int,
        *,
        n_starts: int | None,
        renewed: bool = False,
        start_every_s: float = START_EVERY_S,
        harm: bool = True,
        most_nats: float = np.inf,
    ) -> None:
        self._prior = prior
        self._n_starts = n_starts
        self._renewed = renewed
        self._start_every_s = start_every_s
        self._sign = 1.0 if harm else -1.0
        self._most_nats = most_nats
        self._bad = np.zeros(n_streams)
        self._n = np.zeros(n_streams)
        self._log_wealth = np.full((n_streams, len(BETS)), -np.inf)
        self._first_at_s = np.full(n_streams, np.nan)
        self._n_started = np.zeros(n_streams, dtype=np.int64)

    @property
    def baseline(self) -> Floats:
        """Stable's mean as the past suggests it, shape (n_streams,)."""
        prior = self._prior
        return (self._bad + prior.mean * prior.weight) / (self._n + prior.weight)

    @property
    def evidence(self) -> Floats:
        """The e-values, shape (n_streams,)."""
        waiting = np.maximum(0.0, 1.0 - self._shares(self._n_started))
        read_out: Floats = np.exp(np.minimum(self._log_wealth, _READ_OUT_NATS)).mean(axis=1)
        return read_out + waiting

    @property
    def nbytes(self) -> int:
        """Bytes of state, all streams together."""
        arrays = (self._bad, self._n, self._log_wealth, self._first_at_s, self._n_started)
        return sum(array.nbytes for array in arrays)

    def restart(self, which: NDArray[np.bool_]) -> None:
        """Start the chosen streams again at wealth 1; what is known of stable is kept."""
        self._log_wealth[which] = -np.inf
        self._first_at_s[which] = np.nan
        self._n_started[which] = 0

    def observe(
        self,
        at_s: float,
        canary: Floats,
        stable: Floats,
        *,
        rho0: Floats | float,
        delta: Floats | float,
        which: NDArray[np.bool_] | None = None,
    ) -> None:
        """Bet on one block of good and bad answers per stream, then learn from it.

        Args:
            at_s: the block's end, seconds, never falling.
            canary: shape (n_streams, 2): answers, and the sum of their badness. Scores are spread over good and bad
                answers, which never gains more than betting on each (the logarithm is concave).
            stable: the same.
            rho0: what is tolerated, as in Null; one for all, or shape (n_streams,).
            delta: the same.
            which: the streams whose block is over; all by default. The others' counts are not looked at.
        """
        rho0, delta = (np.broadcast_to(np.asarray(one, dtype=float), self._n.shape) for one in (rho0, delta))
        chosen = np.ones(len(self._n), dtype=bool) if which is None else which
        bets = chosen & (canary[:, 0] > 0) & ((stable[:, 0] > 0) | (rho0 == 0.0))
        rows = np.flatnonzero(bets)
        if rows.size:
            self._admit_starts(at_s, rows)
            self._bet(rows, canary[rows], stable[rows], rho0[rows], delta[rows])
        learns = chosen & (stable[:, 0] > 0)
        decay = self._prior.decay
        self._bad[learns] = decay * self._bad[learns] + stable[learns, 1]
        self._n[learns] = decay * self._n[learns] + stable[learns, 0]

    def observe_values(
        self, at_s: float, rows: NDArray[np.int64], canary: Floats, stable: Floats, *, rho0: float, delta: Floats
    ) -> None:
        """Bet on one block of outcomes in [0, 1] of the streams `rows`, then learn from it.

        Args:
            at_s: the block's end.
            rows: indices of streams.
            canary: outcomes, shape (len(rows), most); NaN where there are fewer.
            stable: the same.
            rho0: what is tolerated, > 0.
            delta: shape (len(rows),).
        """
        self._admit_starts(at_s, rows)
        h = self.baseline[rows]
        n_canary, n_stable = ((~np.isnan(values)).sum(axis=1) for values in (canary, stable))
        fair, tilt = rho0 * h + delta, rho0 * n_canary / n_stable
        worst = np.maximum(fair, tilt * (1 - h)) if self._sign > 0 else np.maximum(1 - fair, tilt * h)
        bet = self._sign * np.minimum(_BETS, (_MOST_AT_STAKE / np.maximum(worst, 1e-12))[:, None])
        factors = np.concatenate([canary - fair[:, None], tilt[:, None] * (h[:, None] - stable)], axis=1)
        gain = np.log1p(bet[:, :, None] * np.nan_to_num(factors)[:, None, :]).sum(axis=2)
        self._log_wealth[rows] = np.minimum(self._log_wealth[rows] + gain, self._most_nats)
        decay = self._prior.decay
        self._bad[rows] = decay * self._bad[rows] + np.nansum(stable, axis=1)
        self._n[rows] = decay * self._n[rows] + n_stable

    def _bet(self, rows: NDArray[np.int64], canary: Floats, stable: Floats, rho0: Floats, delta: Floats) -> None:
        h = self.baseline[rows]
        n_canary, bad_canary = canary.T
        n_stable, bad_stable = stable.T
        fair = rho0 * h + delta
        tilt = np.divide(rho0 * n_canary, n_stable, out=np.zeros(len(rows)), where=(rho0 > 0) & (n_stable > 0))
        worst = np.maximum(fair, tilt * (1 - h)) if self._sign > 0 else np.maximum(1 - fair, tilt * h)
        bet = self._sign * np.minimum(_BETS, (_MOST_AT_STAKE / np.maximum(worst, 1e-12))[:, None])
        factors = np.stack([1 - fair, -fair, tilt * (h - 1), tilt * h])
        counts = np.stack([bad_canary, n_canary - bad_canary, bad_stable, n_stable - bad_stable])
        gain = np.zeros_like(bet)
        for factor, count in zip(factors, counts, strict=True):
            there = np.flatnonzero(count)
            if there.size == len(
                count
            ):  # nearly always so for good answers, and picking rows costs as much as the bets
                gain += count[:, None] * np.log1p(bet * factor[:, None])
            else:
                gain[there] += count[there, None] * np.log1p(bet[there] * factor[there, None])
        if rows.size == len(self._n):
            rows = slice(None)  # type: ignore[assignment]  # all of them, without picking
        self._log_wealth[rows] = np.minimum(self._log_wealth[rows] + gain, self._most_nats)

    def _admit_starts(self, at_s: float, rows: NDArray[np.int64]) -> None:
        first = self._first_at_s[rows]
        self._first_at_s[rows] = np.where(np.isnan(first), at_s, first)
        due = 1 + ((at_s - self._first_at_s[rows]) // self._start_every_s).astype(np.int64)
        late = rows[due > self._n_started[rows]]
        if late.size:
            due = due[due > self._n_started[rows]]
            share = self._shares(due) - self._shares(self._n_started[late])
            self._log_wealth[late] = np.logaddexp(self._log_wealth[late], np.log(share)[:, None])
            self._n_started[late] = due

    def _shares(self, n_points: NDArray[np.int64]) -> Floats:
        values, where = np.unique(n_points, return_inverse=True)
        return np.array([share_started(int(value), self._n_starts, renewed=self._renewed) for value in values])[where]
