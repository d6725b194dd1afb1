"""One line of recorded counts. It is what recorded.schema.json says, or a ValueError says in one sentence why not.

Checked by hand: a day of counts has 170,000 lines, and a general validator costs more than all the judging.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from penstock.judge.counts import Measure
from penstock.judge.edges import log_binned

#: Counts that name no pod belong to one pod of this name.
ONE_POD = "all"

#: More answers than this on one line are a broken counter, more seconds a broken clock. Source: judge.answers; 30,000 years.
_MOST_ANSWERS = 10**9
_MOST = 1e12
#: Source: the largest whole number that every JSON reader keeps exactly (RFC 8259, section 6).
_MOST_SEQ = 2**53 - 1
_MOST_LETTERS = 200
_EVERYBODY_PCT = 100.0
_ARMS = ("canary", "stable")
_EDGE = re.compile(r"\+Inf|(?!0*\.?0*([eE].*)?$)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


class Shape(StrEnum):
    """How a metric is written down."""

    SHARE = "n and bad"
    SCORES = "scores"
    SAMPLES = "samples_s"
    HISTOGRAM = "histogram"
    BUCKETS = "buckets"
    EVENTS = "events and exposure_s"
    LEVEL = "value"
    LEVELS = "values"
    OUTCOMES = "outcomes"
    USERS = "n and weight_pct"


class Line(NamedTuple):
    """One line, valid.

    Attributes:
        at_s: when, seconds >= 0.
        shape: how it is written down.
        measure: the counts. The bins of a histogram have upper edges until all edges of the record are known.
        probes: whether it counts replayed requests.
        node: who counted; empty where nobody is named.
        seq: the node's number for it, or None.
    """

    at_s: float
    shape: Shape
    measure: Measure
    probes: bool
    node: str
    seq: int | None


#: Line(...) of one tuple, in a third of the time.
_line: Callable[[tuple[Any, ...]], Line] = partial(tuple.__new__, Line)

#: What a shape adds to a measure.
Counts = Mapping[str, Any]


def line_of(text: bytes) -> Line:
    """Read one line. Raises ValueError with a sentence that names what is wrong."""
    fields = _decoded(text)
    shape, is_usual, is_plain = _layout(tuple(fields))
    at_s = fields["t"]
    if type(at_s) is not float or not 0.0 <= at_s <= _MOST:
        at_s = _number("t", at_s)
    measure = _usual(fields) if is_usual else _measure(fields, shape)
    if is_plain:
        return _line((at_s, shape, measure, False, "", None))
    return Line(at_s, shape, measure, *_rare(fields))


def _usual(fields: Mapping[str, Any]) -> Measure:
    """Return bad answers of nobody in particular: they are the most, and most of them have been seen before."""
    whose = fields["arm"], fields["metric"], fields.get("pod", ONE_POD)
    try:
        return _share(*whose, fields["n"], fields["bad"])
    except TypeError:  # a list or an object; what it should be is said
        return _share.__wrapped__(*whose, fields["n"], fields["bad"])


@lru_cache(maxsize=10_000, typed=True)  # typed: true is no number here, and in Python equals 1
def _share(arm: object, metric: object, pod: object, n: object, bad: object) -> Measure:
    return Measure(*_whose(arm, metric, pod), *_answers(n, bad))


def _measure(fields: Mapping[str, Any], shape: Shape) -> Measure:
    metric, canary, pod = _whose(fields["arm"], fields["metric"], fields.get("pod", ONE_POD))
    user = _text("user", fields["user"]) if "user" in fields else None
    return Measure(metric, canary, pod, user=user, **_READERS[shape](fields))


def _whose(arm: object, metric: object, pod: object) -> tuple[str, bool, str]:
    if arm not in _ARMS:
        raise ValueError(f'arm is {_shown(arm)}; it is "canary" or "stable"')
    return _text("metric", metric), arm == "canary", _text("pod", pod)


def _rare(fields: Mapping[str, Any]) -> tuple[bool, str, int | None]:
    """Return probes, node and seq."""
    probes = fields.get("probes", False)
    if type(probes) is not bool:
        raise ValueError(f"probes is {_shown(probes)}; it is true or false")
    node = _text("node", fields["node"]) if "node" in fields else ""
    return probes, node, _count("seq", fields["seq"], _MOST_SEQ) if "seq" in fields else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


#: The scanner itself: `json.loads` builds one at every call when it is given a `parse_constant`.
_scan = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]  # since Python 2.7


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        letters = text.decode().strip()
        fields, end = _scan(letters, 0)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at column {error.pos + 1}") from None
    except StopIteration as error:
        raise ValueError(f"it is not JSON: nothing that can be read at column {error.value + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if end != len(letters):
        raise ValueError(f"it is not JSON: there is more than one value, from column {end + 1} on")
    if type(fields) is not dict:
        raise ValueError(f"it is {_shown(fields)}; a line is one object, e.g. {_EXAMPLE}")
    return fields


def _answers(n: object, bad: object) -> tuple[int, int]:
    if type(n) is not int or type(bad) is not int or not 0 <= bad <= n <= _MOST_ANSWERS:
        n, bad = _count("n", n), _count("bad", bad)
    if bad > n:
        raise ValueError(f"bad is {bad} of n {n}; there cannot be more bad answers than answers")
    return n, bad


def _bad_of(fields: Mapping[str, Any]) -> Counts:
    n, bad = _answers(fields["n"], fields["bad"])
    return {"n": n, "bad": bad}


def _scores(fields: Mapping[str, Any]) -> Counts:
    return {"values": _numbers("scores", fields["scores"], low=-_MOST)}


def _samples(fields: Mapping[str, Any]) -> Counts:
    return {"bins": log_binned(1000.0 * one for one in _numbers("samples_s", fields["samples_s"], low=0.0))}


def _histogram(fields: Mapping[str, Any]) -> Counts:
    counts = fields["histogram"]
    if type(counts) is not dict:
        raise ValueError(f'histogram is {_shown(counts)}; write upper edges in seconds, e.g. {{"0.1": 5, "0.25": 2}}')
    bins: dict[float, int] = {}
    for edge, count in counts.items():
        upper_ms = _upper_ms("histogram", edge)
        bins[upper_ms] = bins.get(upper_ms, 0) + _count(f"histogram {edge}", count)
    return {"bins": bins}


def _buckets(fields: Mapping[str, Any]) -> Counts:
    counts = fields["buckets"]
    if type(counts) is not dict:
        raise ValueError(f'buckets is {_shown(counts)}; write upper edges in seconds, e.g. {{"0.1": 5, "+Inf": 7}}')
    reached = sorted((_upper_ms("buckets", edge), _count(f"buckets {edge}", count)) for edge, count in counts.items())
    if not reached or not math.isinf(reached[-1][0]):
        raise ValueError('buckets has no "+Inf"; without it slow answers would be missing')
    bins: dict[float, int] = {}
    before = 0
    for upper_ms, count in reached:
        if count < before:
            raise ValueError(f"buckets falls from {before} to {count}; each one holds the answers of those before it")
        bins[upper_ms] = bins.get(upper_ms, 0) + count - before
        before = count
    return {"bins": bins}


def _upper_ms(name: str, edge: str) -> float:
    if not _EDGE.fullmatch(edge):
        raise ValueError(f'{name} has the edge {_shown(edge)}; an edge is in seconds, above 0, e.g. "0.25" or "+Inf"')
    return 1000.0 * float(edge)


def _events(fields: Mapping[str, Any]) -> Counts:
    exposure_s = _number("exposure_s", fields["exposure_s"])
    if not exposure_s > 0.0:
        raise ValueError("exposure_s is 0; events need the seconds that the pod was watched")
    return {"n": _count("events", fields["events"]), "exposure_s": exposure_s}


def _level(fields: Mapping[str, Any]) -> Counts:
    return {"values": (_number("value", fields["value"], low=-_MOST),)}


def _levels(fields: Mapping[str, Any]) -> Counts:
    return {"values": _numbers("values", fields["values"], low=-_MOST)}


def _outcomes(fields: Mapping[str, Any]) -> Counts:
    counts = fields["outcomes"]
    if type(counts) is not dict:
        raise ValueError(f'outcomes is {_shown(counts)}; write outcomes with their answers, e.g. {{"cat": 3}}')
    return {"outcomes": {label: _count(f"outcomes {label}", count) for label, count in counts.items()}}


def _users(fields: Mapping[str, Any]) -> Counts:
    weight_pct = _number("weight_pct", fields["weight_pct"], high=_EVERYBODY_PCT)
    return {"n": _count("n", fields["n"]), "values": (weight_pct / _EVERYBODY_PCT,)}


def _number(name: str, value: object, *, low: float = 0.0, high: float = _MOST) -> float:
    """NaN fails every comparison, so it is refused like any other number out of range."""
    if (type(value) is int or type(value) is float) and low <= value <= high:
        return float(value)
    raise ValueError(f"{name} is {_shown(value)}; it is a number from {low:g} to {high:g}")


def _numbers(name: str, values: object, *, low: float) -> tuple[float, ...]:
    if type(values) is not list:
        raise ValueError(f"{name} is {_shown(values)}; it is a list of numbers, e.g. [1.5, 2]")
    return tuple(_number(name, value, low=low) for value in values)


def _count(name: str, value: object, most: int = _MOST_ANSWERS) -> int:
    """A whole number may be written 5 or 5.0: in JSON both are the same."""
    if type(value) is int and 0 <= value <= most:
        return value
    if type(value) is float and 0.0 <= value <= most and value.is_integer():
        return int(value)
    raise ValueError(f"{name} is {_shown(value)}; it is a whole number from 0 to {most}")


def _text(name: str, value: object) -> str:
    if type(value) is str and 0 < len(value) <= _MOST_LETTERS:
        return value
    raise ValueError(f"{name} is {_shown(value)}; it is a text of 1 to {_MOST_LETTERS} characters")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - as much as fits beside the sentence


_EXAMPLE = '{"t": 12, "arm": "canary", "metric": "errors", "n": 50, "bad": 1}'

_NEEDED = frozenset({"t", "arm", "metric"})
_RARE = frozenset({"node", "seq", "probes"})
_OPTIONAL = frozenset({"pod", "user"}) | _RARE
SHAPES: Mapping[frozenset[str], Shape] = MappingProxyType(
    {
        frozenset({"n", "bad"}): Shape.SHARE,
        frozenset({"scores"}): Shape.SCORES,
        frozenset({"samples_s"}): Shape.SAMPLES,
        frozenset({"histogram"}): Shape.HISTOGRAM,
        frozenset({"buckets"}): Shape.BUCKETS,
        frozenset({"events", "exposure_s"}): Shape.EVENTS,
        frozenset({"value"}): Shape.LEVEL,
        frozenset({"values"}): Shape.LEVELS,
        frozenset({"outcomes"}): Shape.OUTCOMES,
        frozenset({"n", "weight_pct"}): Shape.USERS,
    }
)
_READERS: Mapping[Shape, Callable[[Mapping[str, Any]], Counts]] = {
    Shape.SHARE: _bad_of,
    Shape.SCORES: _scores,
    Shape.SAMPLES: _samples,
    Shape.HISTOGRAM: _histogram,
    Shape.BUCKETS: _buckets,
    Shape.EVENTS: _events,
    Shape.LEVEL: _level,
    Shape.LEVELS: _levels,
    Shape.OUTCOMES: _outcomes,
    Shape.USERS: _users,
}
_FIELDS = sorted(_NEEDED | _OPTIONAL | frozenset().union(*SHAPES))


@lru_cache(maxsize=1000)  # a recording has few orders of fields
def _layout(names: tuple[str, ...]) -> tuple[Shape, bool, bool]:
    """Return how a line with these fields is written down, whether _usual reads it, and whether _rare has nothing to."""
    for name in names:
        if name not in _FIELDS:
            near = get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(_FIELDS)}"
            raise ValueError(f"there is no field {_shown(name)}; {hint}")
    if missing := [name for name in ("t", "arm", "metric") if name not in names]:
        raise ValueError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing, e.g. {_EXAMPLE}")
    counts = frozenset(names) - _NEEDED - _OPTIONAL
    if counts not in SHAPES:
        has = f"{' and '.join(sorted(counts))} do not make a count" if counts else "it counts nothing"
        raise ValueError(f"{has}; a line has one of: {'; '.join(SHAPES.values())}")
    shape = SHAPES[counts]
    return shape, shape is Shape.SHARE and "user" not in names, _RARE.isdisjoint(names)
