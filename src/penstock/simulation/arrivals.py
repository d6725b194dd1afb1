"""Draws what the gateway would have counted: ticks of users' requests, and ticks of probes."""

import math
from typing import NamedTuple

import numpy as np

from penstock.judge.counts import PodCounts, Tick
from penstock.simulation.latency import latencies
from penstock.simulation.probes import Arm, Chances, Prober
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
        if self._stall is None:
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
        self.prober = Prober(pair_margin, rng)
        self._traffic, self._fault, self._begins_s, self._rng = traffic, fault, begins_s, rng
        self._limit_ms = limit_ms
        self._pods = {
            _CANARY: [f"canary-{i + 1}" for i in range(traffic.n_canary_pods)],
            _STABLE: [f"stable-{i + 1}" for i in range(traffic.n_stable_pods)],
        }
        self._stalls = {arm: [_Stalls(traffic, rng) for _ in pods] for arm, pods in self._pods.items()}
        self._hung = {arm: [0.0] * len(pods) for arm, pods in self._pods.items()}

    def live(self, from_s: float, to_s: float, weight: float) -> Moment:
        """Draw users' requests between two times, `weight` (0..1) being the canary's."""
        for arm, stalls in self._stalls.items():
            self._hung[arm] = [stall.bad_ratio(from_s, to_s) for stall in stalls]
        requests = self._traffic.rate_hz * self._load(from_s) * (to_s - from_s)
        share = self.users.share(weight)
        canary, n_failed = self._answers(self._arm(_CANARY, from_s, weight), requests * share)
        stable, _ = self._answers(self._arm(_STABLE, from_s, weight), requests * (1.0 - share))
        n_canary = sum(counts.n for counts in canary)
        self.users.meet(weight, n_canary)
        return Moment(Tick(to_s, canary, stable), n_canary, n_failed)

    def probes(self, from_s: float, to_s: float, weight: float) -> Tick:
        """Draw the replays of a tick, after its users' requests; `weight` (0..1) is the canary's at its step."""
        canary, stable = (self._arm(arm, from_s, weight) for arm in (_CANARY, _STABLE))
        return self.prober.pairs(from_s, to_s, canary, stable)

    def _load(self, at_s: float) -> float:
        conditions = self._traffic.conditions
        load = 1.0
        if Condition.DAY in conditions:
            load += LOAD_SWING * math.sin(2.0 * math.pi * at_s / DAY_S)
        if Condition.BURSTS in conditions:
            load *= BURST if self._rng.random() < BURST_SHARE else LULL
        return load

    def _answers(self, arm: Arm, requests: float) -> tuple[tuple[PodCounts, ...], int]:
        """Return the pods' counts, and how many requests failed because of the fault."""
        answers, n_failed = [], 0
        numbers = self._rng.poisson(requests / len(arm.pods), len(arm.pods)).tolist()
        for pod, hung, n in zip(arm.pods, arm.hung, numbers, strict=True):
            if n:
                counts, failed = self._pod(arm, pod, hung, n)
                answers.append(counts)
                n_failed += failed
        return tuple(answers), n_failed

    def _pod(self, arm: Arm, pod: str, hung_ratio: float, n: int) -> tuple[PodCounts, int]:
        """Draw `n` answers of a pod."""
        left, fell = n, []
        for chance in (hung_ratio, *arm.chances):
            fell.append(int(self._rng.binomial(left, chance)) if chance else 0)
            left -= fell[-1]
        hung, usual, at_fault, silent = fell
        bins = arm.times.draw(self._rng, n - hung)
        if hung:
            bins[arm.times.stalled_ms] = bins.get(arm.times.stalled_ms, 0) + hung
        faults = {"silence": silent} if silent else {}
        counts = PodCounts(arm.number, pod, n, hung + usual + at_fault, faults=faults, latency_ms=bins)
        return counts, at_fault + silent

    def _arm(self, canary: bool, at_s: float, weight: float) -> Arm:
        bad_users = self.users.bad_shares(weight)[0 if canary else 1]
        chances = self._chances(at_s, bad_users, canary=canary)
        times = latencies(self._traffic.p95_ms, self._slowdown(at_s) if canary else 1.0, self._limit_ms)
        return Arm(_NUMBERS[canary], self._pods[canary], self._hung[canary], chances, times)

    def _chances(self, at_s: float, bad_users: float, *, canary: bool) -> Chances:
        base = self._traffic.errors_ratio
        if Condition.DAY in self._traffic.conditions:
            base *= 1.0 + ERROR_SWING * math.sin(2.0 * math.pi * at_s / DAY_S)
        usual = 1.0 - (1.0 - base) * (1.0 - BAD_USERS_ERRORS * bad_users)
        fault = self._fault
        if not canary or not fault.shows(at_s - self._begins_s):
            return Chances(usual, 0.0, 0.0)
        wanted = fault.errors_ratio or 0.0
        return Chances(usual, max(0.0, wanted - base) / (1.0 - base), fault.silence_ratio)

    def _slowdown(self, at_s: float) -> float:
        """Return the canary's latency as a multiple of stable's."""
        slowdown = self._fault.slowdown if self._fault.shows(at_s - self._begins_s) else 1.0
        warming_up = Condition.WARM_UP in self._traffic.conditions and at_s < WARM_UP_S
        return slowdown * WARM_UP_SLOWDOWN if warming_up else slowdown
