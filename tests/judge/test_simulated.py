"""Seeded small simulations: false alarms with and without stalls, and how fast faults are found. Ten to fifteen minutes of traffic each.

Larger runs belong to the benchmark; these bounds are wide enough to be no gamble and tight enough to notice a broken judge.
"""

from statistics import median

import pytest

from penstock.judge.presets import limits_for
from penstock.simulation.traffic import Fault, Traffic
from tests.judge.world import World, release


def pods(n_canary: int, n_stable: int, *, stalls: str = "none", rate_hz: float = 50.0) -> Traffic:
    return Traffic(rate_hz, n_canary, n_stable, stalls=stalls)


@pytest.mark.parametrize(("n_canary", "n_stable"), [(1, 1), (2, 4)])
@pytest.mark.parametrize("stalls", ["none", "geo10", "u60"])
def test_equal_releases_are_hardly_ever_condemned(n_canary: int, n_stable: int, stalls: str) -> None:
    """Five releases of a quarter of an hour per world; one false verdict among them would be chance, two would not."""
    world = World(pods(n_canary, n_stable, stalls=stalls), seconds=900)
    condemned = sum(release(world, seed).harmful_s is not None for seed in range(5))
    assert condemned <= 1


def test_equal_releases_without_stalls_raise_no_alarm() -> None:
    assert sum(release(World(seconds=900), seed).n_alarms > 0 for seed in range(100, 106)) <= 1


def test_half_of_all_answers_failing_is_stopped_within_twenty_requests() -> None:
    world = World(fault=Fault(errors_ratio=0.5), seconds=60)
    stopped = [release(world, seed).n_canary_at_alarm or 10_000 for seed in range(21)]
    assert median(stopped) <= 20


@pytest.mark.parametrize(("n_canary", "n_stable", "patience_s"), [(1, 1, 180), (2, 4, 90)])
def test_failing_everything_is_stopped_in_a_handful_and_condemned_after_the_patience(
    n_canary: int, n_stable: int, patience_s: int
) -> None:
    world = World(pods(n_canary, n_stable), Fault(errors_ratio=1.0), seconds=400)
    runs = [release(world, seed) for seed in range(7)]
    assert median(run.n_canary_at_alarm or 10_000 for run in runs) <= 10
    assert median(run.harmful_s or 10_000 for run in runs) <= patience_s + 20


def test_twice_the_p95_is_condemned() -> None:
    runs = [release(World(pods(2, 4), Fault(slowdown=2.0), seconds=900), seed) for seed in range(5)]
    assert sum(run.harmful_s is not None for run in runs) >= 4
    assert median(run.n_canary_at_alarm or 10_000 for run in runs) <= 120


def test_silence_with_status_200_is_condemned() -> None:
    runs = [release(World(pods(2, 4), Fault(silence_ratio=0.1), seconds=900), seed) for seed in range(5)]
    assert sum(run.harmful_s is not None for run in runs) >= 4
    assert any("silence" in reason for run in runs for reason in run.verdict.reasons)


def test_a_demo_sized_rollout_is_decided_in_a_demo_sized_time() -> None:
    """Two pods an arm, longest_stall 5 s, 30 % of requests fail: condemned within a minute."""
    world = World(pods(2, 2, rate_hz=20.0), Fault(errors_ratio=0.3), seconds=90, limits=limits_for(longest_stall_s=5.0))
    runs = [release(world, seed) for seed in range(9)]
    assert median(run.harmful_s or 10_000 for run in runs) <= 60


def test_a_canary_that_recovers_gets_its_traffic_back() -> None:
    world = World(fault=Fault(errors_ratio=1.0, shows_s=20.0, every_s=3600.0), seconds=300)
    runs = [release(world, seed) for seed in range(5)]
    assert all(run.n_alarms for run in runs)
    assert all(run.harmful_s is None for run in runs)
    assert median(run.withdrawn_s for run in runs) <= 120
