"""The judge's state as JSON, and back: a restarted judge goes on where it stopped, bit for bit.

One walk over the object tree serves every class of this room, so that a new field needs no code here. Only the classes
named below are ever built, whatever the text says; a text of another version is refused and the judge begins anew, which
costs evidence and no validity.
"""

import base64
import math
from collections import Counter, deque
from enum import StrEnum
from typing import Any

import numpy as np

from penstock.judge.batch import BettingBatch
from penstock.judge.betting import BettingProcess, Null, Prior
from penstock.judge.blocks import BlockEvidence
from penstock.judge.edges import ForeignEdges, LogSpaced, TwoDigits
from penstock.judge.events import EventsMetric
from penstock.judge.exposure import FailureBound
from penstock.judge.gauge import GaugeMetric
from penstock.judge.gross import GrossRule
from penstock.judge.holding import DriftMetric, SplitMetric
from penstock.judge.interval import GapInterval
from penstock.judge.judge import Judge
from penstock.judge.latency import LatencyHistogram, LatencyScale, Stretch, Thresholds, Timing
from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.judge.metric import ComparedMetric, OpenArm, OpenBlock, Tally
from penstock.judge.panel import Panel
from penstock.judge.placebo import Lengthened, PastBlock, Placebo
from penstock.judge.poisson import PoissonProcess
from penstock.judge.rounds import RoundEvidence
from penstock.judge.tolerance import Tolerance

#: Grows when a state of before can no longer be read.
_VERSION = 6

_OBJECTS: dict[str, type] = {
    one.__name__: one
    for one in (
        BettingBatch,
        BettingProcess,
        BlockEvidence,
        ComparedMetric,
        DriftMetric,
        EventsMetric,
        FailureBound,
        ForeignEdges,
        GapInterval,
        GaugeMetric,
        GrossRule,
        Judge,
        LatencyHistogram,
        LatencyScale,
        Limits,
        LogSpaced,
        MetricLimit,
        OpenArm,
        OpenBlock,
        Panel,
        Placebo,
        PoissonProcess,
        Prior,
        RoundEvidence,
        SplitMetric,
        Timing,
        Tolerance,
        TwoDigits,
    )
}
_TUPLES: dict[str, Any] = {one.__name__: one for one in (Lengthened, Null, PastBlock, Stretch, Tally, Thresholds)}


def remember(judged: Judge | Placebo) -> dict[str, Any]:
    """Return the whole state as JSON values."""
    return {"version": _VERSION, "state": _Writer().write(judged)}


def recall(remembered: dict[str, Any]) -> Any:
    """Return the judge or placebo that `remember` was given. Raises ValueError for anything else."""
    if remembered.get("version") != _VERSION:
        raise ValueError(f"state of version {remembered.get('version')}, not {_VERSION}")
    try:
        return _Reader().read(remembered["state"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a judge's state: {error!r}") from error


def _fields(value: object) -> list[str]:
    slots = [name for one in type(value).__mro__ for name in getattr(one, "__slots__", ())]
    return [name for name in (*slots, *getattr(value, "__dict__", ())) if hasattr(value, name)]


class _Writer:
    """Writes a tree. An object that is met again, e.g. the timing that several metrics share, is written once."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def write(self, value: Any) -> Any:  # noqa: C901, PLR0911 - one case per kind of value
        match value:
            case StrEnum():
                return {"~": "enum", "value": value.value}
            case None | bool() | int() | str():
                return value
            case float():
                return value if math.isfinite(value) else {"~": "float", "value": str(value)}
            case np.ndarray():
                text = base64.b64encode(value.tobytes()).decode("ascii")
                return {"~": "array", "dtype": value.dtype.str, "shape": list(value.shape), "value": text}
            case tuple():
                return {"~": "tuple", "class": type(value).__name__, "value": [self.write(one) for one in value]}
            case set() | frozenset():
                return {"~": "set", "value": sorted(value)}
            case deque():
                return {"~": "deque", "most": value.maxlen, "value": [self.write(one) for one in value]}
            case dict():
                pairs = [[self.write(key), self.write(one)] for key, one in value.items()]
                return {"~": "counter" if isinstance(value, Counter) else "dict", "value": pairs}
            case list():
                return [self.write(one) for one in value]
        return self._object(value)

    def _object(self, value: object) -> dict[str, Any]:
        if id(value) in self._seen:
            return {"~": "again", "value": self._seen[id(value)]}
        name = type(value).__name__
        if name not in _OBJECTS:
            raise TypeError(f"{name} is no part of a judge's state")
        number = self._seen[id(value)] = len(self._seen)
        fields = {field: self.write(getattr(value, field)) for field in _fields(value)}
        return {"~": "object", "class": name, "number": number, "value": fields}


class _Reader:
    def __init__(self) -> None:
        self._built: dict[int, Any] = {}

    def read(self, value: Any) -> Any:  # noqa: PLR0911 - one case per kind of value
        if isinstance(value, list):
            return [self.read(one) for one in value]
        if not isinstance(value, dict):
            return value
        inner = value["value"]
        match value["~"]:
            case "object":
                return self._object(value["class"], value["number"], inner)
            case "again":
                return self._built[inner]
            case "tuple":
                parts = [self.read(one) for one in inner]
                return tuple(parts) if value["class"] == "tuple" else _TUPLES[value["class"]](*parts)
            case "array":
                flat = np.frombuffer(base64.b64decode(inner), dtype=np.dtype(value["dtype"]))
                return flat.reshape(value["shape"]).copy()
            case "deque":
                return deque((self.read(one) for one in inner), maxlen=value["most"])
        return self._plain(value["~"], inner)

    def _plain(self, kind: str, inner: Any) -> Any:
        match kind:
            case "float":
                return float(inner)
            case "enum":
                return MetricKind(inner)
            case "set":
                return set(inner)
            case "dict" | "counter":
                pairs = {self.read(key): self.read(one) for key, one in inner}
                return Counter(pairs) if kind == "counter" else pairs
        raise KeyError(kind)

    def _object(self, name: str, number: int, fields: dict[str, Any]) -> Any:
        built: Any = object.__new__(_OBJECTS[name])
        self._built[number] = built
        for field, value in fields.items():
            object.__setattr__(built, field, self.read(value))
        return built
