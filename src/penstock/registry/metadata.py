"""What must be known about a version before it is registered: who trained what, on what, how good it is, what it needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from penstock.kernel.chain import rfc3339, utc
from penstock.kernel.errors import InvalidMetadata, InvalidRange, InvalidSemVer
from penstock.kernel.semver import Range, SemVer

#: The largest number that is one in every program that reads JSON. Source: IEEE 754, binary64.
_LARGEST = 2.0**1023 * (2 - 2.0**-52)

#: Deeper than anybody writes, and far from where readers of JSON give up. Source: a choice.
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Metric:
    """A number somebody measured, and its unit, e.g. 4.2 of `MOS 1..5`, 0.031 of `ratio`."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The fields of a version. None where a field does not apply, or is missing: `missing` tells.

    Attributes:
        created: aware UTC, when it was trained or built.
        author, owner: who made it, who answers for it.
        change_note: what is different from the version before.
        training_set: what it was trained on; null for what was not trained.
        metrics: name -> value and unit; at least one.
        framework_version: e.g. `torch 2.13.0`.
        cuda_version: null for what needs no GPU.
        sample_rate_hz: > 0; null where there is no audio.
        languages: e.g. `en`, `zh`; null where there is no language.
        input_signature, output_signature: any JSON value but null.
        licence: e.g. an SPDX identifier.
        requires: component -> range of its versions.
        mel: settings of the mel spectrogram that it makes or takes; equal for components that fit. None: none.
        trained_with: component -> the version it was trained jointly with.
        extra: fields that Penstock does not know, as they came.
        missing: names of required fields that were not given; only where that was allowed.
    """

    created: datetime | None = None
    author: str | None = None
    owner: str | None = None
    change_note: str | None = None
    training_set: str | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    framework_version: str | None = None
    cuda_version: str | None = None
    sample_rate_hz: int | None = None
    languages: tuple[str, ...] | None = None
    input_signature: Any = None
    output_signature: Any = None
    licence: str | None = None
    requires: Mapping[str, Range] = field(default_factory=dict)
    mel: Mapping[str, Any] | None = None
    trained_with: Mapping[str, SemVer] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every required field was given."""
        return not self.missing

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], *, allow_missing: bool = False) -> Self:
        """Read the fields; raise InvalidMetadata with the name of the first that is missing or cannot be used.

        With `allow_missing`, for what others wrote before, missing ones are listed instead.
        """
        missing = tuple(name for name in REQUIRED if name not in fields)
        if missing and not allow_missing:
            raise InvalidMetadata(
                field=missing[0],
                why=f"it is missing (also: {', '.join(missing[1:])})" if missing[1:] else "it is missing",
            )
        if (deep := next((name for name, value in fields.items() if _is_deep(value)), None)) is not None:
            raise InvalidMetadata(field=deep, why=f"it is nested more than {_DEEPEST} deep")
        known = {name: _read(name, fields[name]) for name in _READERS if name in fields}
        extra = {name: value for name, value in fields.items() if name not in _READERS}
        return cls(**known, extra=extra, missing=missing)

    def as_json(self) -> dict[str, Any]:
        """The fields as `from_json` reads them; missing ones are left out."""
        fields = {name: _WRITERS.get(name, _same)(getattr(self, name)) for name in _READERS if name not in self.missing}
        empty = {name for name in OPTIONAL if not fields[name]}
        return {**self.extra, **{name: value for name, value in fields.items() if name not in empty}}


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return False
    return True


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _read(name: str, value: Any) -> Any:
    if value is None:
        if name in NULLABLE:
            return None
        raise InvalidMetadata(field=name, why="it cannot be null")
    try:
        return _READERS[name](value)
    except InvalidMetadata as error:
        raise InvalidMetadata(field=f"{name}.{error.facts['field']}", why=error.facts["why"]) from None
    except (ValueError, InvalidRange, InvalidSemVer) as error:
        raise InvalidMetadata(field=name, why=str(error).rstrip(".")) from None


def _time(value: Any) -> datetime:
    return utc(f"{value}T00:00Z" if len(_text(value)) == len("2026-01-31") else value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text that is not empty")
    return value


def _positive(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError("it must be a whole number above 0")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("it must be a list of texts that is not empty")
    return tuple(map(_text, value))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("it must be an object")  # noqa: TRY004 - what a reader raises is what the user is told
    return value


def _metrics(value: Any) -> dict[str, Metric]:
    if not _mapping(value):
        raise ValueError("it must name at least one metric")
    return {name: _metric(name, metric) for name, metric in value.items()}


def _metric(name: str, value: Any) -> Metric:
    for part in ("value", "unit"):
        if not isinstance(value, Mapping) or part not in value:
            raise InvalidMetadata(field=f"{name}.{part}", why='it is missing; write {"value": 4.2, "unit": "MOS 1..5"}')
    number = value["value"]
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= _LARGEST:
        raise InvalidMetadata(field=f"{name}.value", why="it must be a finite number")
    return Metric(float(number), _text(value["unit"]))


def _ranges(value: Any) -> dict[str, Range]:
    return {component: Range.parse(_text(text)) for component, text in _mapping(value).items()}


def _versions(value: Any) -> dict[str, SemVer]:
    return {component: SemVer.parse(_text(text)) for component, text in _mapping(value).items()}


def _same(value: Any) -> Any:
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "created": _time,
    "author": _text,
    "owner": _text,
    "change_note": _text,
    "training_set": _text,
    "metrics": _metrics,
    "framework_version": _text,
    "cuda_version": _text,
    "sample_rate_hz": _positive,
    "languages": _texts,
    "input_signature": _same,
    "output_signature": _same,
    "licence": _text,
    "requires": _ranges,
    "mel": _mapping,
    "trained_with": _versions,
}

_WRITERS: Mapping[str, Callable[[Any], Any]] = {
    "created": rfc3339,
    "metrics": lambda metrics: {name: {"value": m.value, "unit": m.unit} for name, m in metrics.items()},
    "languages": lambda languages: None if languages is None else list(languages),
    "requires": lambda ranges: {component: str(r) for component, r in ranges.items()},
    "trained_with": lambda versions: {component: str(v) for component, v in versions.items()},
}

#: Fields that may be left out.
OPTIONAL = frozenset({"requires", "mel", "trained_with"})

#: Fields that must be given.
REQUIRED: tuple[str, ...] = tuple(name for name in _READERS if name not in OPTIONAL)

#: Fields whose null says that they do not apply.
NULLABLE = frozenset({"training_set", "cuda_version", "sample_rate_hz", "languages", "mel"})
