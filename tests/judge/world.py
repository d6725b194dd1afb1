"""A judge fed by the simulation's traffic at a fixed weight, one tick a second: no plan and no decisions.

The canary is withdrawn and restored as JUDGE.md 10.6 says, since withdrawal changes what the judge sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from penstock.judge.judge import Judge
from penstock.judge.limits import Limits
from penstock.judge.presets import limits_for
from penstock.judge.verdict import Verdict, Word
from penstock.simulation.arrivals import Arrivals
from penstock.simulation.traffic import HEALTHY, Fault, Traffic


@dataclass(frozen=True)
class World:
    """What is true, and how the canary is exposed to it."""

    traffic: Traffic = field(default_factory=Traffic)
    fault: Fault = HEALTHY
    weight: float = 0.1
    seconds: int = 3600
    limits: Limits = field(default_factory=limits_for)


@dataclass
class Run:
    """What happened to one release."""

    verdict: Verdict
    first_alarm_s: int | None = None
    n_canary_at_alarm: int | None = None
    harmful_s: int | None = None
    n_alarms: int = 0
    withdrawn_s: int = 0


def verdicts(world: World, seed: int) -> Iterator[tuple[int, bool, Verdict]]:
    """Yield (second, withdrawn, verdict) of a release that is withdrawn and restored as the policy says."""
    traffic, weight = world.traffic, world.weight
    rng = np.random.default_rng(seed)
    arrivals = Arrivals(traffic, world.fault, begins_s=0.0, limit_ms=None, pair_margin=0.1, rng=rng)
    judge = Judge(
        world.limits,
        n_canary_pods=traffic.n_canary_pods,
        n_stable_pods=traffic.n_stable_pods,
        max_duration_s=world.seconds,
    )
    withdrawn, n_withdrawn = False, 0
    for second in range(world.seconds):
        verdict = judge.observe(arrivals.live(second, second + 1, 0.0 if withdrawn else weight).tick)
        if withdrawn:
            verdict = judge.observe(arrivals.probes(second, second + 1, weight))
        yield second, withdrawn, verdict
        if not withdrawn and verdict.alarm:
            withdrawn, n_withdrawn = True, n_withdrawn + 1
            judge.restart_alarm()
            arrivals.prober.begin(second + 1)
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
