"""Draws recordings for the tests: one tick a second, seeded."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def line(t: float, arm: str, metric: str = "errors", **counts: Any) -> bytes:
    return json.dumps({"t": t, "arm": arm, "metric": metric} | counts).encode()


def shares(
    seconds: int,
    canary: Callable[[int], float],
    *,
    n: tuple[int, int] = (10, 90),
    stable: float = 0.002,
    seed: int = 1,
    **others: Any,
) -> list[bytes]:
    """Return errors of both arms; `canary` is its share of bad answers by second."""
    rng = np.random.default_rng(seed)
    return [
        line(float(t), arm, n=n_arm, bad=int(rng.binomial(n_arm, share)), **others)
        for t in range(seconds)
        for arm, n_arm, share in (("canary", n[0], canary(t)), ("stable", n[1], stable))
    ]


def latencies(seconds: int, slower: float, *, seed: int = 2) -> Iterator[bytes]:
    """Yield single times of both arms, lognormal around .2 s; the canary's are longer by this factor."""
    rng = np.random.default_rng(seed)
    for t in range(seconds):
        for arm, n, factor in (("canary", 5, slower), ("stable", 20, 1.0)):
            times = rng.lognormal(np.log(0.2), 0.3, n) * factor
            yield line(float(t), arm, "latency", samples_s=[round(float(one), 4) for one in times])
