"""Reading the `version.json` that somebody wrote before Penstock came: plain spellings, bare numbers, fields left out.

What is understood is written Penstock's way; what is not is kept as it was found. Nothing is made up: a unit that is not
stated is called that, and a field that is not there is missing.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.chain import rfc3339
from penstock.kernel.errors import InvalidMetadata, InvalidSemVer
from penstock.kernel.semver import SemVer
from penstock.registry.metadata import NULLABLE, OPTIONAL, REQUIRED, Metadata
from penstock.registry.stage import Stage

#: The unit of a metric that was written as a bare number.
NOT_STATED = "not stated"
#: Where `extra` keeps values as they were found: what could not be read, and times whose zone had to be assumed.
AS_FOUND = "as_found"

#: A name that others use -> our field, and what goes before its value.
SPELLINGS: Mapping[str, tuple[str, str]] = {
    "created_at": ("created", ""),
    "license": ("licence", ""),
    "sample_rate": ("sample_rate_hz", ""),
    "torch_version": ("framework_version", "torch "),
    "tensorflow_version": ("framework_version", "tensorflow "),
}

#: Their word for how good a version is -> the stage it comes in with.
STATUSES: Mapping[str, Stage] = {"stable": Stage.STABLE, "unstable": Stage.REGISTERED}

#: The first second that no calendar of ours has. Source: datetime.MAXYEAR.
_END_S = 253_402_300_800


def stage_of(written: Mapping[str, Any]) -> Stage:
    """Return the stage that `status` means, `registered` where there is none; InvalidMetadata for any other word."""
    word = written.get("status")
    if word is None:
        return Stage.REGISTERED
    stage = STATUSES.get(word.strip().lower()) if isinstance(word, str) else None
    if stage is None:
        raise InvalidMetadata(field="status", why=f"{word!r} is neither {' nor '.join(STATUSES)}")
    return stage


def check_number(written: Mapping[str, Any], version: SemVer) -> None:
    """Refuse fields that say they are another version's; InvalidMetadata."""
    said = written.get("version")
    try:
        differs = isinstance(said, str) and SemVer.parse(said) != version
    except InvalidSemVer:  # a name of another kind contradicts nothing
        return
    if differs:
        raise InvalidMetadata(field="version", why=f"it says {said}, not {version}")


def renamed(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with our names for those that others spell differently; values are as strict as ever."""
    fields: dict[str, Any] = {}
    for name, value in written.items():
        field, before = _field_of(name, written)
        if field is None or field in fields:
            fields[name] = value
        else:
            fields[field] = _after(before, value)
    return fields


def metadata_of(written: Mapping[str, Any]) -> Metadata:
    """Read the fields of a version that is taken over; what is not there is listed as missing.

    Where every field of Penstock's is given they are read as they are, and InvalidMetadata names what cannot be used. Else only
    what the version needs of others must be readable; any other value that is not is kept in `extra["as_found"]`, and its
    field is missing.
    """
    if all(name in written for name in REQUIRED):
        return Metadata.from_json(written)
    fields: dict[str, Any] = {}
    as_found: dict[str, Any] = {}
    for name, value in written.items():
        field, before = _field_of(name, written)
        if field is None:
            fields[name] = value
            continue
        ours, left = _our_way(field, before, value) if field not in fields else (None, value)
        if ours is not None:
            fields[field] = ours
        elif value is None and field in NULLABLE:
            fields[field] = None
        if left is not None:
            as_found[name] = left
    return Metadata.from_json({**fields, **({AS_FOUND: as_found} if as_found else {})}, allow_missing=True)


def _field_of(name: str, written: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the field of ours that a name means, and what goes before its value. Our own names go before theirs."""
    field, before = SPELLINGS.get(name, (name, ""))
    is_field = field in REQUIRED or field in OPTIONAL
    return (field, before) if is_field and (name == field or field not in written) else (None, "")


def _after(before: str, value: Any) -> Any:
    return before + value if before and isinstance(value, str) and not value.startswith(before) else value


def _our_way(field: str, before: str, value: Any) -> tuple[Any, Any]:
    """Return a value as our field has it, or None, and what is left of it to be kept as it was found, or None."""
    value = _after(before, value)
    ours, left = _PLAIN.get(field, _as_it_is)(value)
    if ours is None or _is_readable(field, ours):
        return ours, left
    return None, value


def _is_readable(field: str, value: Any) -> bool:
    try:
        Metadata.from_json({field: value}, allow_missing=True)
    except InvalidMetadata:
        if field in OPTIONAL:  # these say what fits what
            raise
        return False
    return True


def _time(value: Any) -> tuple[Any, Any]:
    """A time without a zone is taken as UTC, a number as Unix seconds; both are also kept as they were."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _END_S:
        return rfc3339(datetime.fromtimestamp(value, UTC)), value
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None or len(value) == len("2026-01-31"):
        return value, None
    return rfc3339(at.replace(tzinfo=UTC)), value


def _metrics(value: Any) -> tuple[Any, Any]:
    """Numbers become metrics whose unit is not stated; what is no number is left."""
    if not isinstance(value, Mapping):
        return None, value
    measured = {name: metric if isinstance(metric, Mapping) else {"value": metric} for name, metric in value.items()}
    whole = {name: {"unit": NOT_STATED, **metric} for name, metric in measured.items()}
    ours = {name: metric for name, metric in whole.items() if _is_readable("metrics", {name: metric})}
    return ours or None, {name: metric for name, metric in value.items() if name not in ours} or None


def _as_it_is(value: Any) -> tuple[Any, Any]:
    return value, None


_PLAIN: Mapping[str, Callable[[Any], tuple[Any, Any]]] = {"created": _time, "metrics": _metrics}
