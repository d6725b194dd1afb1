"""Recorded counts: lines of JSON become the judge's ticks. Nothing is guessed, and nothing is judged beside a bad line."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from penstock.judge.counts import NO_POD, Measure, Tick
from penstock.judge.edges import Edges, ForeignEdges, LogSpaced
from penstock.judge.ledger import Ledger
from penstock.kernel.errors import InvalidRecord, UnreadableLines
from penstock.simulation.lines import Line, Shape, line_of

#: Bad lines that are quoted; of the others only the number is said.
_QUOTED = 5

#: Shapes that one metric may mix: they come to the same.
_HISTOGRAM = Shape.HISTOGRAM
_FAMILIES: Mapping[Shape, Shape] = {Shape.BUCKETS: Shape.HISTOGRAM, Shape.LEVELS: Shape.LEVEL}


@dataclass(frozen=True, slots=True)
class Record:
    """A whole recording.

    Attributes:
        ticks: in the order of time; where users' requests and probes were counted at the same moment, the users' first.
        shapes: metric -> how it is written down.
        edges: latency metric -> the edges of its bins.
        n_pods: canary's, stable's: how many different pods are named, at least 1.
        n_lines: how many lines counted.
        n_ignored: how many did not, because the same number had been counted before.
    """

    ticks: tuple[Tick, ...]
    shapes: Mapping[str, Shape]
    edges: Mapping[str, Edges]
    n_pods: tuple[int, int]
    n_lines: int
    n_ignored: int

    @property
    def span_s(self) -> float:
        """Seconds from the first tick to the last."""
        return self.ticks[-1].at_s - self.ticks[0].at_s


@dataclass(slots=True)
class _Seen:
    """What is known of one metric so far."""

    shape: Shape
    line: int
    #: How the last line was written; a line that is written like it needs no check, unless it brings edges.
    last: Shape
    edges_ms: set[float] = field(default_factory=set)
    bucket_edges: frozenset[float] | None = None


class Recorder:
    """Takes lines in, one after the other, and returns the record at the end.

    Args:
        name: what the recording is called in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._n = 0
        self._bad: list[str] = []
        self._n_bad = 0
        self._metrics: dict[str, _Seen] = {}
        self._pods: dict[bool, set[str]] = {True: set(), False: set()}
        self._ledgers = {False: Ledger(), True: Ledger()}
        self._ticks: list[Tick] = []
        self._at_s: float | None = None

    def add(self, text: bytes) -> None:
        """Take one line in. An empty one is no line; a bad one is kept for the end."""
        self._n += 1
        if not text or text.isspace():
            return
        try:
            line = line_of(text)
            at_s, shape, measure, probes, node, seq = line
            seen = self._metrics.get(measure.metric)
            if seen is None or shape is not seen.last or seen.shape is _HISTOGRAM:
                self._check(line)
        except ValueError as error:
            self._n_bad += 1
            if len(self._bad) < _QUOTED:
                self._bad.append(f"line {self._n}: {error}")
            return
        if self._at_s is None or at_s > self._at_s:
            self._close()
            self._at_s = at_s
        self._pods[measure.canary].add(measure.pod)
        self._ledgers[probes].add(measure, node=node, seq=seq)

    def end(self) -> Record:
        """Return the record. Raises UnreadableLines or InvalidRecord."""
        if self._n_bad:
            raise UnreadableLines(file=self._name, n=self._n_bad, total=self._n, lines="; ".join(self._bad))
        self._close()
        if not self._ticks:
            raise InvalidRecord(file=self._name, why="it holds no counts")
        n_ignored = sum(ledger.n_twice + ledger.n_stale for ledger in self._ledgers.values())
        edges = {name: _edges(seen) for name, seen in self._metrics.items() if seen.shape in _LATENCIES}
        return Record(
            ticks=tuple(_rebinned(self._ticks, edges)),
            shapes={name: seen.shape for name, seen in self._metrics.items()},
            edges=edges,
            n_pods=(self._n_pods(canary=True), self._n_pods(canary=False)),
            n_lines=self._n,
            n_ignored=n_ignored,
        )

    def _close(self) -> None:
        """Make a tick of what is open."""
        for probes, ledger in self._ledgers.items():
            if measures := ledger.close():
                self._ticks.append(Tick(self._at_s or 0.0, (), (), probes, measures))

    def _check(self, line: Line) -> None:
        """A metric is written down in one way. Raises ValueError where it is not."""
        name, shape = line.measure.metric, _FAMILIES.get(line.shape, line.shape)
        seen = self._metrics.get(name)
        if seen is None:
            seen = self._metrics[name] = _Seen(shape, self._n, line.shape)
        elif seen.shape is not shape:
            raise ValueError(f"{name} is written as {line.shape} here, and as {seen.shape} in line {seen.line}")
        seen.last = line.shape
        if shape is _HISTOGRAM:
            self._check_edges(line, seen)

    def _check_edges(self, line: Line, seen: _Seen) -> None:
        """Buckets are complete, so that all lines of a metric must have the same."""
        edges = frozenset(line.measure.bins)
        if line.shape is Shape.BUCKETS:
            if seen.bucket_edges not in (None, edges):
                raise ValueError(f"buckets of {line.measure.metric} have other edges than those before")
            seen.bucket_edges = edges
        seen.edges_ms |= edges

    def _n_pods(self, *, canary: bool) -> int:
        return max(1, len(self._pods[canary] - {NO_POD}))


_LATENCIES = (Shape.SAMPLES, Shape.HISTOGRAM)


def record_of(name: str, lines: Iterable[bytes]) -> Record:
    """Return the record of these lines. Raises UnreadableLines or InvalidRecord."""
    recorder = Recorder(name)
    for line in lines:
        recorder.add(line)
    return recorder.end()


def _edges(seen: _Seen) -> Edges:
    return LogSpaced() if seen.shape is Shape.SAMPLES else ForeignEdges(seen.edges_ms)


def _rebinned(ticks: Iterable[Tick], edges: Mapping[str, Edges]) -> Iterator[Tick]:
    """Name the bins of histograms by their lower edges, now that all edges are known."""
    foreign = {name: one for name, one in edges.items() if isinstance(one, ForeignEdges)}
    if not foreign:
        yield from ticks
        return
    for tick in ticks:
        if any(measure.metric in foreign for measure in tick.measures):
            measures = tuple(
                _lowered(measure, foreign[measure.metric]) if measure.metric in foreign else measure
                for measure in tick.measures
            )
            yield tick._replace(measures=measures)
        else:
            yield tick


def _lowered(measure: Measure, edges: ForeignEdges) -> Measure:
    return measure._replace(bins={edges.lower_edge(upper_ms): count for upper_ms, count in measure.bins.items()})
