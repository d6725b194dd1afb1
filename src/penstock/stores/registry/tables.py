"""The registry's tables, and versions as their rows."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    column,
    func,
    select,
)

from penstock.kernel.chain import canonical_json
from penstock.kernel.errors import RegistryDamaged, RegistryTooNew, RegistryUnwritable
from penstock.registry.metadata import Metadata
from penstock.registry.query import words_of
from penstock.registry.version import Version
from penstock.stores import sqlite
from penstock.stores.database import Layout

_tables = MetaData()

_STATE = ("staged_at", "verified_at", "promoted_at", "marked_at", "removed_at")

#: Narrow rows, so that filters read little: what is long stands in `details`, under the same id.
versions = Table(
    "versions",
    _tables,
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
    _tables,
    Column("id", Integer, primary_key=True),
    Column("metadata", Text, nullable=False),
    Column("missing", Text, nullable=False),
)
#: No two versions of equal precedence, and lists from the highest down.
Index("versions_by_precedence", versions.c.service, versions.c.component, versions.c.key.desc(), unique=True)
Index(
    "versions_by_stage",
    *(versions.c[name] for name in ("service", "component", "stage", "key", "removed_at")),
)
#: All that filters look at, so that a list reads the rows it shows alone.
Index(
    "versions_listed",
    *(versions.c.service, versions.c.component, versions.c.key.desc(), versions.c.stage, versions.c.owner),
    *(versions.c.registered_at, versions.c.marked_at, versions.c.removed_at, versions.c.languages, versions.c.words),
)

promotions = Table(
    "promotions",
    _tables,
    Column("service", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("at", "actor", "reason", "versions")),
    Column("unhealthy", Text),
)
#: Which version a component began to serve with, at which promotion; only where it changed.
served = Table(
    "served",
    _tables,
    Column("service", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
)
aliases = Table(
    "aliases",
    _tables,
    *(Column(name, Text, primary_key=True) for name in ("service", "component", "alias")),
    Column("key", Text, nullable=False),
)
changes = Table(
    "changes",
    _tables,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("at", "service", "component", "kind", "actor", "reason")),
    *(Column(name, Text, nullable=False) for name in ("facts", "previous_hash", "hash")),
)
Index("changes_by_component", changes.c.service, changes.c.component, changes.c.seq)

#: All of a version.
WHOLE_VERSION: Select[Any] = select(versions, details.c.metadata, details.c.missing).join_from(
    versions, details, versions.c.id == details.c.id
)


def among(names: Sequence[str]) -> Any:
    """A table with these columns; its rows are bound as `rows`, the JSON text of a list of lists.

    One statement for any number of rows: SQLAlchemy would write a list of tuples out anew each time.
    """
    each = func.json_each(bindparam("rows")).table_valued(column("value", Text), name="each")
    columns = (func.json_extract(each.c.value, f"$[{place}]").label(name) for place, name in enumerate(names))
    return select(*columns).select_from(each).subquery("among")


def _set_up(connection: Connection) -> None:
    _tables.create_all(connection)
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
    return fields, detail


def _delimited(names: tuple[str, ...]) -> str:
    return "".join(f"\n{name}\n" for name in names)


def language_pattern(language: str) -> str:
    """Return what stands in `languages` for a language."""
    return _delimited((language,))


def version_of(row: Row[Any]) -> Version:
    """Read a row of WHOLE_VERSION."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Version.from_json(fields, _metadata_of(fields["metadata"], fields["missing"]))


@lru_cache(maxsize=4096)  # it never changes
def _metadata_of(text: str, missing: str) -> Metadata:
    return Metadata.from_json(json.loads(text), allow_missing=bool(json.loads(missing)))
