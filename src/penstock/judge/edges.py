"""Edges of latency bins, in milliseconds. Everything that is compared is compared at edges, so counting is exact.

Three kinds: two significant digits (the gateway's own histograms), log-spaced (what we bin ourselves from single times)
and foreign (whatever another system's histogram has).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Protocol

#: Edges of two digits are every whole millisecond up to here, then every tenth of a decade's digit.
_FINE_UP_TO_MS = 100

#: Ratio of neighbouring log-spaced edges: 10 % are exactly five bins. Source: JUDGE.md 3.2, 7.
GAMMA = 1.1**0.2
_LOG_GAMMA = math.log(GAMMA)


class Edges(Protocol):
    """The edges that one source of latencies knows."""

    def at_least(self, latency_ms: float) -> float:
        """Return the first edge that is not below; infinity where there is none."""
        ...

    def at_most(self, latency_ms: float) -> float:
        """Return the last edge that is not above; 0 where there is none."""
        ...

    def above(self, edge_ms: float) -> float:
        """Return the next edge after this one; infinity after the last."""
        ...


def edge_at_least(latency_ms: float) -> int:
    """Return the first edge (whole milliseconds, two significant digits) that is not below `latency_ms`."""
    whole = math.ceil(latency_ms - 1e-9)  # 1.1 * 100 is 110.00000000000001 in binary
    if whole <= _FINE_UP_TO_MS:
        return max(whole, 0)
    step = int("1" + "0" * (len(str(whole)) - 2))
    return -(-whole // step) * step


class TwoDigits:
    """Whole milliseconds with two significant digits."""

    def at_least(self, latency_ms: float) -> float:
        return edge_at_least(latency_ms)

    def at_most(self, latency_ms: float) -> float:
        whole = max(0, math.floor(latency_ms + 1e-9))
        if whole <= _FINE_UP_TO_MS:
            return whole
        step = int("1" + "0" * (len(str(whole)) - 2))
        return whole // step * step

    def above(self, edge_ms: float) -> float:
        return edge_at_least(edge_ms + 1)


class LogSpaced:
    """Powers of 1.1^(1/5) milliseconds."""

    def at_least(self, latency_ms: float) -> float:
        return _power(math.ceil(_exponent(latency_ms) - 1e-9))

    def at_most(self, latency_ms: float) -> float:
        return _power(math.floor(_exponent(latency_ms) + 1e-9))

    def above(self, edge_ms: float) -> float:
        return _power(round(_exponent(edge_ms)) + 1)


class ForeignEdges:
    """Another system's edges, e.g. the `le` labels of a Prometheus histogram."""

    def __init__(self, edges_ms: Iterable[float]) -> None:
        self._edges_ms = sorted({edge for edge in edges_ms if math.isfinite(edge)})

    def at_least(self, latency_ms: float) -> float:
        index = bisect_left(self._edges_ms, latency_ms - 1e-9)
        return self._edges_ms[index] if index < len(self._edges_ms) else math.inf

    def at_most(self, latency_ms: float) -> float:
        index = bisect_right(self._edges_ms, latency_ms + 1e-9)
        return self._edges_ms[index - 1] if index else 0.0

    def above(self, edge_ms: float) -> float:
        index = bisect_right(self._edges_ms, edge_ms)
        return self._edges_ms[index] if index < len(self._edges_ms) else math.inf

    def lower_edge(self, upper_ms: float) -> float:
        """Return the edge before an upper edge; 0 before the first. Infinity is the edge after the last."""
        index = bisect_left(self._edges_ms, upper_ms)
        return self._edges_ms[index - 1] if index else 0.0


def log_binned(latencies_ms: Iterable[float]) -> Mapping[float, int]:
    """Return lower log-spaced edge -> answers. Zero counts as the smallest time there is, a microsecond."""
    bins: dict[float, int] = {}
    for latency_ms in latencies_ms:
        lower = _power(math.floor(_exponent(latency_ms) + 1e-9))
        bins[lower] = bins.get(lower, 0) + 1
    return bins


def _exponent(latency_ms: float) -> float:
    return math.log(max(latency_ms, 1e-3)) / _LOG_GAMMA


def _power(exponent: int) -> float:
    return float(GAMMA**exponent)
