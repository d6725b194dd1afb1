"""A simulated service for the judge's tests: pods, traffic, faults, stalls. Seeded, one tick a second.

The canary is withdrawn and restored as JUDGE.md 10.6 says, since withdrawal changes what the judge sees.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from penstock.judge.counts import PodCounts, Tick
from penstock.judge.judge import Judge
from penstock.judge.limits import Limits
from penstock.judge.presets import limits_for
from penstock.judge.verdict import Verdict, Word

#: Seconds a stall lasts, and the share of requests that fail meanwhile.
Stall = tuple[Callable[[np.random.Generator], float], float]
GEO10: Stall = (lambda rng: float(rng.exponential(10.0)), 0.6)
U60: Stall = (lambda rng: float(rng.uniform(5.0, 60.0)), 1.0)

_POOL = 20_000
_SECONDS_BETWEEN_STALLS = 600.0


def binned(latency_ms: np.ndarray) -> np.ndarray:
    """Lower edges of two significant digits."""
    whole = np.floor(latency_ms).astype(int)
    step = 10 ** np.maximum(0, np.floor(np.log10(np.maximum(whole, 1))).astype(int) - 1)
    return whole // step * step


@dataclass(frozen=True)
class World:
    """What is true. Latency is lognormal with a p95 of about 455 ms on stable."""

    n_canary: int = 1
    n_stable: int = 1
    rate_hz: float = 50.0
    weight: float = 0.1
    errors: float = 0.002
    canary_errors: Callable[[int], float] | None = None
    slowdown: float = 1.0
    faults: float = 0.0
    stall: Stall | None = None
    seconds: int = 3600
    limits: Limits = field(default_factory=limits_for)
    #: Over all canary pods; stable's pods get as many each. JUDGE.md 10.6: the former rate, at most 10/s.
    probes_hz: float = 5.0


@dataclass
class Run:
    """What happened to one release."""

    verdict: Verdict
    first_alarm_s: int | None = None
    n_canary_at_alarm: int | None = None
    harmful_s: int | None = None
    n_alarms: int = 0
    withdrawn_s: int = 0


def stalled(rng: np.random.Generator, stall: Stall | None, n_pods: int, seconds: int) -> np.ndarray:
    """Share of requests that a stall fails, per second and pod."""
    share = np.zeros((seconds, n_pods))
    if stall is None:
        return share
    for pod in range(n_pods):
        at = rng.exponential(_SECONDS_BETWEEN_STALLS)
        while at < seconds:
            lasts = stall[0](rng)
            share[int(at) : int(at + lasts) + 1, pod] = stall[1]
            at += lasts + rng.exponential(_SECONDS_BETWEEN_STALLS)
    return share


class Traffic:
    """Draws ticks."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._latency = binned(rng.lognormal(np.log(200.0), 0.5, _POOL))
        self._slow = binned(rng.lognormal(np.log(200.0 * world.slowdown), 0.5, _POOL))
        self._stalls = {
            arm: stalled(rng, world.stall, n_pods, world.seconds)
            for arm, n_pods in (("c", world.n_canary), ("s", world.n_stable))
        }

    def live(self, second: int, weight: float) -> Tick:
        rate = self._world.rate_hz
        return Tick(
            float(second + 1), self._arm("c", second, rate * weight), self._arm("s", second, rate * (1 - weight))
        )

    def probes(self, second: int) -> Tick:
        """As many to stable's pods as to the canary's."""
        rate = self._world.probes_hz
        canary = self._arm("c", second, rate)
        return Tick(
            float(second + 1),
            canary,
            self._arm("s", second, rate * self._world.n_stable / self._world.n_canary),
            probes=True,
        )

    def _arm(self, arm: str, second: int, rate: float) -> tuple[PodCounts, ...]:
        stalls = self._stalls[arm][second]
        arrivals = self._rng.poisson(rate / len(stalls), len(stalls))
        return tuple(self._pod(arm, pod, second, int(n), stalls[pod]) for pod, n in enumerate(arrivals) if n)

    def _pod(self, arm: str, pod: int, second: int, n: int, stall: float) -> PodCounts:
        world, rng = self._world, self._rng
        canary = arm == "c"
        ratio = world.canary_errors(second) if canary and world.canary_errors else world.errors
        errors = int(rng.binomial(n, max(ratio, stall)))
        start = int(rng.integers(0, _POOL - n))
        pool = (self._slow if canary else self._latency)[start : start + n]
        late = int(rng.binomial(n, stall)) if stall else 0
        times: dict[int, int] = {9900: late} if late else {}
        for edge in pool[late:].tolist():
            times[edge] = times.get(edge, 0) + 1
        faults = {"silence": int(rng.binomial(n, world.faults))} if canary and world.faults else {}
        return PodCounts(2 if canary else 1, f"{arm}{pod}:1", n, errors, faults=faults, latency_ms=times)


def verdicts(world: World, seed: int) -> Iterator[tuple[int, bool, Verdict]]:
    """Yield (second, withdrawn, verdict) of a release that is withdrawn and restored as the policy says."""
    traffic = Traffic(world, np.random.default_rng(seed))
    judge = Judge(
        world.limits, n_canary_pods=world.n_canary, n_stable_pods=world.n_stable, max_duration_s=world.seconds
    )
    withdrawn, n_withdrawn = False, 0
    for second in range(world.seconds):
        verdict = judge.observe(traffic.live(second, 0.0 if withdrawn else world.weight))
        if withdrawn:
            verdict = judge.observe(traffic.probes(second))
        yield second, withdrawn, verdict
        if not withdrawn and verdict.alarm:
            withdrawn, n_withdrawn = True, n_withdrawn + 1
            judge.restart_alarm()
        elif withdrawn and verdict.quiet_s >= min(30.0 * 2 ** (n_withdrawn - 1), 300.0):
            withdrawn = False
            judge.restart_alarm()


def release(world: World, seed: int) -> Run:
    """Run one release until it is condemned or over."""
    run = Run(Verdict(Word.UNDECIDED))
    was_withdrawn = False
    for second, withdrawn, verdict in verdicts(world, seed):
        run.verdict = verdict
        run.withdrawn_s += withdrawn
        if verdict.alarm and not was_withdrawn:
            run.n_alarms += 1
            if run.first_alarm_s is None:
                run.first_alarm_s, run.n_canary_at_alarm = second + 1, verdict.n_canary
        was_withdrawn = withdrawn
        if verdict.word is Word.HARMFUL:
            run.harmful_s = second + 1
            break
    return run
