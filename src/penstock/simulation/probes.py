"""Draws what a prober would have seen of a withdrawn canary: pairs of replays, one after the other."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.judge.counts import Measure, PodCounts, Tick
from penstock.judge.edges import edge_at_least
from penstock.simulation.latency import Latencies

#: Pairs per second at most, how many recorded requests there are, and the time after which a replay has failed.
#: Source: control/probing.py, mirror/shelf.py.
_MAX_HZ, _N_RECORDED, _PATIENCE_MS = 10.0, 64, 30_000


class Chances(NamedTuple):
    """What may become of one request, in this order: it fails as usual, else by the fault, else it is silent; 0..1."""

    usual: float
    at_fault: float
    silent: float


class Arm(NamedTuple):
    """One arm during one tick.

    Attributes:
        number: of its release.
        pods: names.
        hung: of each pod, the share of answers that a stall spoils, 0..1.
        chances: of one request.
        times: latencies of what is not spoilt.
    """

    number: int
    pods: list[str]
    hung: list[float]
    chances: Chances
    times: Latencies


class Prober:
    """Replays recorded requests in pairs, like control/probing.py: the next pair starts when the slower replay is back.

    Times of the two are drawn apart. In service a long text is slow on both, so that less evidence is found here.

    Args:
        margin: how much slower a replay on the canary may be than the same on stable, ratio.
        rng: source of chance.
    """

    def __init__(self, margin: float, rng: np.random.Generator) -> None:
        self._margin, self._rng = margin, rng
        self._turn, self._free_s = 0, 0.0

    @property
    def has_gone_round(self) -> bool:
        """Whether every recorded request was replayed since the canary was withdrawn."""
        return self._turn >= _N_RECORDED

    def begin(self, at_s: float) -> None:
        """The canary was withdrawn."""
        self._turn, self._free_s = 0, at_s

    def pairs(self, from_s: float, to_s: float, canary: Arm, stable: Arm) -> Tick:
        """Return the pairs that start between two times, as one tick with no counts where none does."""
        self._free_s = max(self._free_s, from_s)
        if self._free_s >= to_s:
            return Tick(to_s, (), (), probes=True)
        n_most = int((to_s - self._free_s) * _MAX_HZ) + 2
        of_canary, of_stable = (self._replays(arm, n_most) for arm in (canary, stable))
        took_s = np.clip(np.maximum(of_canary[2], of_stable[2]), 1000.0 / _MAX_HZ, _PATIENCE_MS) / 1000.0
        ends_s = self._free_s + np.cumsum(took_s)
        n = int(np.searchsorted(ends_s - took_s, to_s, side="left"))
        limits_ms = [slow_from(lower_ms, self._margin) for lower_ms in of_stable[2][:n].tolist()]
        slower = of_canary[2][:n] >= np.array(limits_ms)
        turns = self._turn + np.arange(n)
        self._turn, self._free_s = self._turn + n, float(ends_s[n - 1])
        measures = []
        for index, pod in enumerate(canary.pods):
            own = slower[turns % len(canary.pods) == index]
            if own.size:
                measures.append(Measure("latency_pairs", True, pod, own.size, int(own.sum())))
        return Tick(
            to_s,
            _counts(canary, turns, of_canary, n),
            _counts(stable, turns, of_stable, n),
            probes=True,
            measures=tuple(measures),
        )

    def _replays(self, arm: Arm, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
        """Return of `n` replays: whether each failed, whether it is silent, and its bin, milliseconds."""
        rng, chances = self._rng, arm.chances
        pods = (self._turn + np.arange(n)) % len(arm.pods)
        hung = rng.random(n) < np.array(arm.hung)[pods]
        times_ms = np.where(hung, arm.times.stalled_ms, arm.times.draw_each(rng, n))
        fails = 1.0 - (1.0 - chances.usual) * (1.0 - chances.at_fault)
        failed = hung | (times_ms > _PATIENCE_MS) | (rng.random(n) < fails)
        silent = ~failed & (rng.random(n) < chances.silent)
        return failed, silent, times_ms


def _counts(
    arm: Arm,
    turns: NDArray[np.int64],
    drawn: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]],
    n: int,
) -> tuple[PodCounts, ...]:
    """Return the first `n` replays by pod."""
    failed, silent, times_ms = (one[:n] for one in drawn)
    counted = []
    for index, pod in enumerate(arm.pods):
        own = turns % len(arm.pods) == index
        if own.any():
            bins: dict[int, int] = {}
            for edge in times_ms[own].tolist():
                bins[edge] = bins.get(edge, 0) + 1
            n_silent = int(silent[own].sum())
            faults = {"silence": n_silent} if n_silent else {}
            n_own, n_failed = int(own.sum()), int(failed[own].sum())
            counted.append(PodCounts(arm.number, pod, n_own, n_failed, faults=faults, latency_ms=bins))
    return tuple(counted)


@lru_cache(maxsize=10_000)
def slow_from(lower_ms: int, margin: float) -> int:
    """Return where the canary's bins begin to be slower than stable's bin, milliseconds; as judge/pairs.py has it."""
    return edge_at_least(edge_at_least(lower_ms + 1) * (1.0 + margin))
