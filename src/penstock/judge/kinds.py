"""Which kind of metric is judged by which class. Nothing else."""

from typing import TypeAlias

from penstock.judge.events import EventsMetric
from penstock.judge.gauge import GaugeMetric
from penstock.judge.holding import DriftMetric, SplitMetric
from penstock.judge.latency import Timing
from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.judge.metric import ComparedMetric

AnyMetric: TypeAlias = ComparedMetric | EventsMetric | GaugeMetric | DriftMetric | SplitMetric


def metric_for(
    limit: MetricLimit,
    limits: Limits,
    *,
    n_canary_pods: int,
    block_length_s: float,
    n_starts: int | None,
    timing: Timing | None,
) -> AnyMetric:
    """Return the judge of one metric; arguments as ComparedMetric has them."""
    match limit.kind:
        case MetricKind.EVENTS:
            return EventsMetric(limit, block_length_s=block_length_s, n_starts=n_starts)
        case MetricKind.GAUGE:
            return GaugeMetric(limit, n_canary_pods=n_canary_pods, block_length_s=block_length_s, n_starts=n_starts)
        case MetricKind.DRIFT:
            return DriftMetric(limit, n_starts=n_starts)
        case MetricKind.SPLIT:
            return SplitMetric(limit)
        case _:
            return ComparedMetric(
                limit,
                limits,
                n_canary_pods=n_canary_pods,
                block_length_s=block_length_s,
                n_starts=n_starts,
                timing=timing,
            )
