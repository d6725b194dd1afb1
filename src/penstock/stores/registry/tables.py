"""The registry's tables, and versions as their rows."""

import json
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, MetaData, Row, Select, Table, Text, select

from penstock.kernel.chain import canonical_json
from penstock.kernel.errors import RegistryDamaged, RegistryTooNew, RegistryUnwritable
from penstock.registry.query import words_of
from penstock.registry.version import Version
from penstock.stores import sqlite
from penstock.stores.database import Layout

_metadata = MetaData()

_STATE = ("staged_at", "verified_at", "promoted_at", "marked_at", "removed_at")

#: Narrow rows, so that filters read little: what is long stands in `details`, under the same id.
versions = Table(
    "versions",
    _metadata,
    Column("id", Integer, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("service", "component", "key", "version", "stage")),
    Column("digest", Text),
    Column("size_bytes", Integer, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("registered_at", "staged_by", "staged_why")),
    *(Column(name, Text) for name in _STATE),
    Column("owner", Text),
    Column("languages", Text, nullable=False),
    Column("words", Text, nullable=False),
)
details = Table(
    "details",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("metadata", Text, nullable=False),
    Column("missing", Text, nullable=False),
)
#: No two versions of equal precedence, and lists from the highest down.
Index("versions_by_precedence", versions.c.service, versions.c.component, versions.c.key.desc(), unique=True)
Index("versions_by_stage", versions.c.service, versions.c.component, versions.c.stage, versions.c.key)

promotions = Table(
    "promotions",
    _metadata,
    Column("service", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("at", "actor", "reason", "versions")),
    Column("unhealthy", Text),
)
#: Which version a component began to serve with, at which promotion; only where it changed.
served = Table(
    "served",
    _metadata,
    Column("service", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
)
aliases = Table(
    "aliases",
    _metadata,
    *(Column(name, Text, primary_key=True) for name in ("service", "component", "alias")),
    Column("key", Text, nullable=False),
)
changes = Table(
    "changes",
    _metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("at", "service", "component", "kind", "actor", "reason")),
    *(Column(name, Text, nullable=False) for name in ("facts", "previous_hash", "hash")),
)
Index("changes_by_component", changes.c.service, changes.c.component, changes.c.seq)

#: All of a version.
WHOLE_VERSION: Select[Any] = select(versions, details.c.metadata, details.c.missing).join_from(
    versions, details, versions.c.id == details.c.id
)


def _set_up(connection: Connection) -> None:
    _metadata.create_all(connection)
    for trigger in sqlite.append_only("changes", "the list of changes"):
        connection.exec_driver_sql(trigger)


LAYOUT = Layout(1, _set_up, damaged=RegistryDamaged, too_new=RegistryTooNew, unwritable=RegistryUnwritable)


def rows_of(version: Version) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a version's rows in `versions` and `details`, without their id; ValueError where it is not JSON."""
    fields = version.as_json()
    detail = {name: canonical_json(fields.pop(name)) for name in ("metadata", "missing")}
    fields |= {
        "key": version.version.key,
        "owner": version.metadata.owner,
        "languages": _delimited(version.metadata.languages or ()),
        "words": words_of(version),
    }
    canonical_json(fields)  # what has no UTF-8 form is refused here, not by the driver
    return fields, detail


def _delimited(names: tuple[str, ...]) -> str:
    return "".join(f"\n{name}\n" for name in names)


def language_pattern(language: str) -> str:
    """Return what stands in `languages` for a language."""
    return _delimited((language,))


def version_of(row: Row[Any]) -> Version:
    """Read a row of WHOLE_VERSION."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Version.from_json(
        {**fields, "metadata": json.loads(fields["metadata"]), "missing": json.loads(fields["missing"])}
    )
