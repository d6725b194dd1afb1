"""Student's t distribution, which GrowthBook's fixed-sample tests need and the standard library lacks.

Only the distribution lives here; the tests are in `growthbook`.
"""

import math

#: The continued fraction ends when a factor differs from 1 by less than this.
_PRECISION = 1e-14
_SMALLEST = 1e-300


def cdf(t: float, dof: float) -> float:
    """Return P(T <= t) for `dof` > 0 degrees of freedom. Source: Abramowitz & Stegun 26.7.1, 26.5.27."""
    root = math.hypot(math.sqrt(dof), t)
    tail = _incomplete_beta((math.sqrt(dof) / root) ** 2, (t / root) ** 2, dof / 2.0, 0.5) / 2.0
    return tail if t < 0.0 else 1.0 - tail


def quantile(p: float, dof: float) -> float:
    """Return t with P(T <= t) = p, for p in (0, 1), by bisection."""
    high = 1.0
    while cdf(high, dof) < max(p, 1.0 - p):
        high *= 2.0
    low = -high
    while (middle := (low + high) / 2.0) not in (low, high):
        low, high = (middle, high) if cdf(middle, dof) < p else (low, middle)
    return high


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), x in [0, 1], rest = 1 - x. Source: DLMF 8.17.4, 8.17.22.

    `rest` is an argument since 1 - x would round it away where x is close to 1.
    """
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(rest, x, b, a)
    if x == 0.0:
        return 0.0
    front = math.exp(a * math.log(x) + b * math.log(rest) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    return front / _continued_fraction(x, a, b)


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1 / (1 + d2 / (1 + ...)), from the front. Source: DLMF 8.17.22 and 3.10 (Lentz's algorithm)."""
    value, c, d, n, factor = 1.0, 1.0, 0.0, 0, 0.0
    while abs(factor - 1.0) > _PRECISION:
        n += 1
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / (1.0 + term * d or _SMALLEST)
        c = 1.0 + term / c or _SMALLEST
        factor = c * d
        value *= factor
    return value
