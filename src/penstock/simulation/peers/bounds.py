"""What no test can beat: the least mean number of canary requests until a valid alarm, the alternative being known.

Bounds only; no rule that decides may live here.
"""

import math
from collections.abc import Callable

#: Steps of the search for a minimum; each leaves two thirds of the interval, 2/3 ** 150 < 1e-26.
_STEPS = 150


#: Below this relative difference a series replaces the logarithm, whose rounding errors would exceed the result.
_NEARLY_EQUAL = 1e-3


def kl_divergence(p: float, q: float) -> float:
    """Return KL(Bernoulli(p) || Bernoulli(q)) in nats, p and q in [0, 1]; infinite where p is impossible under q.

    Each outcome's term is p log(p / q) - (p - q): the differences add up to 0, and no term is negative, however close
    p and q are. Source: Cover & Thomas, Elements of information theory, 2.3.
    """
    return _term(p, q, p - q) + _term(1.0 - p, 1.0 - q, q - p)


def _term(p: float, q: float, difference: float) -> float:
    """Return p log(p / q) - difference, which is p - q."""
    if q == 0.0:
        return math.inf if p > 0.0 else 0.0
    u = difference / q
    if abs(u) < _NEARLY_EQUAL:
        return q * u**2 * (1.0 / 2.0 - u / 6.0 + u**2 / 12.0 - u**3 / 20.0)
    return p * math.log(p / q) - difference if p > 0.0 else -difference


def canary_requests(
    p_canary: float, p_stable: float, *, weight: float, alpha: float = 0.01, rho0: float = 1.0, delta: float = 0.0
) -> float:
    """Return a lower bound on the mean number of canary requests until an alarm of false-alarm probability `alpha`.

    N_canary >= w log(1 / alpha) / min over q of [w KL(p_c || rho0 q + delta) + (1 - w) KL(p_b || q)], for independent
    Bernoulli outcomes of which the canary gets the share w = `weight`, and the null hypothesis p_c <= rho0 p_b + delta
    (ratios in 0..1, rho0 >= 0; rho0 = 0 is an absolute limit, stable is ignored). Infinite where the null is true.
    Source: Wald's identity and the data-processing inequality (Garivier & Kaufmann, Non-asymptotic sequential tests
    for overlapping hypotheses, 2021), as stated in JUDGE.md 2.
    """
    if p_canary <= rho0 * p_stable + delta:
        return math.inf

    def information(q: float) -> float:
        return weight * kl_divergence(p_canary, rho0 * q + delta) + (1.0 - weight) * kl_divergence(p_stable, q)

    greatest = 1.0 if rho0 == 0.0 else min(1.0, (1.0 - delta) / rho0)
    return weight * math.log(1.0 / alpha) / _least(information, 0.0, greatest)


def _least(convex: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimum of a convex function on [low, high], which may be infinite at the ends."""
    for _ in range(_STEPS):
        third = (high - low) / 3.0
        if convex(low + third) <= convex(high - third):
            high -= third
        else:
            low += third
    return convex((low + high) / 2.0)
