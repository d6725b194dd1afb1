"""Draws what the gateway would have counted: ticks of users' requests, and ticks of probes."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from penstock.judge.answers import Answers
from penstock.judge.counts import Measure, PodCounts, Tick
from penstock.judge.pairs import slower_in_pair
from penstock.simulation.latency import STALLED_MS, Latencies, latencies
from penstock.simulation.traffic import (
    BAD_USERS_ERRORS,
    BURST,
    BURST_SHARE,
    DAY_S,
    ERROR_SWING,
    LOAD_SWING,
    LULL,
    STALL_EVERY_S,
    WARM_UP_S,
    WARM_UP_SLOWDOWN,
    Condition,
    Fault,
    Traffic,
)
from penstock.simulation.users import Users

#: Pairs per second at most, and how many recorded requests there are to replay. Source: control/probing.py, mirror/shelf.py.
_MAX_PROBES_HZ, _N_RECORDED = 10.0, 64

#: The longest that a replay waits, seconds. Source: control/probing.py.
_PATIENCE_S = 30.0

#: A limit that leaves no time too short to be told apart: pairs compare them all.
_ALL_MS = 1.0

_Key = TypeVar("_Key", int, str)

_CANARY, _STABLE = True, False
_NUMBERS = {_CANARY: 2, _STABLE: 1}


class Moment(NamedTuple):
    """One tick of users' requests.

    Attributes:
        tick: as the judge gets it.
        n_canary: requests that the canary answered.
        n_failed: of these: failed because of the fault.
    """

    tick: Tick
    n_canary: int
    n_failed: int


class _Stalls:
    """When one pod hangs."""

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        self._stall, self._rng = traffic.stall, rng
        self._from_s = self._to_s = -math.inf
        self._next(0.0)

    def bad_ratio(self, from_s: float, to_s: float) -> float:
        """Return the share of answers that stalls spoil between two times, which never go back."""
        if self._stall is None or to_s <= self._from_s:
            return 0.0
        hung_s = 0.0
        while self._from_s < to_s:
            hung_s += max(0.0, min(to_s, self._to_s) - max(from_s, self._from_s))
            if self._to_s > to_s:
                break
            self._next(self._to_s)
        return self._stall.bad_ratio * hung_s / (to_s - from_s)

    def _next(self, after_s: float) -> None:
        if self._stall is not None:
            self._from_s = after_s + self._rng.exponential(STALL_EVERY_S)
            self._to_s = self._from_s + self._stall.draw_s(self._rng)


class Arrivals:
    """Draws one release's requests; times are seconds since it began, and never go back.

    Args:
        traffic: what is true of the service.
        fault: what is wrong with the canary.
        begins_s: when the fault begins.
        limit_ms: an absolute limit for latency that is judged, or None.
        pair_margin: how much slower a replay on the canary may be than the same on stable, ratio.
        rng: source of chance.
    """

    def __init__(
        self,
        traffic: Traffic,
        fault: Fault,
        *,
        begins_s: float,
        limit_ms: float | None,
        pair_margin: float,
        rng: np.random.Generator,
    ) -> None:
        self.users = Users(traffic, rng)
        self._traffic, self._fault, self._begins_s, self._rng = traffic, fault, begins_s, rng
        self._limit_ms, self._pair_margin = limit_ms, pair_margin
        self._pods = {
            _CANARY: [f"canary-{i + 1}" for i in range(traffic.n_canary_pods)],
            _STABLE: [f"stable-{i + 1}" for i in range(traffic.n_stable_pods)],
        }
        self._stalls = {arm: [_Stalls(traffic, rng) for _ in pods] for arm, pods in self._pods.items()}
        self._hung = {arm: [0.0] * len(pods) for arm, pods in self._pods.items()}
        self._turn, self._free_s = 0, 0.0

    def withdraw(self, at_s: float) -> None:
        """Testing with replays begins."""
        self._turn, self._free_s = 0, at_s

    @property
    def probed(self) -> bool:
        """Whether every recorded request was replayed since the canary was withdrawn."""
        return self._turn >= _N_RECORDED

    def live(self, from_s: float, to_s: float, weight: float) -> Moment:
        """Draw users' requests between two times, `weight` (0..1) being the canary's."""
        for arm, stalls in self._stalls.items():
            self._hung[arm] = [stall.bad_ratio(from_s, to_s) for stall in stalls]
        requests = self._traffic.rate_hz * self._load(from_s) * (to_s - from_s)
        share = self.users.share(weight)
        bad_canary, bad_stable = self.users.bad_shares(weight)
        canary, n_failed = self._arm(_CANARY, from_s, requests * share, bad_canary)
        stable, _ = self._arm(_STABLE, from_s, requests * (1.0 - share), bad_stable)
        n_canary = sum(counts.n for counts in canary)
        self.users.meet(weight, n_canary)
        return Moment(Tick(to_s, canary, stable), n_canary, n_failed)

    def probes(self, from_s: float, to_s: float, weight: float) -> Tick:
        """Draw the pairs of replays that fit into a tick after its users' requests, one after the other.

        `weight` (0..1) is the canary's at its step: among its users are those who fail often.
        """
        totals: dict[tuple[bool, str], list[Answers]] = {}
        slower: dict[str, list[bool]] = {}
        bad_users, _ = self.users.bad_shares(weight)
        self._free_s = max(self._free_s, from_s)
        while self._free_s < to_s:
            pair = [self._replay(arm, self._free_s, bad_users) for arm in (_CANARY, _STABLE)]
            for answer in pair:
                totals.setdefault((answer.canary, answer.pod), []).append(answer)
            if compared := slower_in_pair(tuple(pair), self._pair_margin):
                slower.setdefault(compared[0], []).append(compared[1])
            took_s = max(max(answer.latency_ms) for answer in pair) / 1000.0
            self._free_s += min(_PATIENCE_S, max(took_s, 1.0 / _MAX_PROBES_HZ))
            self._turn += 1
        measures = tuple(Measure("latency_pairs", True, pod, len(some), sum(some)) for pod, some in slower.items())
        arms = {arm: tuple(_summed(key, some) for key, some in totals.items() if key[0] is arm) for arm in _NUMBERS}
        return Tick(to_s, arms[_CANARY], arms[_STABLE], probes=True, measures=measures)

    def _load(self, at_s: float) -> float:
        conditions = self._traffic.conditions
        load = 1.0
        if Condition.DAY in conditions:
            load += LOAD_SWING * math.sin(2.0 * math.pi * at_s / DAY_S)
        if Condition.BURSTS in conditions:
            load *= BURST if self._rng.random() < BURST_SHARE else LULL
        return load

    def _arm(
        self, arm: bool, from_s: float, requests: float, bad_users: float
    ) -> tuple[tuple[PodCounts, ...], int]:
        """Return the pods' counts, and how many requests failed because of the fault."""
        pods = self._pods[arm]
        chances, times = self._chances(arm, from_s, bad_users), self._times(arm, from_s, self._limit_ms)
        answers, n_failed = [], 0
        numbers = self._rng.poisson(requests / len(pods), len(pods)).tolist()
        for pod, hung, n in zip(pods, self._hung[arm], numbers, strict=True):
            if n:
                counts, failed = self._pod(arm, pod, n, (hung, *chances), times)
                answers.append(counts)
                n_failed += failed
        return tuple(answers), n_failed

    def _pod(
        self, arm: bool, pod: str, n: int, chances: tuple[float, float, float, float], times: Latencies
    ) -> tuple[PodCounts, int]:
        """Draw `n` answers of a pod: hung, else failing as usual, else failing by the fault, else silent."""
        left, fell = n, []
        for chance in chances:
            fell.append(int(self._rng.binomial(left, chance)) if chance else 0)
            left -= fell[-1]
        hung, usual, at_fault, silent = fell
        bins = times.draw(self._rng, n - hung)
        if hung:
            bins[STALLED_MS] = bins.get(STALLED_MS, 0) + hung
        faults = {"silence": silent} if silent else {}
        counts = PodCounts(_NUMBERS[arm], pod, n, hung + usual + at_fault, faults=faults, latency_ms=bins)
        return counts, at_fault + silent

    def _replay(self, arm: bool, at_s: float, bad_users: float) -> Answers:
        """Draw one replayed request's answer."""
        index = self._turn % len(self._pods[arm])
        chances = (self._hung[arm][index], *self._chances(arm, at_s, bad_users))
        times = self._times(arm, at_s, _ALL_MS)
        counts, _ = self._pod(arm, self._pods[arm][index], 1, chances, times)
        return Answers(arm, counts.pod, 1, counts.errors, 0, counts.faults, counts.latency_ms)

    def _chances(self, arm: bool, at_s: float, bad_users: float) -> tuple[float, float, float]:
        """Return the chances to fail as usual, to fail by the fault where it did not, and to be silent where neither."""
        base = self._traffic.errors_ratio
        if Condition.DAY in self._traffic.conditions:
            base *= 1.0 + ERROR_SWING * math.sin(2.0 * math.pi * at_s / DAY_S)
        usual = 1.0 - (1.0 - base) * (1.0 - BAD_USERS_ERRORS * bad_users)
        fault = self._fault
        if not arm or not fault.shows(at_s - self._begins_s):
            return usual, 0.0, 0.0
        wanted = fault.errors_ratio or 0.0
        return usual, max(0.0, wanted - base) / (1.0 - base), fault.silence_ratio

    def _times(self, arm: bool, at_s: float, limit_ms: float | None) -> Latencies:
        return latencies(self._traffic.p95_ms, self._slowdown(arm, at_s), limit_ms)

    def _slowdown(self, arm: bool, at_s: float) -> float:
        if not arm:
            return 1.0
        slowdown = self._fault.slowdown if self._fault.shows(at_s - self._begins_s) else 1.0
        warming_up = Condition.WARM_UP in self._traffic.conditions and at_s < WARM_UP_S
        return slowdown * WARM_UP_SLOWDOWN if warming_up else slowdown


def _summed(key: tuple[bool, str], answers: list[Answers]) -> PodCounts:
    canary, pod = key
    return PodCounts(
        _NUMBERS[canary],
        pod,
        len(answers),
        sum(answer.errors for answer in answers),
        faults=_added(answer.faults for answer in answers),
        latency_ms=_added(answer.latency_ms for answer in answers),
    )


def _added(counts: Iterable[Mapping[_Key, int]]) -> dict[_Key, int]:
    total: dict[_Key, int] = {}
    for one in counts:
        for key, count in one.items():
            total[key] = total.get(key, 0) + count
    return total
