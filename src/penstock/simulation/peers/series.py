"""What every peer is shown: counts of many simulated releases, tick by tick, and the windows that peers cut from them.

No rule of a peer may live here.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

#: In place of a tick: the release was never rolled back.
NEVER = -1


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Cumulative counts of R simulated releases over T ticks, of one metric.

    Every array has shape (R, T); entry [r, i] counts from release r's start to the end of tick i, that is to
    (i + 1) * tick_s seconds, so rows never decrease. "Bad" is whatever the metric holds against an answer: an error, or
    being slower than a threshold ("p95 <= 800 ms" and "at most 5 % slower than 800 ms" are the same question).

    Attributes:
        n_canary: the canary's answers, >= 0.
        bad_canary: of these the bad ones, 0..n_canary.
        n_stable: stable's answers during the same ticks, >= 0.
        bad_stable: of these the bad ones, 0..n_stable.
        tick_s: seconds a tick lasts, > 0.
    """

    n_canary: Ints
    bad_canary: Ints
    n_stable: Ints
    bad_stable: Ints
    tick_s: float

    def __post_init__(self) -> None:
        shape = self.n_canary.shape
        if len(shape) != 2 or any(  # noqa: PLR2004 - releases and ticks
            counts.shape != shape for counts in (self.bad_canary, self.n_stable, self.bad_stable)
        ):
            raise ValueError("counts are four arrays of one shape: releases, ticks")

    @property
    def n_releases(self) -> int:
        """R."""
        return int(self.n_canary.shape[0])

    @property
    def n_ticks(self) -> int:
        """T."""
        return int(self.n_canary.shape[1])

    def whole_ticks(self, seconds: float) -> int:
        """Return how many ticks these seconds are; ValueError unless a whole number, at least 1."""
        n = round(seconds / self.tick_s)
        if n < 1 or abs(n * self.tick_s - seconds) > 1e-6 * seconds:
            raise ValueError(f"{seconds:g} s are not a whole number of ticks of {self.tick_s:g} s")
        return n

    def looks(self, every_s: float) -> Ints:
        """Return the ticks, shape (looks,), at whose ends 1, 2, 3 ... times `every_s` have passed."""
        every = self.whole_ticks(every_s)
        return np.arange(every - 1, self.n_ticks, every, dtype=np.int64)


def since(cumulative: Ints, ends: Ints, window: int) -> Ints:
    """Return what was counted in the last `window` ticks up to the end of each tick in `ends`, or since the start.

    `cumulative` has shape (R, T), `ends` (K,) with entries 0..T-1; the answer has shape (R, K).
    """
    from_start = np.concatenate([np.zeros((len(cumulative), 1), dtype=np.int64), cumulative], axis=1)
    counted: Ints = from_start[:, ends + 1] - from_start[:, np.maximum(ends + 1 - window, 0)]
    return counted


def shares(bad: Ints, n: Ints) -> Floats:
    """Return bad / n, NaN where nothing was counted: there a peer's query has no value."""
    ratios: Floats = np.divide(bad, n, out=np.full(n.shape, np.nan), where=n > 0)
    return ratios


def first_look(fired: Flags, looks: Ints) -> Ints:
    """Return the tick, shape (R,), of the first look that fired, NEVER where none did; `fired` has shape (R, looks)."""
    if not looks.size:
        return np.full(len(fired), NEVER, dtype=np.int64)
    return np.where(fired.any(axis=1), looks[fired.argmax(axis=1)], NEVER)
