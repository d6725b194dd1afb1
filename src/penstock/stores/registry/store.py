"""The registry in one SQLite file, which several threads and processes may share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from penstock.kernel.chain import GENESIS
from penstock.kernel.errors import NothingSelected, RegistryDamaged, VersionInUse
from penstock.kernel.semver import SemVer
from penstock.ports.registry import Imported
from penstock.registry import exchange
from penstock.registry.change import Change, ChangeKind
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.reference import Ref, Word, checked_alias
from penstock.registry.rules import check_fit, check_free, check_present, check_unused, check_usable
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.stores.chained import flaw_in
from penstock.stores.database import Database
from penstock.stores.registry import asking, tables, writing
from penstock.stores.registry.taking_in import Batch
from penstock.stores.registry.writing import By

#: Lines of an import that are one transaction; others may write in between.
_BATCH = 1000


def _nobody_asks(_n_lines: int) -> None:
    """Progress that nobody wants to see."""


class SqlRegistry:
    """The registry in one SQLite file, for one machine; see ports/registry.py. Files are readable by their owner only."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet; the folder of `path` must exist when the registry is first used."""
        self._path = path
        self._database = Database(path, tables.LAYOUT, shared=True)

    def register(self, version: Version, *, actor: str, reason: str) -> Version:
        by = By(version.registered_at.astimezone(UTC), actor, reason)
        rows = tables.rows_of(version)

        def work(connection: Connection) -> Version:
            where = version.service, version.component, version.version.key
            if (taken := asking.version_with_key(connection, *where)) is not None:
                check_free(version, taken)
                return taken
            writing.add_versions(connection, [rows])
            facts = {"stage": version.stage.value, "digest": version.digest}
            writing.note_version(connection, by, version, ChangeKind.REGISTERED, **facts)
            return asking.known_version(connection, version.service, version.component, version.version)

        return self._database.transact(work, writes=True)

    def version(self, service: str, component: str, version: str) -> Version:
        wanted = SemVer.parse(version)
        return self._database.transact(lambda c: asking.known_version(c, service, component, wanted))

    def versions(self, query: Query) -> list[Version]:
        return self._database.transact(lambda connection: asking.listed(connection, query))

    def services(self) -> dict[str, tuple[str, ...]]:
        columns = tables.versions.c.service, tables.versions.c.component
        wanted = select(*columns).where(tables.versions.c.removed_at.is_(None)).distinct().order_by(*columns)
        found: dict[str, tuple[str, ...]] = {}
        for service, component in self._database.transact(lambda connection: connection.execute(wanted).all()):
            found[service] = (*found.get(service, ()), component)
        return found

    def resolve(self, ref: Ref) -> Version:
        return self._database.transact(lambda connection: asking.resolved(connection, ref))

    def move(
        self, service: str, component: str, version: str, stage: Stage, *, at: datetime, actor: str, reason: str
    ) -> Version:
        by = By(at.astimezone(UTC), actor, reason)

        def change(connection: Connection, before: Version) -> Version:
            if check_present(before).stage is stage:
                return before
            moved = before.moved(stage, at=by.at, actor=actor, reason=reason)
            facts = {"from": before.stage.value, "to": stage.value}
            writing.note_version(connection, by, before, ChangeKind.MOVED, **facts)
            return moved

        return self._change(by, service, component, version, change)

    def promote(self, service: str, versions: Mapping[str, str], *, at: datetime, actor: str, reason: str) -> Promotion:
        by = By(at.astimezone(UTC), actor, reason)
        parsed = {component: SemVer.parse(version) for component, version in versions.items()}

        def work(connection: Connection) -> Promotion:
            history = asking.history_of(connection, service, None, 20)
            wanted = {c: check_usable(asking.known_version(connection, service, c, v)) for c, v in parsed.items()}
            full = check_fit(history, wanted)
            names = {component: str(version.version) for component, version in full.items()}
            serves = bool(history.promotions) and history.promotions[0].versions == names
            for version in wanted.values():
                if not serves or version.stage is not Stage.STABLE:
                    _make_stable(connection, by, version)
            if serves:
                return history.promotions[0]
            number = history.promotions[0].number + 1 if history.promotions else 1
            promotion = Promotion(service, number, names, by.at, actor, reason)
            writing.add_promotion(connection, promotion, {c: v.version.key for c, v in full.items()})
            writing.note(connection, by, service, "", ChangeKind.PROMOTED, {"number": number, "versions": names})
            return promotion

        return self._database.transact(work, writes=True)

    def judge(
        self, service: str, number: int, *, unhealthy: str | None, at: datetime, actor: str, reason: str
    ) -> Promotion:
        by = By(at.astimezone(UTC), actor, reason)
        this = (tables.promotions.c.service == service) & (tables.promotions.c.number == number)

        def work(connection: Connection) -> Promotion:
            if (row := connection.execute(select(tables.promotions).where(this)).one_or_none()) is None:
                raise NothingSelected(reference=f"release {number} of {service}", why="it was never promoted")
            if (found := asking.promotion_of(row)).unhealthy == unhealthy:
                return found
            connection.execute(update(tables.promotions).where(this), {"unhealthy": unhealthy})
            writing.note(connection, by, service, "", ChangeKind.JUDGED, {"number": number, "unhealthy": unhealthy})
            return replace(found, unhealthy=unhealthy)

        return self._database.transact(work, writes=True)

    def promotions(self, service: str, *, limit: int | None = None) -> list[Promotion]:
        wanted = asking.promotion_rows(service).limit(-1 if limit is None else limit)
        return self._database.transact(lambda c: [asking.promotion_of(row) for row in c.execute(wanted)])

    def history(self, service: str, component: str | None = None, *, limit: int = 5) -> History:
        return self._database.transact(lambda connection: asking.history_of(connection, service, component, limit))

    def set_alias(
        self, service: str, component: str, alias: str, version: str, *, at: datetime, actor: str, reason: str
    ) -> None:
        by = By(at.astimezone(UTC), actor, reason)
        checked_alias(alias)

        def change(connection: Connection, before: Version) -> Version:
            check_usable(before)
            if alias in asking.aliases_of(connection, before):
                return before
            writing.point_alias(connection, service, component, alias, before.version.key)
            writing.note_version(connection, by, before, ChangeKind.ALIASED, alias=alias)
            return replace(before, marked_at=None)

        self._change(by, service, component, version, change)

    def delete_alias(self, service: str, component: str, alias: str, *, at: datetime, actor: str, reason: str) -> None:
        by = By(at.astimezone(UTC), actor, reason)

        def work(connection: Connection) -> None:
            if not writing.drop_alias(connection, service, component, alias):
                raise NothingSelected(reference=f"{service}/{component}@{alias}", why="no such alias was set")
            writing.note(connection, by, service, component, ChangeKind.UNALIASED, {"alias": alias})

        self._database.transact(work, writes=True)

    def aliases(self, service: str, component: str) -> dict[str, str]:
        return self._database.transact(lambda connection: asking.alias_table(connection, service, component))

    def mark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        by = By(at.astimezone(UTC), actor, reason)

        def change(connection: Connection, before: Version) -> Version:
            if check_present(before).marked_at is not None:
                return before
            _check_unused(connection, before, "marked for deletion")
            writing.note_version(connection, by, before, ChangeKind.MARKED)
            return replace(before, marked_at=by.at)

        return self._change(by, service, component, version, change)

    def unmark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        by = By(at.astimezone(UTC), actor, reason)

        return self._change(
            by, service, component, version, lambda _, before: replace(check_present(before), marked_at=None)
        )

    def remove(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        by = By(at.astimezone(UTC), actor, reason)

        def change(connection: Connection, before: Version) -> Version:
            if before.removed_at is not None:
                return before
            if before.marked_at is None:
                raise VersionInUse(name=before.reference, wanted="removed", why="it is not marked for deletion")
            _check_unused(connection, before, "removed")
            writing.note_version(connection, by, before, ChangeKind.REMOVED)
            return replace(before, removed_at=by.at)

        return self._change(by, service, component, version, change)

    def changes(
        self, *, service: str | None = None, component: str | None = None, after_seq: int = 0, limit: int | None = None
    ) -> list[Change]:
        wanted = asking.change_rows(service, component, after_seq, limit)
        return self._database.transact(lambda c: [asking.change_of(row) for row in c.execute(wanted)])

    def verify(self) -> int:
        previous, n_changes = GENESIS, 0
        with self._database.connected() as connection:
            for row in connection.execute(asking.change_rows(None, None, -1, None)).mappings():
                if why := flaw_in(row, n_changes + 1, previous):
                    raise RegistryDamaged(path=self._path, seq=n_changes + 1, why=why)
                previous, n_changes = row["hash"], n_changes + 1
        return n_changes

    def export(self) -> Iterator[dict[str, Any]]:
        """See ports/registry.py. The state is that of the first line; close the iterator when you stop early."""
        yield dict(exchange.HEADER)
        with self._database.connected() as connection:
            streamed = connection.execution_options(yield_per=_BATCH)
            for row in streamed.execute(tables.WHOLE_VERSION.order_by(tables.versions.c.id)):
                yield exchange.written(tables.version_of(row))
            for row in streamed.execute(select(tables.promotions).order_by(*tables.promotions.primary_key)):
                yield exchange.written(asking.promotion_of(row))
            for row in streamed.execute(asking.ALIASES):
                yield exchange.written(exchange.Alias(row.service, row.component, row.alias, row.version))

    def import_(
        self,
        lines: Iterable[object],
        *,
        at: datetime,
        actor: str,
        reason: str,
        progress: Callable[[int], None] = _nobody_asks,
    ) -> Imported:
        by = By(at.astimezone(UTC), actor, reason)
        n_added = n_present = n_done = 0
        conflicts: list[str] = []
        numbered = enumerate(lines, 1)
        while taken := list(islice(numbered, _BATCH)):
            batch = Batch(taken)
            self._database.transact(lambda c, batch=batch: batch.take_in(c, by), writes=True)  # type: ignore[misc]
            n_added, n_present = n_added + batch.n_added, n_present + batch.n_present
            conflicts += batch.conflicts
            n_done += len(taken)
            progress(n_done)
        return Imported(n_added, n_present, tuple(conflicts))

    def close(self) -> None:
        self._database.close()

    def _change(
        self, by: By, service: str, component: str, version: str, change: Callable[[Connection, Version], Version]
    ) -> Version:
        """Change one version in one transaction; `change` gets it as it is and returns it as it shall be."""
        parsed = SemVer.parse(version)

        def work(connection: Connection) -> Version:
            before = asking.known_version(connection, service, component, parsed)
            after = change(connection, before)
            if after is not before:
                writing.save_state(connection, by, before, after)
            return after

        return self._database.transact(work, writes=True)


def _make_stable(connection: Connection, by: By, version: Version) -> None:
    """What serves is stable, waits for no deletion, and challenges nobody."""
    after = replace(version, marked_at=None)
    if version.stage is not Stage.STABLE:
        after = version.moved(Stage.STABLE, at=by.at, actor=by.actor, reason=by.reason)
        facts = {"from": version.stage.value, "to": after.stage.value}
        writing.note_version(connection, by, version, ChangeKind.MOVED, **facts)
    writing.save_state(connection, by, version, replace(after, promoted_at=by.at))
    if Word.CHALLENGER in asking.aliases_of(connection, version):
        writing.drop_alias(connection, version.service, version.component, Word.CHALLENGER)


def _check_unused(connection: Connection, version: Version, wanted: str) -> None:
    serving = asking.serving_key(connection, version.service, version.component)
    check_unused(
        version,
        serves=serving is not None and serving[1] == version.version.key,
        aliases=asking.aliases_of(connection, version),
        n_stable_left=asking.n_stable_left(connection, version),
        wanted=wanted,
    )
