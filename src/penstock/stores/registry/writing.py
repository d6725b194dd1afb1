"""Changes to the registry's tables, each with its entry in the list of changes, in the transaction of the caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from penstock.kernel.chain import GENESIS, canonical_json
from penstock.registry.change import Change, ChangeKind
from penstock.registry.promotion import Promotion
from penstock.registry.version import Version
from penstock.stores.registry.asking import of_component, serving_key
from penstock.stores.registry.tables import aliases, changes, details, promotions, rows_of, served, versions

_LAST_CHANGE = select(changes.c.seq, changes.c.hash).order_by(changes.c.seq.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class By:
    """When a change is made, by whom and why."""

    at: datetime
    actor: str
    reason: str


def note(
    connection: Connection, by: By, service: str, component: str, kind: ChangeKind, facts: Mapping[str, Any]
) -> None:
    """Append to the list of changes."""
    last = connection.execute(_LAST_CHANGE).one_or_none()
    seq, previous = (0, GENESIS) if last is None else (last.seq, last.hash)
    change = Change.chained(
        previous,
        seq=seq + 1,
        at=by.at,
        service=service,
        component=component,
        kind=kind,
        actor=by.actor,
        reason=by.reason,
        facts=facts,
    )
    row = change.hashed_fields() | {"facts": canonical_json(change.facts)}
    connection.execute(insert(changes), row | {"previous_hash": previous, "hash": change.hash})


def note_version(connection: Connection, by: By, version: Version, kind: ChangeKind, **facts: Any) -> None:
    """Append what happened to one version."""
    note(connection, by, version.service, version.component, kind, {"version": str(version.version), **facts})


def add_versions(connection: Connection, rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Put versions in, by their rows."""
    last = connection.execute(select(versions.c.id).order_by(versions.c.id.desc()).limit(1)).scalar_one_or_none() or 0
    numbered = [({**row, "id": id_}, {**detail, "id": id_}) for id_, (row, detail) in enumerate(rows, last + 1)]
    connection.execute(insert(versions), [row for row, _ in numbered])
    connection.execute(insert(details), [detail for _, detail in numbered])


def save_state(connection: Connection, by: By, before: Version, version: Version) -> None:
    """Write what may change about a version; that it is not marked any longer is a change of its own."""
    if before.marked_at is not None and version.marked_at is None:
        note_version(connection, by, version, ChangeKind.UNMARKED)
    row, _ = rows_of(version)
    names = ("stage", "staged_at", "staged_by", "staged_why", "verified_at", "promoted_at", "marked_at", "removed_at")
    where = of_component(versions, version.service, version.component) & (versions.c.key == version.version.key)
    connection.execute(update(versions).where(where), {name: row[name] for name in names})


def add_promotion(connection: Connection, promotion: Promotion, keys: Mapping[str, str]) -> None:
    """Record a promotion. `keys`: component -> key of its version."""
    fields = promotion.as_json()
    connection.execute(insert(promotions), fields | {"versions": canonical_json(fields["versions"])})
    for component, key in keys.items():
        now = serving_key(connection, promotion.service, component)
        if now is None or now[1] != key:
            row = {"service": promotion.service, "component": component, "number": promotion.number, "key": key}
            connection.execute(insert(served), row)


def point_alias(connection: Connection, service: str, component: str, alias: str, key: str) -> None:
    """Set an alias, whatever it pointed at."""
    drop_alias(connection, service, component, alias)
    connection.execute(insert(aliases), {"service": service, "component": component, "alias": alias, "key": key})


def drop_alias(connection: Connection, service: str, component: str, alias: str) -> bool:
    """Take an alias away; return whether there was one."""
    where = of_component(aliases, service, component) & (aliases.c.alias == alias)
    return connection.execute(delete(aliases).where(where)).rowcount > 0
