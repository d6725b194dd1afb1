"""The journal in a SQL database, through SQLAlchemy Core. What is SQLite's alone stands in stores/sqlite.py."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    Row,
    RowMapping,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from penstock.kernel.chain import GENESIS, canonical_json, entry_hash
from penstock.kernel.errors import (
    FencedOff,
    JournalDamaged,
    JournalTooNew,
    JournalUnwritable,
    PenstockError,
    StaleGeneration,
)
from penstock.ports.clock import Clock
from penstock.rollout.chain import chained, fields_of
from penstock.rollout.entry import Draft, Entry, Kind
from penstock.stores import sqlite
from penstock.stores.lock import WriterLock

_Result = TypeVar("_Result")

_SCHEMA_VERSION = 1

_metadata = MetaData()
_entries = Table(
    "entries",
    _metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("at", "service", "kind", "actor", "reason")),
    Column("generation", Integer, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("facts", "previous_hash", "hash")),
)
_newest_first = Index("entries_by_service", _entries.c.service, _entries.c.seq)
_writer = Table(
    "writer",
    _metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("term", Integer, nullable=False),
)

_last = select(_entries).order_by(_entries.c.seq.desc()).limit(1)
#: All that an append must know, in one question.
_STANDING = select(
    select(_writer.c.term).scalar_subquery().label("term"),
    _last.with_only_columns(_entries.c.seq).scalar_subquery().label("seq"),
    _last.with_only_columns(_entries.c.hash).scalar_subquery().label("hash"),
    _last.with_only_columns(_entries.c.generation)
    .where(_entries.c.service == bindparam("service"))
    .scalar_subquery()
    .label("generation"),
)
_APPEND = insert(_entries)


class SqlJournal:
    """The journal in one SQLite file, for one machine. Files are made readable by their owner only.

    SQL runs in a thread of its own, so that a slow disk never stops the event loop. An append whose task is cancelled
    may still be written; the expected generation then tells.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Touch nothing yet; the folder of `path` must exist when the journal is first used."""
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._engine: Engine | None = None
        self._file_id: tuple[int, int] | None = None
        self._lock: WriterLock | None = None
        self._term = 0
        self._closed = False

    async def acquire(self, holder: str) -> int:
        return await self._in_thread(lambda: self._acquire(holder))

    async def append(self, draft: Draft, *, expected_generation: int) -> Entry:
        if self._term == 0:
            raise RuntimeError("acquire the journal before you append to it")
        if draft.generation < expected_generation:
            raise ValueError(f"generation {draft.generation} would fall behind {expected_generation}")
        at = self._clock.now()
        return await self._in_thread(lambda: self._append(draft, at, expected_generation))

    async def read(self, service: str | None = None, *, after_seq: int = 0) -> list[Entry]:
        wanted = select(_entries).where(_entries.c.seq > after_seq).order_by(_entries.c.seq)
        if service is not None:
            wanted = wanted.where(_entries.c.service == service)
        return await self._in_thread(lambda: self._transact(lambda c: [self._entry(row) for row in c.execute(wanted)]))

    async def verify(self) -> int:
        """Recompute the whole chain and return its length; JournalDamaged at the first entry that breaks it.

        A changed, missing, inserted or swapped entry shows. Entries cut off at the end do not: what is left is a sound
        chain. Compare its last hash with one kept elsewhere to find that out.
        """
        return await self._in_thread(lambda: self._transact(self._verified))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # What follows runs in the journal's thread.

    def _acquire(self, holder: str) -> int:
        try:
            self._lock = self._lock or WriterLock(self._path)
        except OSError as error:
            raise JournalUnwritable(path=self._path, why=error.strerror or str(error)) from error
        try:
            self._term = self._transact(lambda connection: _next_term(connection, holder), writes=True)
        except PenstockError:
            self._release()
            raise
        return self._term

    def _append(self, draft: Draft, at: datetime, expected_generation: int) -> Entry:
        self._check_in_place()

        def work(connection: Connection) -> Entry:
            standing = connection.execute(_STANDING, {"service": draft.service}).one()
            if standing.term != self._term:
                raise FencedOff(term=standing.term, ours=self._term)
            if (actual := standing.generation or 0) != expected_generation:
                raise StaleGeneration(service=draft.service, actual=actual, expected=expected_generation)
            previous = standing.hash or GENESIS
            entry = chained(draft, seq=(standing.seq or 0) + 1, at=at, previous=previous)
            row = fields_of(entry) | {"facts": canonical_json(entry.facts)}
            connection.execute(_APPEND, row | {"previous_hash": previous, "hash": entry.hash})
            return entry

        return self._transact(work, writes=True)

    def _check_in_place(self) -> None:
        """A file that was moved or deleted still takes entries, but nobody would ever find them again."""
        if self._file_id is None:
            return
        try:
            stat = self._path.stat()
        except OSError as error:
            raise JournalUnwritable(path=self._path, why=error.strerror or str(error)) from error
        if (stat.st_dev, stat.st_ino) != self._file_id:
            raise JournalUnwritable(path=self._path, why="another file was put in its place")

    def _transact(self, work: Callable[[Connection], _Result], *, writes: bool = False) -> _Result:
        """Run `work` in one transaction; whatever the database or the disk says against it comes out as our errors."""
        try:
            with self._opened().execution_options(writes=writes).begin() as connection:
                return work(connection)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            self._drop_connection_if_broken()
            raise self._translated(error, writes=writes) from error

    def _drop_connection_if_broken(self) -> None:
        """Keep a connection that still reads: on a full disk another one could not even do that (no room for -shm)."""
        if self._engine is None:
            return
        try:
            with self._engine.begin() as connection:
                connection.execute(select(_writer.c.term))
        except (SQLAlchemyError, sqlite3.Error):
            self._engine.dispose()

    def _opened(self) -> Engine:
        if self._engine is None:
            sqlite.create_file(self._path)
            engine = sqlite.engine_for(self._path)
            try:
                self._set_up(engine)
            except BaseException:
                engine.dispose()
                raise
            stat = self._path.stat()
            self._file_id = (stat.st_dev, stat.st_ino)
            self._engine = engine
        return self._engine

    def _set_up(self, engine: Engine) -> None:
        with engine.begin() as connection:
            version = sqlite.schema_version(connection)
        if version > _SCHEMA_VERSION:
            raise JournalTooNew(path=self._path, found=version, known=_SCHEMA_VERSION)
        if version == _SCHEMA_VERSION:
            return
        with engine.execution_options(writes=True).begin() as connection:
            # Another process may have been here between the two transactions.
            if sqlite.schema_version(connection) == _SCHEMA_VERSION:
                return
            _metadata.create_all(connection)
            for trigger in sqlite.TRIGGERS:
                connection.exec_driver_sql(trigger)
            connection.execute(insert(_writer), {"id": 1, "holder": "", "term": 0})
            sqlite.set_schema_version(connection, _SCHEMA_VERSION)

    def _translated(self, error: Exception, *, writes: bool) -> PenstockError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        if sqlite.is_damage(cause):
            return JournalDamaged(path=self._path, seq="unknown", why=str(cause))
        return JournalUnwritable(path=self._path, why=str(cause) if writes else f"not even read: {cause}")

    def _verified(self, connection: Connection) -> int:
        previous, n_entries = GENESIS, 0
        for row in connection.execute(select(_entries).order_by(_entries.c.seq)).mappings():
            if why := _flaw_in(row, n_entries + 1, previous):
                raise JournalDamaged(path=self._path, seq=n_entries + 1, why=why)
            previous, n_entries = row["hash"], n_entries + 1
        return n_entries

    def _entry(self, row: Row[Any]) -> Entry:
        try:
            return Entry(
                seq=row.seq,
                at=datetime.fromisoformat(row.at),
                service=row.service,
                kind=Kind(row.kind),
                actor=row.actor,
                reason=row.reason,
                generation=row.generation,
                facts=json.loads(row.facts),
                hash=row.hash,
            )
        except (TypeError, ValueError) as error:
            raise JournalDamaged(path=self._path, seq=row.seq, why=str(error)) from error

    def _release(self) -> None:
        self._term = 0
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self._release()


def _next_term(connection: Connection, holder: str) -> int:
    term = int(connection.execute(select(_writer.c.term)).scalar_one()) + 1
    connection.execute(update(_writer), {"holder": holder, "term": term})
    return term


def _flaw_in(row: RowMapping, seq: int, previous: str) -> str | None:
    """Return why a stored row cannot be entry `seq` after the entry with hash `previous`; None if it can."""
    fields: dict[str, Any] = {name: row[name] for name in row if name not in {"previous_hash", "hash"}}
    if row["seq"] != seq:
        return f"it is missing, entry {row['seq']} follows"
    if row["previous_hash"] != previous:
        return "it does not follow the entry before it"
    try:
        fields["facts"] = json.loads(row["facts"])
        if canonical_json(fields["facts"]) == row["facts"] and entry_hash(previous, fields) == row["hash"]:
            return None
    except (TypeError, ValueError):
        pass
    return "it was changed after it was written"
