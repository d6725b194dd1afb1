"""From a tick to readings: counts are cleaned here, and each metric is read off them as (answers, bad answers).

Nothing an endpoint or a telemetry source says can do more than be counted: what is not a number, negative, or more than
there were answers is clipped or dropped. Source: JUDGE.md 8.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from penstock.judge.counts import PodCounts, Tick
from penstock.judge.latency import LatencyScale, edge_at_least, n_slower

#: A pod's latency is not judged on single requests before this many answers: the first pay for cold caches.
#: Source: JUDGE.md 10.1.10 ("or after K warm-up requests"); 20 as the smallest p95 that can be seen at all.
WARM_UP_ANSWERS = 20

#: ... and not by pod blocks before this many longest stalls have passed since it was first seen (90 s at 60 s).
#: Source: JUDGE.md 10.1.10.
WARM_UP_STALLS = 1.5

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
    latency_ms: Mapping[int, int]

    @property
    def n_faults(self) -> int:
        return min(self.n, sum(self.faults.values()))

    @property
    def n_failed(self) -> int:
        """Errors and faults together."""
        return min(self.n, self.errors + self.n_faults)


class Reading(NamedTuple):
    """One metric of one pod in one tick, and which evidence may use it."""

    n: int
    bad: int
    for_requests: bool = True
    for_blocks: bool = True


def cleaned(tick: Tick) -> tuple[Answers, ...]:
    """Return the counts of all pods of both arms; what several gateway nodes counted of one pod is added up."""
    pods: dict[tuple[bool, str], Answers] = {}
    for canary, arm in ((True, tick.canary), (False, tick.stable)):
        for counts in arm:
            answers = _clean(counts, canary=canary)
            known = pods.get((canary, counts.pod))
            pods[canary, counts.pod] = answers if known is None else _added(known, answers)
    return tuple(pods.values())


def _clean(counts: PodCounts, *, canary: bool) -> Answers:
    n = _count(counts.n, _MOST_ANSWERS)
    faults = {name: _count(count, n) for name, count in counts.faults.items()}
    times = {
        int(lower_ms): _count(count, _MOST_ANSWERS)
        for lower_ms, count in counts.latency_ms.items()
        if 0 <= lower_ms < _MOST_MS
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


class Reader:
    """Reads metrics off answers. Keeps what latency needs: how long each pod has been there."""

    def __init__(self, *, longest_stall_s: float, max_p95_ms: float | None) -> None:
        self._limit_edge_ms = None if max_p95_ms is None else edge_at_least(max_p95_ms)
        self._warm_up_s = WARM_UP_STALLS * longest_stall_s
        self._first_seen_s: dict[tuple[bool, str], float] = {}
        self._n_timed: dict[tuple[bool, str], int] = {}

    def readings(self, at_s: float, answers: Answers, scale: LatencyScale) -> Iterator[tuple[str, Reading]]:
        """Yield (metric, reading) of one pod, with the scale's thresholds; answers count as seen afterwards."""
        yield "errors", Reading(answers.n, answers.errors)
        yield "errors_limit", Reading(answers.n, answers.errors)
        yield "client_errors", Reading(answers.n, answers.client_errors)
        yield "faults", Reading(answers.n, answers.n_faults)
        if answers.latency_ms:
            yield from self._latency(at_s, answers, scale)

    def _latency(self, at_s: float, answers: Answers, scale: LatencyScale) -> Iterator[tuple[str, Reading]]:
        key = (answers.canary, answers.pod)
        n = sum(answers.latency_ms.values())
        n_before = self._n_timed.get(key, 0)
        self._n_timed[key] = n_before + n
        warm_at_s = self._first_seen_s.setdefault(key, at_s) + self._warm_up_s
        for_requests, for_blocks = n_before >= WARM_UP_ANSWERS, at_s >= warm_at_s
        if edge_ms := scale.edge_ms(canary=answers.canary):
            yield "latency", Reading(n, n_slower(answers.latency_ms, edge_ms), for_requests, for_blocks)
        if self._limit_edge_ms is not None:
            bad = n_slower(answers.latency_ms, self._limit_edge_ms)
            yield "latency_limit", Reading(n, bad, for_requests, for_blocks)
