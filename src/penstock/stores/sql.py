"""The journal in a SQL database, through SQLAlchemy Core. What is SQLite's alone stands in stores/sqlite.py."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)

from penstock.kernel.chain import GENESIS, canonical_json
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
from penstock.stores.chained import flaw_in
from penstock.stores.database import Database, Layout
from penstock.stores.lock import WriterLock

_Result = TypeVar("_Result")

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


def _set_up(connection: Connection) -> None:
    _metadata.create_all(connection)
    for trigger in sqlite.append_only("entries", "the journal"):
        connection.exec_driver_sql(trigger)
    connection.execute(insert(_writer), {"id": 1, "holder": "", "term": 0})


_LAYOUT = Layout(1, _set_up, damaged=JournalDamaged, too_new=JournalTooNew, unwritable=JournalUnwritable)


class SqlJournal:
    """The journal in one SQLite file, for one machine. Files are made readable by their owner only.

    SQL runs in a thread of its own, so that a slow disk never stops the event loop. An append whose task is cancelled
    may still be written; the expected generation then tells.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Touch nothing yet; the folder of `path` must exist when the journal is first used."""
        self._path = path
        self._clock = clock
        self._database = Database(path, _LAYOUT)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
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
        return await self._in_thread(
            lambda: self._database.transact(lambda c: [self._entry(row) for row in c.execute(wanted)])
        )

    async def verify(self) -> int:
        """Recompute the whole chain and return its length; JournalDamaged at the first entry that breaks it.

        A changed, missing, inserted or swapped entry shows. Entries cut off at the end do not: what is left is a sound
        chain. Compare its last hash with one kept elsewhere to find that out.
        """
        return await self._in_thread(lambda: self._database.transact(self._verified))

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
            self._term = self._database.transact(lambda connection: _next_term(connection, holder), writes=True)
        except PenstockError:
            self._release()
            raise
        return self._term

    def _append(self, draft: Draft, at: datetime, expected_generation: int) -> Entry:
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

        return self._database.transact(work, writes=True)

    def _verified(self, connection: Connection) -> int:
        previous, n_entries = GENESIS, 0
        for row in connection.execute(select(_entries).order_by(_entries.c.seq)).mappings():
            if why := flaw_in(row, n_entries + 1, previous):
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
        self._database.close()
        self._release()


def _next_term(connection: Connection, holder: str) -> int:
    term = int(connection.execute(select(_writer.c.term)).scalar_one()) + 1
    connection.execute(update(_writer), {"holder": holder, "term": term})
    return term
