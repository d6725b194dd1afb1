"""Many releases of one world from their first second to their last, and what became of them."""

from dataclasses import dataclass

import numpy as np

from penstock.simulation.crowd import Crowd, World
from penstock.simulation.fleet import Bools, Counts, Fleet, FleetPlan
from penstock.simulation.peers.series import NEVER
from penstock.simulation.peers.series import Counts as Series


@dataclass(frozen=True, slots=True)
class Trial:
    """Per release, shape (n,); seconds and counts are NEVER (-1) where it did not happen.

    Attributes:
        stopped_s: when the canary first lost its traffic: withdrawn or condemned.
        stopped_n: users' requests that the canary had been sent until then, or until the end.
        condemned_s: when it was condemned.
        condemned_n: users' requests that the canary had been sent until then.
        proven_s: when it was first proven not worse, where the plan proves.
        withdrawn_s: seconds without traffic.
        n_failed: users' requests that failed on the canary.
        seconds: how long a release took at most.
    """

    stopped_s: Counts
    stopped_n: Counts
    condemned_s: Counts
    condemned_n: Counts
    proven_s: Counts
    withdrawn_s: Counts
    n_failed: Counts
    seconds: int


def trial(world: World, plan: FleetPlan, n: int, rng: np.random.Generator) -> Trial:
    """Run `n` releases; a condemned one is over, and the trial ends when all are."""
    fleet, crowd = Fleet(plan, n), Crowd(world, n, rng)
    stopped_s, condemned_s, proven_s = (np.full(n, NEVER) for _ in range(3))
    stopped_n, condemned_n, withdrawn_s, n_failed, n_sent = (np.zeros(n, dtype=np.int64) for _ in range(5))
    for second in range(world.seconds):
        away = fleet.withdrawn | fleet.condemned
        tick = crowd.live(second, away)
        n_sent += tick.canary.sum(axis=1)
        n_failed += tick.bad_canary[0].sum(axis=1)
        fleet.observe(float(second), tick)
        if (retested := fleet.withdrawn & away & ~fleet.condemned).any():
            fleet.observe(float(second), crowd.probes(second, retested), probes=True)
        _note(stopped_s, fleet.withdrawn | fleet.condemned, second)
        _note(condemned_s, fleet.condemned, second)
        _note(proven_s, fleet.healthy, second)
        withdrawn_s += fleet.withdrawn & ~fleet.condemned
        stopped_n = np.where((stopped_s == NEVER) | (stopped_s == second), n_sent, stopped_n)
        condemned_n = np.where((condemned_s == NEVER) | (condemned_s == second), n_sent, condemned_n)
        if (condemned_s != NEVER).all():
            break
    return Trial(stopped_s, stopped_n, condemned_s, condemned_n, proven_s, withdrawn_s, n_failed, seconds=world.seconds)


def _note(when: Counts, happened: Bools, second: int) -> None:
    when[happened & (when == NEVER)] = second


def series(world: World, n: int, rng: np.random.Generator, *, metric: int = 0) -> Series:
    """Return what peers are shown: cumulative counts of `n` releases whose canary nobody stops.

    `metric` 0 counts errors, 1 answers slower than 1.1 x stable's p95.
    """
    crowd = Crowd(world, n, rng)
    nobody = np.zeros(n, dtype=bool)
    counts = np.zeros((4, n, world.seconds), dtype=np.int64)
    for second in range(world.seconds):
        tick = crowd.live(second, nobody)
        pods = tick.canary, tick.bad_canary[metric], tick.stable, tick.bad_stable[metric]
        for index, count in enumerate(pods):
            counts[index, :, second] = count.sum(axis=1)
    n_canary, bad_canary, n_stable, bad_stable = counts.cumsum(axis=2)
    return Series(n_canary, bad_canary, n_stable, bad_stable, tick_s=1.0)
