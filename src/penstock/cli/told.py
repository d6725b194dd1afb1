"""The sentences about versions in the registry. Nothing is asked or decided."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.cli.terminal import columns

ONLY_REGISTRY = "no control plane answers at {url}: only what the registry knows to be in use is sure to stay"
NOT_ASKED = "{url} does not answer: what it alone keeps warm is not known"
STILL_SERVES = "{version} serves on; `penstock rollback {of}` takes it away"
_STEP = 1000.0


def size(n_bytes: float) -> str:
    """Return a size as `512 B`, `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < _STEP:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= _STEP
    return f"{n_bytes:.4g} TB"


def pushed(said: Mapping[str, Any], *, is_moved: bool) -> Iterator[str]:
    """Yield what a push did."""
    what = f"{reference(said)} ({said['stage']}, {size(said['size_bytes'])}, {said['digest']})"
    if said["dry_run"]:
        yield f"could be pushed: {what}" if said["is_new"] else f"is there already: {what}"
    elif is_moved:
        yield f"is there already, and is {said['stage']} now: {what}"
    else:
        yield f"registered {what}" if said["is_new"] else f"nothing to do, it is there already: {what}"


def reference(version: Mapping[str, Any]) -> str:
    """Return `tts/vocoder@1.3.0`."""
    return f"{version['service']}/{version['component']}@{version['version']}"


def versions(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line a version."""
    head = ("VERSION", "STAGE", "SIZE", "REGISTERED", "OWNER", "CHANGE")
    rows = [
        (
            reference(version),
            version["stage"] + _deletion(version),
            size(version["size_bytes"]),
            version["registered_at"][:10],
            version["metadata"].get("owner") or "-",
            version["metadata"].get("change_note") or "-",
        )
        for version in found
    ]
    yield from columns([head, *rows])


def _deletion(version: Mapping[str, Any]) -> str:
    if version["removed_at"]:
        return ", removed"
    return ", marked for deletion" if version["marked_at"] else ""


def version(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything that is known of a version."""
    aliases = f"   {', '.join(found['aliases'])}" if found["aliases"] else ""
    yield f"{reference(found)}   {found['stage']}{aliases}"
    if found["staged_by"]:
        yield f"  {found['stage']} since {found['staged_at']} by {found['staged_by']}: {found['staged_why'] or 'no reason'}"
    yield f"  {size(found['size_bytes'])}, {found['digest'] or 'its files lie elsewhere'}"
    if found["marked_at"]:
        yield f"  waits for its deletion since {found['marked_at']}"
    yield from columns(((name, _text(value)) for name, value in found["metadata"].items()), indent="  ")
    if found["missing"]:
        yield f"  not known: {', '.join(found['missing'])}"


def promotion(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a service serves with."""
    yield f"{said['service']}   release {said['number']}"
    yield f"  since {said['at']} by {said['actor']}: {said['reason'] or 'no reason'}"
    yield from columns(said["versions"].items(), indent="  ")
    if said["unhealthy"]:
        yield f"  found against it: {said['unhealthy']}"


def collected(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a collection did, or would do."""
    would = "would be " if said["dry_run"] else ""
    yield from (f"{would}marked for deletion: {name}" for name in said["marked"])
    yield from (f"{would}removed: {name}" for name in said["removed"])
    yield from (f"{would}kept after all: {name}" for name in said["unmarked"])
    yield from (f"waits for its deletion: {name}" for name in said["waiting"])
    yield from (f"kept: {kept['version']}: {kept['why']}" for kept in said["kept"])
    if said["over_budget_bytes"]:
        yield f"what must stay is {size(said['over_budget_bytes'])} over the budget"
    if not said["dry_run"]:
        yield f"{said['n_artifacts_removed']} artifacts given up, {size(said['removed_bytes'])} of contents removed"


def imported(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an import did."""
    yield f"{said['n_added']} lines brought something, {said['n_present']} were known"
    yield from (f"left out: {conflict}" for conflict in said["conflicts"])


def adopted(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an adoption did, or would do."""
    came = {True: "would come in" if said["dry_run"] else "came in", False: "was there"}
    rows = [(one["version"], one["stage"], size(one["size_bytes"]), came[one["is_new"]]) for one in said["versions"]]
    if rows:
        yield from columns([("VERSION", "STAGE", "SIZE", ""), *rows])
    missing: dict[str, list[str]] = {}
    for one in said["versions"]:
        missing.setdefault(", ".join(one["missing"]), []).append(one["version"])
    yield from (f"not known of {_some(names)}: {fields}" for fields, names in missing.items() if fields)
    yield from (f"verified, not stable: {one['version']}: {one['why']}" for one in said["unfit"])
    yield from (f"refused: {one['folder']}: {one['why']}" for one in said["refused"])
    if said["left_alone"]:
        yield f"left alone: {', '.join(said['left_alone'])}"
    serves = ", ".join(f"{component} {version}" for component, version in said["serving"].items())
    would, n = "would be " if said["dry_run"] else "", len(said["promoted"])
    yield f"{n} release{'' if n == 1 else 's'} {would}promoted; serves: {serves or 'nothing that is known'}"


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} versions"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        if set(value) == {"value", "unit"}:
            return f"{value['value']} ({value['unit']})"
        return ", ".join(f"{name} {_text(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "-" if value is None else " ".join(str(value).split())
