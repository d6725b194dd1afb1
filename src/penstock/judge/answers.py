"""From a tick to measures. Counts are cleaned here.

Nothing an endpoint or a telemetry source says can do more than be counted: what is not a number, negative, or more than
there were answers is clipped or dropped. Source: JUDGE.md 8.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from penstock.judge.counts import Measure, PodCounts, Tick

_Key = TypeVar("_Key", float, str)

#: More answers than this in one tick are a broken counter, not traffic.
_MOST_ANSWERS = 10**9

#: ... and a latency above this (about eleven days) is a broken clock.
_MOST_MS = 10**9


class Answers(NamedTuple):
    """One pod's counts in one tick, clean: 0 <= each <= n; latency bins hold counts > 0."""

    canary: bool
    pod: str
    n: int
    errors: int
    client_errors: int
    faults: Mapping[str, int]
    latency_ms: Mapping[float, int]

    @property
    def n_faults(self) -> int:
        return min(self.n, sum(self.faults.values()))

    @property
    def n_failed(self) -> int:
        """Errors and faults together."""
        return min(self.n, self.errors + self.n_faults)

    def measures(self) -> Iterator[Measure]:
        """Yield what a gateway counts as one measure per metric."""
        canary, pod, n = self.canary, self.pod, self.n
        if n:
            yield Measure("errors", canary, pod, n, self.errors)
            yield Measure("client_errors", canary, pod, n, self.client_errors)
            yield Measure("faults", canary, pod, n, self.n_faults)
        if self.latency_ms:
            yield Measure("latency", canary, pod, bins=self.latency_ms)


def cleaned(tick: Tick) -> tuple[Answers, ...]:
    """Return the counts of all pods of both arms; what several gateway nodes counted of one pod is added up."""
    pods: dict[tuple[bool, str], Answers] = {}
    for canary, arm in ((True, tick.canary), (False, tick.stable)):
        for counts in arm:
            answers = _clean(counts, canary=canary)
            known = pods.get((canary, counts.pod))
            pods[canary, counts.pod] = answers if known is None else _added(known, answers)
    return tuple(pods.values())


def cleaned_measures(tick: Tick) -> list[Measure]:
    """Return the measures that came from elsewhere, the canary's first."""
    canary: list[Measure] = []
    stable: list[Measure] = []
    for measure in tick.measures:
        (canary if measure.canary else stable).append(_clean_measure(measure))
    return canary + stable


def _clean_measure(measure: Measure) -> Measure:
    _, _, _, n, bad, values, bins, outcomes, exposure_s, _ = measure
    if (
        type(n) is type(bad) is int
        and 0 <= bad <= n <= _MOST_ANSWERS
        and not (values or bins or outcomes or exposure_s)
    ):
        return measure  # most are; a copy costs as much as all the rest here
    n = _count(measure.n, _MOST_ANSWERS)
    if any(not math.isfinite(value) for value in values):
        values = tuple(value for value in values if math.isfinite(value))
    bins, outcomes = _counts(measure.bins), _counts(measure.outcomes)
    exposure_s = measure.exposure_s if 0.0 < measure.exposure_s < math.inf else 0.0
    return measure._replace(
        n=n, bad=_count(measure.bad, n), values=values, bins=bins, outcomes=outcomes, exposure_s=exposure_s
    )


def _counts(counts: Mapping[_Key, int]) -> Mapping[_Key, int]:
    return {key: kept for key, count in counts.items() if (kept := _count(count, _MOST_ANSWERS))} if counts else counts


def _clean(counts: PodCounts, *, canary: bool) -> Answers:
    n = _count(counts.n, _MOST_ANSWERS)
    faults = {name: _count(count, n) for name, count in counts.faults.items()} if counts.faults else {}
    times = {
        int(lower_ms): _count(count, _MOST_ANSWERS)
        for lower_ms, count in counts.latency_ms.items()
        if 0 <= lower_ms < _MOST_MS and count > 0
    }
    return Answers(
        canary,
        counts.pod,
        n,
        _count(counts.errors, n),
        _count(counts.client_errors, n),
        {name: count for name, count in faults.items() if count},
        {lower_ms: count for lower_ms, count in times.items() if count},
    )


def _added(one: Answers, other: Answers) -> Answers:
    return Answers(
        one.canary,
        one.pod,
        one.n + other.n,
        one.errors + other.errors,
        one.client_errors + other.client_errors,
        {name: one.faults.get(name, 0) + other.faults.get(name, 0) for name in {**one.faults, **other.faults}},
        {
            lower_ms: one.latency_ms.get(lower_ms, 0) + other.latency_ms.get(lower_ms, 0)
            for lower_ms in {**one.latency_ms, **other.latency_ms}
        },
    )


def _count(value: float, most: int) -> int:
    """Return a whole count in 0..most; NaN fails the comparison and is dropped."""
    if not value > 0:
        return 0
    return int(min(value, most))
