"""Limits for a recording: from presets, a limits file and options, restricted to the metrics that it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.judge.presets import PRESETS
from penstock.kernel.errors import InvalidLimits, InvalidPlan, InvalidRecord
from penstock.rollout.plan import seconds_of
from penstock.simulation.lines import Shape

#: All presets' metrics together, whichever occur.
AUTO = "auto"

#: How alike a name must be to be taken for a slip of the pen. Source: `eror` and `errors` are .8 alike, `mos` and `pops` .57.
_ALIKE = 0.75

#: Weight of a canary's own limit. Source: presets.generic.
_LIMIT_WEIGHT = 0.2

_KINDS: Mapping[Shape, tuple[MetricKind, ...]] = MappingProxyType(
    {
        Shape.SHARE: (MetricKind.SHARE, MetricKind.PAIRS),
        Shape.SCORES: (MetricKind.SCORE,),
        Shape.SAMPLES: (MetricKind.LATENCY,),
        Shape.HISTOGRAM: (MetricKind.LATENCY,),
        Shape.EVENTS: (MetricKind.EVENTS,),
        Shape.LEVEL: (MetricKind.GAUGE,),
        Shape.OUTCOMES: (MetricKind.DRIFT,),
        Shape.USERS: (MetricKind.SPLIT,),
    }
)

#: Fields without which a kind means nothing, and has no default.
_NEEDED: Mapping[MetricKind, tuple[str, ...]] = {
    MetricKind.SCORE: ("best", "worst", "gap"),
    MetricKind.GAUGE: ("worst",),
    MetricKind.DRIFT: ("gap",),
}

#: The canary's own limit is written in the unit of its kind.
_LIMIT_FIELDS: Mapping[str, tuple[MetricKind, ...]] = {
    "limit_pct": (MetricKind.SHARE,),
    "limit_ms": (MetricKind.LATENCY,),
    "limit": (MetricKind.SCORE, MetricKind.EVENTS, MetricKind.GAUGE),
}

#: What people write -> the field of MetricLimit, and what it is divided by.
_NUMBERS: Mapping[str, tuple[str, float]] = {
    "weight": ("weight", 1.0),
    "ratio": ("ratio", 1.0),
    "floor_pct": ("floor", 100.0),
    "ok_ratio": ("ok_ratio", 1.0),
    "ok_floor_pct": ("ok_floor", 100.0),
    "margin_pct": ("margin", 100.0),
    "gap": ("gap", 1.0),
    "best": ("best", 1.0),
    "worst": ("worst", 1.0),
}
_FLAGS = ("fails", "required")
METRIC_FIELDS = ("kind", *_NUMBERS, "quantiles", *_LIMIT_FIELDS, *_FLAGS)
FILE_FIELDS = ("preset", "alpha", "beta", "longest_stall", "metrics")


@dataclass(frozen=True, slots=True)
class Declared:
    """What was asked for, checked as far as it can be without a recording.

    Attributes:
        preset: a preset's name, or `auto`.
        others: fields of Limits besides the metrics.
        metrics: metric -> its fields as written.
    """

    preset: str = AUTO
    others: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Limits for one recording.

    Attributes:
        limits: of the metrics that it has.
        preset: the presets whose metrics are judged, joined by `+`; `none` where none is.
        notes: what a person should know about the choice.
    """

    limits: Limits
    preset: str
    notes: tuple[str, ...]


