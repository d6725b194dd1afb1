"""Reading what was typed: services, plans, times. Anything that cannot be meant is one sentence with a remedy."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from penstock.kernel.errors import DuplicateEndpoint, InvalidPlan, PenstockError, UsageError
from penstock.kernel.names import checked_service

#: What names a header or a cookie. Source: RFC 9110, section 5.6.2 (token); RFC 6265, section 4.1.1.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?P<unit>|[KMGT]?B|[KMGT]iB)", re.IGNORECASE)
_UNITS_BYTES = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**n for n, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**n for n, letter in enumerate("kmgt", 1)},
}


def services_of(words: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read `NAME=URL[,URL...]` words. Raises UsageError, InvalidName, InvalidUrl, DuplicateEndpoint."""
    from penstock.registry.release import Endpoint  # noqa: PLC0415 - `penstock --help` must not pay for it

    owners: dict[Endpoint, str] = {}
    services: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, urls = word.partition("=")
        if not equals or not urls:
            raise UsageError(detail=f"{word!r} is not NAME=URL, e.g. tts=http://127.0.0.1:6006.")
        if checked_service(name) in services:
            raise UsageError(detail=f"{name!r} is named twice; separate the URLs of one service by commas.")
        endpoints = [Endpoint.parse(url) for url in urls.split(",")]
        for endpoint in endpoints:
            if endpoint in owners:
                raise DuplicateEndpoint(url=endpoint.url, owner=owners[endpoint])
            owners[endpoint] = name
        services[name] = tuple(endpoint.url for endpoint in endpoints)
    return tuple(services.items())


def service_and_component(name: str) -> tuple[str, str | None]:
    """Read `SERVICE` or `SERVICE/COMPONENT`. Raises UsageError."""
    service, slash, component = name.partition("/")
    if slash and not component:
        raise UsageError(detail=f"{name!r} names no component; write {service} or {service}/COMPONENT.")
    return service, component or None


def seconds_asked(written: str, option: str) -> float:
    """Read a time such as 10s or 5m, above 0, seconds."""
    from penstock.rollout.plan import seconds_of  # noqa: PLC0415 - `penstock --help` must not pay for it

    try:
        seconds = seconds_of(written, option)
    except InvalidPlan:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(detail=f"{option} {written!r} is not a time above zero, such as 30s, 10m or 2h.")
    return seconds


def time_asked(written: str, option: str) -> datetime:
    """Read a day, or a time with its zone, as UTC."""
    from penstock.kernel.chain import utc  # noqa: PLC0415 - `penstock --help` must not pay for it

    try:
        return utc(f"{written}T00:00Z" if len(written) == len("2026-01-31") else written)
    except ValueError:
        example = "such as 2026-01-31 or 2026-01-31T12:00Z"
        raise UsageError(detail=f"{option} {written!r} is neither a day nor a time with its zone, {example}.") from None


def bytes_asked(written: str, option: str) -> int:
    """Read a size such as 500MB, 10GB or 4GiB, bytes."""
    found = _SIZE.fullmatch(written.strip())
    if not found:
        raise UsageError(detail=f"{option} {written!r} is not a size, such as 500MB, 10GB or 4GiB.")
    return int(float(found["number"]) * _UNITS_BYTES[found["unit"].lower()])


def name_asked(written: str, option: str) -> str:
    """Read the name of a header or a cookie."""
    if not _TOKEN.fullmatch(written):
        what = "letters, digits and !#$%&'*+-.^_`|~, at least one"
        raise UsageError(detail=f"{option} {written!r} cannot name a header or a cookie: {what}.")
    return written


def plan_asked(file: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan from a file with the options laid over it, checked and complete. Raises InvalidPlan."""
    from penstock.rollout.plan import plan_from  # noqa: PLC0415 - `penstock --help` must not pay for it

    written = fields_in(file, InvalidPlan, "steps: 5,25,100") if file else {}
    given = {name: value for name, value in options.items() if value is not None}
    if "dwell" in given and "steps" not in given:
        written = {**written, "steps": _without_dwells(written.get("steps"))}
    return plan_from({**written, **given}).as_json()


def planned_s(plan: Mapping[str, Any]) -> float:
    """Return how long a plan takes when nothing has to be waited for, seconds."""
    return sum(float(step["dwell"]) for step in plan["steps"])


def _without_dwells(steps: object) -> object:
    """An option overrides the file, also where the file names a dwell for each step."""
    if not isinstance(steps, list):
        return steps
    return [{k: v for k, v in step.items() if k != "dwell"} if isinstance(step, dict) else step for step in steps]


def fields_in(file: Path, wrong: Callable[..., PenstockError], example: str) -> dict[str, Any]:
    """Return the fields of a YAML or JSON file. Raises what `wrong` makes of a `why`."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise wrong(why=f"{file} cannot be read: {why}") from None
    try:
        content = json.loads(text) if file.suffix == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise wrong(why=f"{file} is not {'JSON: ' if file.suffix == '.json' else 'YAML'}{error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise wrong(why=f"{file} holds no fields such as {example}")
    return content


def _yaml(text: str) -> object:
    """Raises ValueError that says where and why."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - only files need it
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ValueError(f"{place}: {problem}") from None
