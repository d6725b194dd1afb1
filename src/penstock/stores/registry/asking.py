"""Questions to the registry's tables. Each takes the connection of a transaction, which others may go on with."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, and_, bindparam, func, select, union_all

from penstock.kernel.chain import rfc3339
from penstock.kernel.errors import NothingSelected, UnknownVersion
from penstock.kernel.semver import SemVer
from penstock.registry.change import Change, ChangeKind
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.reference import Ref, Word
from penstock.registry.rules import check_present
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.stores.registry.tables import (
    WHOLE_VERSION,
    aliases,
    among,
    changes,
    language_pattern,
    promotions,
    served,
    version_of,
    versions,
)

_SOME = 5

_IDENTITY = ("service", "component", "key")
_THESE = among(_IDENTITY)

#: All of the versions whose identities are bound as `rows`; see `among`.
THESE_VERSIONS = WHOLE_VERSION.join(_THESE, and_(*(versions.c[name] == _THESE.c[name] for name in _IDENTITY)))

#: Every alias that was set, with the version it points at.
ALIASES: Select[Any] = (
    select(aliases.c.service, aliases.c.component, aliases.c.alias, versions.c.version)
    .join_from(aliases, versions, and_(*(aliases.c[name] == versions.c[name] for name in _IDENTITY)))
    .order_by(aliases.c.service, aliases.c.component, aliases.c.alias)
)

_OF_SERVICE: BindParameter[str] = bindparam("of_service")
_OF_COMPONENT: BindParameter[str] = bindparam("of_component")
_AT_MOST: BindParameter[int] = bindparam("at_most")
_BEGAN = (
    select(served.c.number)
    .where(served.c.service == _OF_SERVICE, served.c.component == _OF_COMPONENT)
    .order_by(served.c.number.desc())
    .limit(_AT_MOST)
    .subquery()
)
#: The present promotion, and the last one before each of the newest changes of a component's version.
_STAYS = (
    select(promotions)
    .where(promotions.c.service == _OF_SERVICE)
    .where(
        promotions.c.number.in_(
            union_all(
                select(_BEGAN.c.number - 1),
                select(func.max(promotions.c.number)).where(promotions.c.service == _OF_SERVICE).correlate(None),
            )
        )
    )
    .order_by(promotions.c.number.desc())
)
_STABLE_KEYS = (
    select(versions.c.key)
    .where(versions.c.service == _OF_SERVICE, versions.c.component == _OF_COMPONENT)
    .where(versions.c.stage == Stage.STABLE.value, versions.c.removed_at.is_(None))
    .order_by(versions.c.key.desc())
    .limit(_AT_MOST)
)


def of_component(table: Any, service: str, component: str) -> ColumnElement[bool]:
    """The rows of a component."""
    return and_(table.c.service == service, table.c.component == component)


def version_with_key(connection: Connection, service: str, component: str, key: str) -> Version | None:
    """Return the version of that precedence, also a removed one."""
    wanted = WHOLE_VERSION.where(of_component(versions, service, component), versions.c.key == key)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else version_of(row)


def known_version(connection: Connection, service: str, component: str, version: SemVer) -> Version:
    """Return a version, also a removed one. Raises UnknownVersion."""
    if (found := version_with_key(connection, service, component, version.key)) is None:
        highest = select(versions.c.version).where(of_component(versions, service, component), _present())
        known = connection.execute(highest.order_by(versions.c.key.desc()).limit(_SOME)).scalars()
        raise UnknownVersion(
            version=str(version), name=f"{service}/{component}", known=", ".join(known) or "there are none"
        )
    return found


def listed(connection: Connection, query: Query) -> list[Version]:
    """Return what a query asks for."""
    order = (versions.c.service, versions.c.component, versions.c.key.desc())
    # The ids first: rows that are passed over need not be joined.
    wanted = select(versions.c.id).where(*_filters(query)).order_by(*order)
    wanted = wanted.limit(-1 if query.limit is None else query.limit).offset(query.offset)
    whole = WHOLE_VERSION.where(versions.c.id.in_(wanted)).order_by(*order)
    return [version_of(row) for row in connection.execute(whole)]


def _filters(query: Query) -> Iterator[ColumnElement[bool]]:
    for name in ("service", "component", "stage", "owner"):
        if (value := getattr(query, name)) is not None:
            yield versions.c[name] == str(value)
    if query.language is not None:
        yield func.instr(versions.c.languages, language_pattern(query.language)) > 0
    if query.text is not None:
        yield func.instr(versions.c.words, query.text.casefold()) > 0
    if query.since is not None:
        yield versions.c.registered_at >= rfc3339(query.since)
    if query.marked is not None:
        yield versions.c.marked_at.is_not(None) if query.marked else versions.c.marked_at.is_(None)
    if not query.removed:
        yield _present()


def _present() -> ColumnElement[bool]:
    return versions.c.removed_at.is_(None)


def serving_key(connection: Connection, service: str, component: str) -> tuple[int, str] | None:
    """Return since which promotion a component serves with what it serves, and that version's key."""
    last = select(served.c.number, served.c.key).where(of_component(served, service, component))
    row = connection.execute(last.order_by(served.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else (row.number, row.key)


def resolved(connection: Connection, ref: Ref) -> Version:
    """Return what a reference means. Raises UnknownVersion, NothingSelected, Removed."""
    if isinstance(ref.selector, SemVer):
        return check_present(known_version(connection, ref.service, ref.component, ref.selector))
    if (key := selected_key(connection, ref.service, ref.component, ref.selector)) is None:
        raise NothingSelected(reference=str(ref), why=_why_none(ref.selector))
    found = version_with_key(connection, ref.service, ref.component, key)
    assert found is not None  # noqa: S101 - whatever selects a version is checked when it is written
    return check_present(found)


def _why_none(selector: str) -> str:
    reasons: dict[str, str] = {
        Word.LATEST: "no version of it is stable",
        Word.PREVIOUS: "nothing was promoted before, and no stable version is below",
        Word.CHALLENGER: "no verified or canary version is above what serves",
    }
    return reasons.get(selector, "nothing was promoted yet" if selector in frozenset(Word) else "no such alias was set")


def selected_key(connection: Connection, service: str, component: str, selector: str) -> str | None:
    """Return the key of the version that a word or an alias selects."""
    match selector:
        case Word.LATEST:
            return _highest(connection, service, component, (Stage.STABLE,))
        case Word.CHAMPION | Word.STABLE:
            now = serving_key(connection, service, component)
            return now and now[1]
        case Word.PREVIOUS:
            return _previous(connection, service, component)
        case _:
            set_ = select(aliases.c.key).where(of_component(aliases, service, component), aliases.c.alias == selector)
            key: str | None = connection.execute(set_).scalar_one_or_none()
            return key if key or selector != Word.CHALLENGER else _challenger(connection, service, component)


def _highest(
    connection: Connection, service: str, component: str, stages: Iterable[Stage], *bounds: ColumnElement[bool]
) -> str | None:
    keys = [
        connection.execute(
            select(versions.c.key)
            .where(of_component(versions, service, component), versions.c.stage == stage.value, _present(), *bounds)
            .order_by(versions.c.key.desc())
            .limit(1)
        ).scalar_one_or_none()
        for stage in stages
    ]
    return max((key for key in keys if key is not None), default=None)


def _previous(connection: Connection, service: str, component: str) -> str | None:
    if (now := serving_key(connection, service, component)) is None:
        return None
    same = and_(*(served.c[name] == versions.c[name] for name in _IDENTITY))
    earlier = (
        select(served.c.key)
        .join(versions, same)
        .where(of_component(served, service, component), served.c.key != now[1])
        .where(versions.c.stage != Stage.QUARANTINED.value, _present())
        .order_by(served.c.number.desc())
        .limit(1)
    )
    key: str | None = connection.execute(earlier).scalar_one_or_none()
    return key or _highest(connection, service, component, (Stage.STABLE,), versions.c.key < now[1])


def _challenger(connection: Connection, service: str, component: str) -> str | None:
    now = serving_key(connection, service, component)
    bounds = () if now is None else (versions.c.key > now[1],)
    return _highest(connection, service, component, (Stage.VERIFIED, Stage.CANARY), *bounds)


def alias_table(connection: Connection, service: str, component: str) -> dict[str, str]:
    """Return alias -> version, words included."""
    names = select(aliases.c.alias).where(of_component(aliases, service, component)).order_by(aliases.c.alias)
    selectors = dict.fromkeys([*Word, *connection.execute(names).scalars()])
    found = {str(name): selected_key(connection, service, component, name) for name in selectors}
    return {
        name: str(version.version)
        for name, key in found.items()
        if key is not None and (version := version_with_key(connection, service, component, key)) is not None
    }


def promotion_rows(service: str) -> Select[Any]:
    """A service's promotions, newest first."""
    return select(promotions).where(promotions.c.service == service).order_by(promotions.c.number.desc())


def promotion_of(row: Any) -> Promotion:
    """Read a row of `promotions`."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Promotion.from_json({**fields, "versions": json.loads(fields["versions"])})


def history_of(connection: Connection, service: str, component: str | None, limit: int) -> History:
    """Return what a rollback of a component (None: of all) is chosen from; see ports/registry.py."""
    bound = {"of_service": service, "of_component": component, "at_most": limit}
    wanted = promotion_rows(service).limit(limit) if component is None else _STAYS
    newest = tuple(promotion_of(row) for row in connection.execute(wanted, bound))
    keys = {(c, SemVer.parse(version).key) for promotion in newest for c, version in promotion.versions.items()}
    if component is not None:
        keys |= {(component, key) for key in connection.execute(_STABLE_KEYS, bound).scalars()}
    rows = json.dumps([[service, *key] for key in keys])
    found = (version_of(row) for row in connection.execute(THESE_VERSIONS, {"rows": rows}))
    return History(service, newest, {(v.component, str(v.version)): v for v in found})


def n_stable_left(connection: Connection, version: Version) -> int:
    """Return how many stable versions of its component there are besides, neither removed nor marked."""
    others = select(func.count()).select_from(versions)
    others = others.where(of_component(versions, version.service, version.component), _present())
    others = others.where(versions.c.stage == Stage.STABLE.value, versions.c.marked_at.is_(None))
    return int(connection.execute(others.where(versions.c.key != version.version.key)).scalar_one())


def aliases_of(connection: Connection, version: Version) -> list[str]:
    """Return the aliases that were pointed at a version."""
    names = select(aliases.c.alias).where(of_component(aliases, version.service, version.component))
    return list(connection.execute(names.where(aliases.c.key == version.version.key)).scalars())


def change_of(row: Any) -> Change:
    """Read a row of `changes`."""
    return Change(
        seq=row.seq,
        at=datetime.fromisoformat(row.at),
        service=row.service,
        component=row.component,
        kind=ChangeKind(row.kind),
        actor=row.actor,
        reason=row.reason,
        facts=json.loads(row.facts),
        hash=row.hash,
    )


def change_rows(service: str | None, component: str | None, after_seq: int, limit: int | None) -> Select[Any]:
    """Changes, oldest first."""
    wanted = select(changes).where(changes.c.seq > after_seq).order_by(changes.c.seq)
    if service is not None:
        wanted = wanted.where(changes.c.service == service)
    if component is not None:
        wanted = wanted.where(changes.c.component == component)
    return wanted.limit(-1 if limit is None else limit)