def declared_from(written: Mapping[str, Any], **options: Any) -> Declared:
    """Return what a limits file says with options laid over it; None is an option that was not given.

    Raises InvalidLimits for what cannot be meant.
    """
    _known("limits file", written, FILE_FIELDS)
    asked = {**written, **{name: value for name, value in options.items() if value is not None}}
    preset = asked.get("preset", AUTO)
    if preset not in (AUTO, *PRESETS):
        raise InvalidLimits(why=f"there is no preset {preset!r}; there are {', '.join((AUTO, *PRESETS))}")
    others: dict[str, float] = {name: _number(name, asked[name]) for name in ("alpha", "beta") if name in asked}
    if "longest_stall" in asked:
        others["longest_stall_s"] = _seconds(asked["longest_stall"])
    metrics = asked.get("metrics") or {}
    if not isinstance(metrics, Mapping):
        raise InvalidLimits(why="metrics holds no names with their fields, such as errors: {ratio: 1.25}")
    for name, fields in metrics.items():
        if not isinstance(fields, Mapping):
            raise InvalidLimits(why=f"metrics: {name} holds no fields, such as ratio: 1.25")
        _known(f"metrics: {name}", fields, METRIC_FIELDS)
    declared = Declared(preset, others, {str(name): dict(fields) for name, fields in metrics.items()})
    _limits(_pool(preset).values(), others)  # alpha and the like must be right whatever is recorded
    return declared


def chosen_for(declared: Declared, shapes: Mapping[str, Shape], *, file: str) -> Chosen:
    """Return the limits of the metrics that `file` has. Raises InvalidLimits or InvalidRecord."""
    pool = _pool(declared.preset)
    for name, fields in declared.metrics.items():
        pool = {known: limit for known, limit in pool.items() if name not in (known, limit.read_from)} | {
            one.name: one for one in _written(name, fields, pool.get(name), shapes.get(name))
        }
    sources = {limit.read_from for limit in pool.values()}
    notes = [f"{name} is declared, but {file} has none of it" for name in declared.metrics if name not in shapes]
    for name, shape in shapes.items():
        if name not in sources:
            limit = _by_default(name, shape, tuple(sources), file)
            pool[name] = limit
            notes.append(f"{name} is not known; judged as any {limit.kind} is, unless --limits says how")
    kept = [limit for limit in pool.values() if limit.read_from in shapes]
    for limit in kept:
        if limit.kind not in _KINDS[shapes[limit.read_from]]:
            why = f"{limit.read_from} is written as {shapes[limit.read_from]}, and judged as {limit.kind}"
            raise InvalidRecord(file=file, why=why)
    return Chosen(_limits(kept, declared.others), _presets_of(kept, declared.preset), tuple(notes))


def _pool(preset: str) -> dict[str, MetricLimit]:
    names = PRESETS if preset == AUTO else (preset,)
    return {limit.name: limit for name in reversed(list(names)) for limit in PRESETS[name]()}


def _presets_of(kept: list[MetricLimit], preset: str) -> str:
    """Name the presets that the metrics come from; of several that have a metric the first counts."""
    used = []
    left = {limit.name for limit in kept}
    for name in PRESETS if preset == AUTO else (preset,):
        if own := left & {limit.name for limit in PRESETS[name]()}:
            used.append(name)
            left -= own
    return "+".join(used) or "none"


def _limits(metrics: Any, others: Mapping[str, float]) -> Limits:
    try:
        return Limits(tuple(metrics), **others)
    except ValueError as error:
        raise InvalidLimits(why=str(error)) from None


def _by_default(name: str, shape: Shape, known: tuple[str, ...], file: str) -> MetricLimit:
    """Return what holds for a metric that nobody declared, where anything can."""
    if near := get_close_matches(name, known, n=1, cutoff=_ALIKE):
        raise InvalidRecord(file=file, why=f"there is no metric {name!r} (did you mean {near[0]!r}?)")
    kind = _KINDS[shape][0]
    if needed := _NEEDED.get(kind):
        fields = ", ".join(f"{one}: ..." for one in ("kind", *needed)).replace("kind: ...", f"kind: {kind}")
        raise InvalidRecord(
            file=file, why=f"nobody said how to judge {name!r}; declare it under metrics as {name}: {{{fields}}}"
        )
    return MetricLimit(name, kind, weight=0.0 if kind is MetricKind.SPLIT else 0.1)


