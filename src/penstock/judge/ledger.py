"""Counts of one tick, however they arrive: in any order, from several nodes, some of them twice.

A node numbers what it sends of one pod and metric (`seq`). The same number is counted once, whatever came between; a number
that comes late counts in the tick that is open. So the sums are additive, and two ledgers that heard of the same counts
merge into one as if each had been heard once. Source: JUDGE.md 8 ("late data", "duplicate tick from a node").
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from penstock.judge.counts import Measure

_Key = TypeVar("_Key", float, str)

#: Numbers below the highest that are told apart. Source: the window of RFC 6479 (1024 bits a stream).
WINDOW = 1024

#: Streams (node, arm, pod, metric) that are remembered, the latest heard. Source: 100 nodes x 100 pods x 10 metrics.
_MOST_STREAMS = 100_000


class Stream(NamedTuple):
    """What is numbered on its own."""

    node: str
    canary: bool
    pod: str
    metric: str


class Window(NamedTuple):
    """Which numbers of a stream were heard: bit i of `heard` stands for `highest` - i."""

    highest: int
    heard: int


class Ledger:
    """The open tick's counts, and which numbers were counted before.

    Memory: the open tick's lines, and about 200 bytes for each of the last 100,000 streams.
    """

    def __init__(self) -> None:
        self._windows: dict[Stream, Window] = {}
        self._numbered: dict[tuple[Stream, int], Measure] = {}
        self._others: list[Measure] = []
        #: Lines that were ignored because their number had been counted.
        self.n_twice = 0
        #: Lines that were ignored because their number is too far below the stream's highest to be told apart.
        self.n_stale = 0

    def add(self, measure: Measure, *, node: str = "", seq: int | None = None) -> bool:
        """Count a measure in the open tick; return whether it was new. Without a number it always is.

        Args:
            measure: its counts.
            node: who counted.
            seq: the number that the node gave it within (node, arm, pod, metric), >= 0.
        """
        if seq is None:
            self._others.append(measure)
            return True
        stream = Stream(node, measure.canary, measure.pod, measure.metric)
        if not self._is_new(stream, seq):
            return False
        self._numbered[stream, seq] = measure
        return True

    def merge(self, other: "Ledger") -> None:
        """Take over what another ledger heard in the same tick. What is numbered counts once, whoever heard it."""
        for (stream, seq), measure in other._numbered.items():  # noqa: SLF001 - one of us
            self.add(measure, node=stream.node, seq=seq)
        self._others += other._others  # noqa: SLF001 - as above
        for stream, theirs in other._windows.items():  # noqa: SLF001 - as above
            ours = self._windows.get(stream)
            self._windows[stream] = theirs if ours is None else _united(ours, theirs)

    def close(self) -> tuple[Measure, ...]:
        """Close the tick; return its sums in one order, whatever order they came in, one per metric, arm, pod and user."""
        lines = self._others
        if self._numbered:
            lines = [self._numbered[key] for key in sorted(self._numbered)] + lines
            self._numbered = {}
        if not lines:
            return ()
        self._others = []
        return _summed(lines)

    def _is_new(self, stream: Stream, seq: int) -> bool:
        window = self._windows.pop(stream, None)
        if window is None:
            self._forget()
            self._windows[stream] = Window(seq, 1)
            return True
        behind = window.highest - seq
        known = behind >= 0 and bool(behind >= WINDOW or window.heard >> behind & 1)
        self.n_stale += behind >= WINDOW
        self.n_twice += known and behind < WINDOW
        self._windows[stream] = window if known else _united(window, Window(seq, 1))
        return not known

    def _forget(self) -> None:
        while len(self._windows) >= _MOST_STREAMS:
            del self._windows[next(iter(self._windows))]


def _united(one: Window, other: Window) -> Window:
    high, low = (one, other) if one.highest >= other.highest else (other, one)
    behind = high.highest - low.highest
    if behind >= WINDOW:
        return high
    return Window(high.highest, (high.heard | low.heard << behind) & ((1 << WINDOW) - 1))


def _summed(lines: list[Measure]) -> tuple[Measure, ...]:
    """Add up lines that are about the same."""
    sums: dict[tuple[Any, ...], Measure] = {}
    for line in lines:
        place = line[:3] if line.user is None else (*line[:3], line.user)
        known = sums.get(place)
        sums[place] = line if known is None else _added(known, line)
    return tuple([sums[place] for place in sorted(sums)])


def _added(one: Measure, other: Measure) -> Measure:
    return one._replace(
        n=one.n + other.n,
        bad=one.bad + other.bad,
        values=one.values + other.values,
        bins=_both(one.bins, other.bins),
        outcomes=_both(one.outcomes, other.outcomes),
        exposure_s=one.exposure_s + other.exposure_s,
    )


def _both(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> Mapping[_Key, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}} if other else one
