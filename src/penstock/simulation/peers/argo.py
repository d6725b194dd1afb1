"""Argo Rollouts: how an AnalysisRun's metric goes from measurements to a phase, and when that aborts a canary.

Source: argoproj/argo-rollouts@9f8d111d analysis/analysis.go (generateMetricTasks, runMeasurements, assessMetricStatus,
assessMetricFailureInconclusiveOrError), utils/evaluate/evaluate.go (EvaluateResult), utils/defaults/defaults.go.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from penstock.simulation.peers.series import NEVER, Counts, Ints, shares, since

#: Seconds after a measurement that ended in Error. Source: analysis/analysis.go, DefaultErrorRetryInterval.
ERROR_RETRY_S = 10.0

#: A condition on the measured value, as `successCondition` or `failureCondition` states it.
Condition: TypeAlias = Callable[[float], bool]


class Phase(StrEnum):
    """Argo's own words, for a measurement and for a metric."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


#: Phases that end a measurement or a metric. Source: v1alpha1 AnalysisPhase.Completed.
COMPLETED = frozenset({Phase.SUCCESSFUL, Phase.FAILED, Phase.INCONCLUSIVE, Phase.ERROR})

#: Phases of a metric that abort the rollout. Inconclusive pauses it for a person. Source: rollout/analysis.go.
ABORTING = frozenset({Phase.FAILED, Phase.ERROR})


@dataclass(frozen=True, slots=True)
class Metric:
    """What an AnalysisTemplate says of one metric. Limits are counts; the defaults are Argo's.

    Attributes:
        failure_limit: failed measurements that are tolerated, over the whole run; negative switches it off.
        inconclusive_limit: the same for inconclusive ones.
        consecutive_error_limit: errors in sequence that are tolerated.
        consecutive_success_limit: successes in sequence that end the metric; 0 switches it off.
        count: measurements that end the metric; 0 for none given.
        interval_s: seconds from one measurement to the next; None for none given.
    """

    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    consecutive_success_limit: int = 0
    count: int = 0
    interval_s: float | None = None

    @property
    def effective_count(self) -> int | None:
        """One measurement where neither count nor interval is given; without end where only the interval is."""
        if self.count:
            return self.count
        return 1 if self.interval_s is None else None


@dataclass(frozen=True, slots=True)
class Tally:
    """What Argo counts of a metric's measurements. An Error is no part of `n_counted`."""

    n_failed: int = 0
    n_inconclusive: int = 0
    n_counted: int = 0
    n_consecutive_errors: int = 0
    n_consecutive_successes: int = 0

    def after(self, measurement: Phase) -> "Tally":
        """Return the tally with one completed measurement more. Source: analysis/analysis.go, runMeasurements."""
        if measurement is Phase.ERROR:
            return replace(self, n_consecutive_errors=self.n_consecutive_errors + 1, n_consecutive_successes=0)
        succeeded = measurement is Phase.SUCCESSFUL
        return Tally(
            n_failed=self.n_failed + (measurement is Phase.FAILED),
            n_inconclusive=self.n_inconclusive + (measurement is Phase.INCONCLUSIVE),
            n_counted=self.n_counted + 1,
            n_consecutive_successes=self.n_consecutive_successes + 1 if succeeded else 0,
        )


def measured(value: float | None, *, success: Condition | None = None, failure: Condition | None = None) -> Phase:
    """Return the phase of a measurement; None stands for an empty vector, whose conditions cannot be evaluated.

    Where both conditions hold, failure wins; where neither does, nothing is known.
    Source: utils/evaluate/evaluate.go, EvaluateResult.
    """
    if value is None:
        return Phase.ERROR
    succeeded = success(value) if success else failure is None or not failure(value)
    failed = failure(value) if failure else not succeeded
    if failed:
        return Phase.FAILED
    return Phase.SUCCESSFUL if succeeded else Phase.INCONCLUSIVE


def metric_phase(metric: Metric, tally: Tally, last: Phase | None, *, terminating: bool = False) -> Phase:
    """Return a metric's phase after its last measurement, None before the first.

    Source: analysis/analysis.go, assessMetricStatus.
    """
    if last is None:
        return Phase.SUCCESSFUL if terminating else Phase.PENDING
    if last not in COMPLETED:
        return Phase.RUNNING
    if broken := _limit_broken(metric, tally):
        return broken
    if 0 < metric.consecutive_success_limit <= tally.n_consecutive_successes:
        return Phase.SUCCESSFUL
    if metric.effective_count is not None and tally.n_counted >= metric.effective_count:
        return _at_the_count(metric)
    return Phase.SUCCESSFUL if terminating else Phase.RUNNING


