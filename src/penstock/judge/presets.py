"""Limits for common services, so that nobody has to begin with an empty page. Values only.

Weights are guesses. Source: JUDGE.md 3 "Combining" (errors .3, latency .2, quality .3, rest .2).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from penstock.judge.limits import Limits, MetricKind, MetricLimit

SHARE, LATENCY, SCORE = MetricKind.SHARE, MetricKind.LATENCY, MetricKind.SCORE


def generic(*, max_errors_ratio: float | None = None, max_p95_ms: float | None = None) -> tuple[MetricLimit, ...]:
    """Return what a gateway can count of any service.

    Args:
        max_errors_ratio: the canary's own limit for errors, (0, 1), whatever stable does; None for none.
        max_p95_ms: the canary's own limit for the p95 of the time to the first byte, milliseconds > 0; None for none.
    """
    metrics = [
        MetricLimit("errors", SHARE, weight=0.35, fails=True),
        MetricLimit("latency", LATENCY, weight=0.3),
        MetricLimit("faults", SHARE, weight=0.25, fails=True),
        MetricLimit("client_errors", SHARE, weight=0.1),
        MetricLimit("latency_pairs", MetricKind.PAIRS, weight=0.1, required=False),
    ]
    if max_errors_ratio is not None:
        metrics.append(MetricLimit("errors_limit", SHARE, weight=0.2, source="errors", limit=max_errors_ratio))
    if max_p95_ms is not None:
        metrics.append(MetricLimit("latency_limit", LATENCY, weight=0.2, source="latency", limit=max_p95_ms))
    return tuple(metrics)


def speech() -> tuple[MetricLimit, ...]:
    """Return what can be counted, heard and measured of speech synthesis.

    Source of the limits: PRODUCT.md G2, E9, V7 (MOS gap .2, memory +20 %); scales are the measures' own.
    """
    return (
        *generic(),
        MetricLimit("silence", SHARE, weight=0.15, fails=True),
        MetricLimit("pops", SHARE, weight=0.15),
        MetricLimit("clipping", SHARE, weight=0.1),
        MetricLimit("broken_sentences", SHARE, weight=0.1),
        MetricLimit("mos", SCORE, weight=0.3, best=5.0, worst=1.0, gap=0.2),
        MetricLimit("cer", SCORE, weight=0.2, best=0.0, worst=1.0, gap=0.02),
        MetricLimit("similarity", SCORE, weight=0.1, best=1.0, worst=0.0, gap=0.05),
        MetricLimit("crashes", MetricKind.EVENTS, weight=0.1, required=False),
        MetricLimit("gpu_memory", MetricKind.GAUGE, weight=0.1, ratio=1.2, limit=0.95, required=False),
        MetricLimit("rtf", MetricKind.GAUGE, weight=0.1, ratio=1.2, worst=2.0, required=False),
        MetricLimit("users", MetricKind.SPLIT, weight=0.0, required=False),
    )


def classifier() -> tuple[MetricLimit, ...]:
    """Return what can be counted of a classifier, whose labels may arrive late."""
    return (
        *generic(),
        MetricLimit("wrong", SHARE, weight=0.3, floor=0.01, ok_floor=0.02),
        MetricLimit("labels", MetricKind.DRIFT, weight=0.0, gap=0.05, required=False),
        MetricLimit("users", MetricKind.SPLIT, weight=0.0, required=False),
    )


PRESETS: Mapping[str, Callable[[], tuple[MetricLimit, ...]]] = MappingProxyType(
    {"generic": generic, "speech": speech, "classifier": classifier}
)


def limits_for(preset: str = "generic", **others: float) -> Limits:
    """Return a preset's limits; `others` are fields of Limits. Raises ValueError for an unknown name."""
    if preset not in PRESETS:
        raise ValueError(f"no preset is called {preset!r}; there are {', '.join(PRESETS)}")
    return Limits(PRESETS[preset](), **others)