def _written(
    name: str, fields: Mapping[str, Any], base: MetricLimit | None, shape: Shape | None
) -> Iterator[MetricLimit]:
    """Yield the limits that one entry of a limits file stands for: quantiles and a limit of its own are more than one."""
    kind = _kind(name, fields.get("kind"), base, shape)
    if kind is None:
        return
    missing = [one for one in _NEEDED.get(kind, ()) if one not in fields and (base is None or base.kind is not kind)]
    if missing:
        raise InvalidLimits(why=f"metrics: {name} is a {kind}, which needs {' and '.join(missing)}")
    numbers: dict[str, Any] = {
        to: _number(f"metrics: {name}: {field}", fields[field]) / by
        for field, (to, by) in _NUMBERS.items()
        if field in fields
    }
    flags: dict[str, Any] = {flag: _flag(f"metrics: {name}: {flag}", fields[flag]) for flag in _FLAGS if flag in fields}
    limit = _own_limit(name, kind, fields)
    start = base if base is not None and base.kind is kind else None
    try:
        one = replace(start or MetricLimit(name, kind), **numbers, **flags)
        yield from _expanded(one, _quantiles(name, kind, fields), limit)
    except ValueError as error:
        raise InvalidLimits(why=f"metrics: {error}") from None


def _expanded(one: MetricLimit, quantiles: tuple[float, ...], limit: float | None) -> Iterator[MetricLimit]:
    if one.kind is MetricKind.GAUGE:
        yield one if limit is None else replace(one, limit=limit)
        return
    if not quantiles:
        yield one
    for quantile in quantiles:
        name, weight = f"{one.name}_p{100 * quantile:g}", one.weight / len(quantiles)
        yield replace(one, name=name, source=one.name, quantile=quantile, weight=weight)
    if limit is not None:
        quantile = quantiles[0] if len(quantiles) == 1 else one.quantile
        own: dict[str, Any] = {
            "source": one.name,
            "limit": limit,
            "quantile": quantile,
            "weight": _LIMIT_WEIGHT,
            "fails": False,
        }
        yield replace(one, name=f"{one.name}_limit", **own)


def _kind(name: str, asked: object, base: MetricLimit | None, shape: Shape | None) -> MetricKind | None:
    """Return what was asked for, else the preset's, else what the recording's shape suggests; None where nobody knows."""
    if asked is None:
        if base is not None:
            return base.kind
        return None if shape is None else _KINDS[shape][0]
    if asked not in [kind.value for kind in MetricKind]:
        raise InvalidLimits(
            why=f"metrics: {name}: there is no kind {asked!r}{_nearest(str(asked), [kind.value for kind in MetricKind])}"
        )
    return MetricKind(asked)


def _own_limit(name: str, kind: MetricKind, fields: Mapping[str, Any]) -> float | None:
    given = [one for one in _LIMIT_FIELDS if fields.get(one) is not None]
    for one in given:
        if kind not in _LIMIT_FIELDS[one]:
            right = next((field for field, kinds in _LIMIT_FIELDS.items() if kind in kinds), None)
            hint = f"use {right}" if right else "it has none"
            raise InvalidLimits(why=f"metrics: {name}: {one} is no limit of a {kind}; {hint}")
        value = _number(f"metrics: {name}: {one}", fields[one])
        return value / 100.0 if one == "limit_pct" else value
    return None


def _quantiles(name: str, kind: MetricKind, fields: Mapping[str, Any]) -> tuple[float, ...]:
    if "quantiles" not in fields:
        return ()
    quantiles = fields["quantiles"]
    if kind is not MetricKind.LATENCY or not isinstance(quantiles, list) or not quantiles:
        raise InvalidLimits(why=f"metrics: {name}: quantiles is a list for a latency, e.g. [0.5, 0.95, 0.99]")
    return tuple(_number(f"metrics: {name}: quantiles", one) for one in quantiles)


def _known(where: str, fields: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise InvalidLimits(why=f"{where}: there is no field {name!r}{_nearest(str(name), list(known))}")


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; the known ones are {', '.join(known)}"


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidLimits(why=f"{name} is {value!r}; it is a number")
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidLimits(why=f"{name} is {value!r}; it is true or false")
    return value


def _seconds(value: object) -> float:
    try:
        return seconds_of(value, "longest_stall")
    except InvalidPlan as error:
        raise InvalidLimits(why=f"{error.facts['why']}, such as 30s or 2m") from None
