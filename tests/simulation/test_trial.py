"""What a made-up world is, and what becomes of releases in it."""

import numpy as np
import pytest

from penstock.simulation.crowd import Crowd, Stall, World, slow_ratio
from penstock.simulation.fleet import FleetPlan
from penstock.simulation.peers.series import NEVER
from penstock.simulation.trial import series, trial


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_an_equal_canary_is_slow_less_often_than_the_margin_allows() -> None:
    assert slow_ratio(1.1) == pytest.approx(0.05, abs=1e-4)
    assert slow_ratio(1.0) == pytest.approx(0.033, abs=1e-3)
    assert slow_ratio(2.0) > slow_ratio(1.3) > 0.09


def test_traffic_has_the_rates_that_the_world_says() -> None:
    world = World(
        2, 3, rate_hz=80.0, weight=lambda _: 0.25, errors=lambda _: 0.1, canary_errors=lambda _: 0.4, seconds=60
    )
    counts = series(world, 50, rng())
    n_canary, n_stable = counts.n_canary[:, -1].mean(), counts.n_stable[:, -1].mean()
    assert n_canary == pytest.approx(60 * 20, rel=0.03)
    assert n_stable == pytest.approx(60 * 60, rel=0.03)
    assert counts.bad_canary[:, -1].mean() / n_canary == pytest.approx(0.4, rel=0.05)
    assert counts.bad_stable[:, -1].mean() / n_stable == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(("stall", "share"), [(Stall.NONE, 0.0), (Stall.FIVE, 5), (Stall.GEO10, 10), (Stall.U60, 32.5)])
def test_pods_hang_as_long_and_as_often_as_said(stall: Stall, share: float) -> None:
    crowd = Crowd(World(1, 1, stall=stall), 400, rng())
    nobody = np.zeros(400, dtype=bool)
    hung = 0.0
    for second in range(1200):
        crowd.live(second, nobody)
        hung += float((crowd._stalls[0].now > 0).mean())
    assert hung / 1200 == pytest.approx(share / (600.0 + share), rel=0.25, abs=1e-9)


def test_clustered_users_fail_on_either_arm_and_each_first_failure_counts_once() -> None:
    world = World(clustered=True, errors=lambda _: 0.0, seconds=600)
    crowd = Crowd(world, 40, rng())
    bad, first = 0, 0
    for second in range(600):
        tick = crowd.live(second, np.zeros(40, dtype=bool))
        bad += int(tick.bad_stable[0].sum())
        first += int(tick.first_stable[0].sum())
    assert 0 < first < bad / 3
    assert first <= 40 * 50


def test_a_canary_that_fails_everything_is_stopped_in_a_handful_and_condemned_after_the_patience() -> None:
    found = trial(World(canary_errors=lambda _: 1.0, seconds=400), FleetPlan(), 40, rng())
    assert np.median(found.stopped_n) <= 15
    assert (found.condemned_s >= 180).all()
    assert np.median(found.condemned_s) <= 185
    assert (found.n_failed <= found.stopped_n + 30).all()


def test_equal_releases_go_through() -> None:
    found = trial(World(seconds=600), FleetPlan(max_duration_s=600.0), 40, rng())
    assert (found.condemned_s == NEVER).all()
    assert (found.stopped_s != NEVER).sum() <= 2
    assert found.withdrawn_s[found.stopped_s == NEVER].sum() == 0


def test_equal_releases_are_proven_equal_with_half_of_the_traffic() -> None:
    world = World(weight=lambda _: 0.5, seconds=900)
    found = trial(world, FleetPlan(proves=True, max_duration_s=900.0), 30, rng())
    assert (found.proven_s != NEVER).mean() >= 0.9