def _limit_broken(metric: Metric, tally: Tally) -> Phase | None:
    """Argo looks at all three limits, and a later one overrides."""
    if tally.n_consecutive_errors > metric.consecutive_error_limit:
        return Phase.ERROR
    if tally.n_inconclusive > metric.inconclusive_limit:
        return Phase.INCONCLUSIVE
    if 0 <= metric.failure_limit < tally.n_failed:
        return Phase.FAILED
    return None


def _at_the_count(metric: Metric) -> Phase:
    """Successes in sequence were asked for, and did not come: whether that is a failure depends on the other limit."""
    if metric.consecutive_success_limit <= 0:
        return Phase.SUCCESSFUL
    return Phase.INCONCLUSIVE if metric.failure_limit >= 0 else Phase.FAILED


class Analysis:
    """One metric of a running AnalysisRun, measured when it is due."""

    __slots__ = ("_failure", "_metric", "_success", "_tally", "due_s", "phase")

    def __init__(
        self,
        metric: Metric,
        *,
        success: Condition | None = None,
        failure: Condition | None = None,
        initial_delay_s: float = 0.0,
    ) -> None:
        self._metric = metric
        self._success = success
        self._failure = failure
        self._tally = Tally()
        #: Seconds since the run's start at which the next measurement is due; infinite after the last.
        self.due_s = initial_delay_s
        #: Where the metric stands.
        self.phase = Phase.PENDING

    def measure(self, at_s: float, value: float | None) -> Phase:
        """Take the measurement that is due at `at_s` seconds; None: the query found nothing. Return the metric's phase.

        Source: analysis/analysis.go, generateMetricTasks (when), runMeasurements (counters).
        """
        measurement = measured(value, success=self._success, failure=self._failure)
        self._tally = self._tally.after(measurement)
        self.phase = metric_phase(self._metric, self._tally, measurement)
        if self.phase in COMPLETED:
            self.due_s = math.inf
        elif measurement is Phase.ERROR or self._metric.interval_s is None:
            self.due_s = at_s + ERROR_RETRY_S
        else:
            self.due_s = at_s + self._metric.interval_s
        return self.phase


def rollback_ticks(
    counts: Counts,
    *,
    interval_s: float = 60.0,
    failure_limit: int = 3,
    max_ratio: float = 0.01,
    window_s: float | None = None,
    initial_delay_s: float | None = None,
    consecutive_error_limit: int = 4,
) -> Ints:
    """Return the tick, shape (R,), at whose end each release is aborted; NEVER where it is not.

    The metric is the canary's bad share in the last `window_s` seconds (None: one interval), with the success condition
    "at most `max_ratio`" and no count. A window without requests is an empty vector: an Error, retried after 10 s.
    The first measurement comes after `initial_delay_s`; None stands for one interval, when the first window is full
    (Argo's own default is 0, which would judge, or miss, the first moment's requests).
    Of several metrics of one run the earliest abort counts: take the minimum.
    """
    window = counts.whole_ticks(interval_s if window_s is None else window_s)
    interval = counts.whole_ticks(interval_s)
    retry = math.ceil(ERROR_RETRY_S / counts.tick_s)
    first = interval if initial_delay_s is None else max(1, math.ceil(initial_delay_s / counts.tick_s))
    due = np.full(counts.n_releases, first - 1, dtype=np.int64)
    n_failed, n_errors = np.zeros_like(due), np.zeros_like(due)
    aborted = np.full_like(due, NEVER)
    while (tick := int(due.min(initial=counts.n_ticks))) < counts.n_ticks:
        rows = np.flatnonzero(due == tick)
        at = np.array([tick])
        n, bad = (since(kind[rows], at, window)[:, 0] for kind in (counts.n_canary, counts.bad_canary))
        empty = n == 0
        n_errors[rows] = np.where(empty, n_errors[rows] + 1, 0)
        n_failed[rows] += ~empty & ~(shares(bad, n) <= max_ratio)
        over = (n_errors[rows] > consecutive_error_limit) | ((failure_limit >= 0) & (n_failed[rows] > failure_limit))
        aborted[rows[over]] = tick
        due[rows] = np.where(over, counts.n_ticks, tick + np.where(empty, retry, interval))
    return aborted
