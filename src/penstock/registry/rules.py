"""What every store of a registry decides alike, given what it found."""

from collections.abc import Mapping, Sequence

from penstock.kernel.chain import rfc3339
from penstock.kernel.errors import Incompatible, PrecedenceTaken, Quarantined, Removed, VersionInUse
from penstock.registry.compatibility import conflicts, nearest_set
from penstock.registry.history import History
from penstock.registry.retention import KEEP_STABLE
from penstock.registry.stage import Stage
from penstock.registry.version import Version


def check_free(wanted: Version, taken: Version) -> None:
    """Refuse a version whose precedence another one has; PrecedenceTaken. The very same one is not refused."""
    if not taken.is_same_as(wanted) or taken.removed_at is not None:
        why = (
            "was removed, and its number stays taken"
            if taken.removed_at
            else f"is there already, {_differing(wanted, taken)}"
        )
        raise PrecedenceTaken(wanted=wanted.reference, taken=taken.name, why=why)


def _differing(wanted: Version, taken: Version) -> str:
    """Return in what two versions of equal precedence differ."""
    if str(wanted.version) != str(taken.version):
        return "and no two versions may have equal precedence"
    ours, theirs = wanted.metadata.as_json(), taken.metadata.as_json()
    fields = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    files = "other files" if (wanted.digest, wanted.size_bytes) != (taken.digest, taken.size_bytes) else ""
    metadata = f"other metadata ({', '.join(fields)})" if fields else ""
    return f"with {' and '.join(filter(None, (files, metadata)))}"


def check_present(version: Version) -> Version:
    """Return a version unless it was removed (Removed)."""
    if version.removed_at is not None:
        raise Removed(name=version.reference, at=rfc3339(version.removed_at)[:10])
    return version


def check_usable(version: Version) -> Version:
    """Return a version that may serve; raise Removed or Quarantined."""
    if check_present(version).stage is Stage.QUARANTINED:
        raise Quarantined(service=version.service, version=version.part_name, why=version.staged_why)
    return version


def check_fit(history: History, wanted: Mapping[str, Version]) -> dict[str, Version]:
    """Return the set that serves once the wanted versions do; Incompatible, with the nearest set that works."""
    versions = {**history.serving, **wanted}
    if not (misfits := conflicts(versions)):
        return versions
    pool = {component: history.usable(component) for component in {c for c, _ in history.versions}}
    together = nearest_set(history.serving, wanted, pool)
    changed = [v.name for c, v in sorted((together or {}).items()) if history.serving.get(c) != v]
    remedy = (
        f"take {' and '.join(changed)} together"
        if together
        else "no versions that were promoted or are stable fit these"
    )
    raise Incompatible(service=history.service, why="; ".join(misfits), remedy=remedy)


def check_unused(version: Version, *, serves: bool, aliases: Sequence[str], n_stable_left: int, wanted: str) -> None:
    """Refuse to mark or remove what is in use: VersionInUse.

    `n_stable_left`: stable versions of the component without this one, and without those that are marked.
    """
    reasons = {
        "it serves": serves,
        "a rollout serves users with it": version.stage is Stage.CANARY,
        f"it has the alias {', '.join(aliases)}": bool(aliases),
        f"{n_stable_left} stable versions would be left, {KEEP_STABLE} are always kept": version.stage is Stage.STABLE
        and n_stable_left < KEEP_STABLE,
    }
    if why := next((words for words, applies in reasons.items() if applies), None):
        raise VersionInUse(name=version.reference, wanted=wanted, why=why)
