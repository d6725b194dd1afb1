"""The menu: which faults are simulated, and how many releases of each."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from penstock.rollout.plan import Plan
from penstock.simulation.release import Scenario, SimulatedRelease, Told
from penstock.simulation.traffic import HEALTHY, Fault, Traffic

#: An error fault below this multiple of the usual share is no fault to look for.
_WORTH = 2.0

#: A healthy version is simulated this many times as often: its chance of a false rollback is small and needs many.
HEALTHY_TIMES = 4

#: Releases that one process does in a row.
_CHUNK = 2


def faults(traffic: Traffic) -> tuple[Fault, ...]:
    """Return the faults worth simulating with this traffic, the healthy version first.

    Source: the effects that JUDGE.md 10.5 measures (5x a small share, 7 %, 50 %, 100 %, p95 x1.3 and x2, late, intermittent).
    """
    slight = min(1.0, 5.0 * traffic.errors_ratio) if traffic.errors_ratio else 0.01
    menu = (
        HEALTHY,
        Fault("errors-slight", f"errors {100 * slight:.3g} %", errors_ratio=slight),
        Fault("errors-7", "errors 7 %", errors_ratio=0.07),
        Fault("errors-50", "errors 50 %", errors_ratio=0.5),
        Fault("errors-100", "errors 100 %", errors_ratio=1.0),
        Fault("silence-10", "silence 10 %", silence_ratio=0.1),
        Fault("p95-1.3", "p95 x1.3", slowdown=1.3),
        Fault("p95-2", "p95 x2", slowdown=2.0),
        Fault("late-7", "errors 7 %, late", errors_ratio=0.07, from_ratio=0.5),
        Fault("intermittent-50", "errors 50 %, at times", errors_ratio=0.5, shows_s=10.0, every_s=60.0),
    )
    return tuple(one for one in menu if one.errors_ratio is None or one.errors_ratio >= _WORTH * traffic.errors_ratio)


class Job(NamedTuple):
    """Some releases of one fault, for one process.

    Attributes:
        scenario: what is simulated.
        seed: of the whole run.
        place: of the fault in the menu.
        numbers: of the releases; each has its own source of chance, so that nothing depends on who simulates it.
    """

    scenario: Scenario
    seed: int
    place: int
    numbers: range


def jobs(traffic: Traffic, plan: Plan, *, n_releases: int, seed: int) -> Iterator[Job]:
    """Yield the work, a little of every fault first, so that a run that is cut short knows something of all."""
    menu = faults(traffic)
    of_each = [n_releases if one == HEALTHY else max(1, n_releases // HEALTHY_TIMES) for one in menu]
    scenarios = [Scenario(traffic, plan, one) for one in menu]
    for first in range(0, n_releases, _CHUNK):
        for place, (scenario, n) in enumerate(zip(scenarios, of_each, strict=True)):
            if first < n:
                yield Job(scenario, seed, place, range(first, min(first + _CHUNK, n)))


def simulated(job: Job) -> list[Told]:
    """Return how these releases went, in the order of their numbers."""
    seeds = ([job.seed, job.place, number] for number in job.numbers)
    return [SimulatedRelease(job.scenario, np.random.default_rng(seed)).run() for seed in seeds]
