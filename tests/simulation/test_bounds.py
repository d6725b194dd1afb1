"""The information bound: published numbers, limits by hand, and its shape."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulation.peers.bounds import canary_requests, kl_divergence

ratios = st.floats(0.001, 0.999)


@pytest.mark.parametrize(
    ("p_stable", "p_canary", "bound"),
    [(0.002, 0.01, 687), (0.005, 0.01, 2708), (0.02, 0.07, 139), (0.002, 0.5, 4)],
)
def test_the_bounds_of_the_judge(p_stable: float, p_canary: float, bound: int) -> None:
    """JUDGE.md 6: one request in ten goes to the canary, alpha 1 %, nothing tolerated."""
    assert canary_requests(p_canary, p_stable, weight=0.1, delta=0.0) == pytest.approx(bound, abs=0.6)


def test_a_stable_without_errors_by_hand() -> None:
    """The least informative q is w p_c = 0.001. JUDGE.md 3.4 says about 200, its table in 6 says 204."""
    information = 0.1 * (0.01 * math.log(10.0) + 0.99 * math.log(0.99 / 0.999)) - 0.9 * math.log(0.999)
    assert canary_requests(0.01, 0.0, weight=0.1) == pytest.approx(0.1 * math.log(100) / information, rel=1e-9)
    assert canary_requests(0.01, 0.0, weight=0.1) == pytest.approx(199.6, abs=0.1)


def test_an_absolute_limit_needs_no_stable() -> None:
    """PEERS.md 3: "error > 0.5 %" at alpha 0.001, 5 % errors: about 97 requests; 30 %: 7; 1 %: 3553."""
    for p_canary, bound in ((0.05, 97), (0.3, 7), (0.01, 3553)):
        for weight in (0.01, 1.0):
            needed = canary_requests(p_canary, 0.002, weight=weight, alpha=0.001, rho0=0.0, delta=0.005)
            assert needed == pytest.approx(bound, rel=0.1)
            assert needed == pytest.approx(math.log(1000) / kl_divergence(p_canary, 0.005), rel=1e-9)


@pytest.mark.parametrize(("p_canary", "rho0", "delta"), [(0.02, 1.0, 0.0), (0.025, 1.25, 0.0), (0.03, 1.0, 0.01)])
def test_what_is_tolerated_is_never_found(p_canary: float, rho0: float, delta: float) -> None:
    assert canary_requests(p_canary, 0.02, weight=0.1, rho0=rho0, delta=delta) == math.inf


@settings(deadline=None)
@given(ratios, ratios, st.floats(0.01, 0.99))
def test_no_q_gives_less_information_than_the_least(p_canary: float, p_stable: float, weight: float) -> None:
    if p_canary <= p_stable:
        return
    bound = canary_requests(p_canary, p_stable, weight=weight)
    for q in (i / 200 for i in range(1, 200)):
        information = weight * kl_divergence(p_canary, q) + (1 - weight) * kl_divergence(p_stable, q)
        assert bound >= weight * math.log(100) / information * (1 - 1e-9)


@pytest.mark.parametrize("rho0", [0.5, 1.0, 3.0])
def test_margins_make_it_longer(rho0: float) -> None:
    bounds = [canary_requests(0.9, 0.1, weight=0.3, rho0=rho0, delta=delta) for delta in (0.0, 0.1, 0.3)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[2] < math.inf


@given(ratios, ratios)
def test_divergence_is_positive_unless_equal(p: float, q: float) -> None:
    assert kl_divergence(p, p) == 0.0
    assert kl_divergence(p, math.nextafter(p, 1.0)) > 0.0
    direct = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert kl_divergence(p, q) == pytest.approx(direct, rel=1e-9, abs=1e-12)


def test_a_canary_that_is_hardly_worse_takes_very_long() -> None:
    """Where the difference d is small, w (1 - w) d^2 / (2 p (1 - p)) is the least information; here 0.5 d^2."""
    needed = canary_requests(0.5 + 1e-8, 0.5, weight=0.5)
    assert needed == pytest.approx(math.log(100) / 1e-16, rel=1e-6)
    assert 1e31 < canary_requests(math.nextafter(0.5, 1.0), 0.5, weight=0.5) < math.inf


def test_divergence_by_hand() -> None:
    assert kl_divergence(0.5, 0.25) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75))
    assert kl_divergence(0.0, 0.5) == pytest.approx(math.log(2))
    assert kl_divergence(0.1, 0.0) == kl_divergence(0.1, 1.0) == math.inf
