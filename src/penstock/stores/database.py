"""One SQLite file as a store uses it: made when first used, checked, and all that goes wrong in the store's own words."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from penstock.kernel.errors import PenstockError
from penstock.stores import sqlite

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store keeps in its file.

    Attributes:
        version: 1, 2, 3 ... of the tables.
        set_up: makes the tables in an empty file.
        damaged: facts path, seq, why. too_new: facts path, found, known. unwritable: facts path, why.
    """

    version: int
    set_up: Callable[[Connection], None]
    damaged: type[PenstockError]
    too_new: type[PenstockError]
    unwritable: type[PenstockError]


class Database:
    """Files are made readable by their owner only. `shared`: calls may come from any thread, else all from one."""

    def __init__(self, path: Path, layout: Layout, *, shared: bool = False) -> None:
        """Touch nothing yet; the folder of `path` must exist when the file is first used."""
        self._path = path
        self._layout = layout
        self._shared = shared
        self._engine: Engine | None = None
        self._file_id: tuple[int, int] | None = None
        self._opening = threading.Lock()

    def transact(self, work: Callable[[Connection], _Result], *, writes: bool = False) -> _Result:
        """Run `work` in one transaction; whatever the database or the disk says against it comes out as our errors."""
        with self.connected(writes=writes) as connection:
            return work(connection)

    @contextmanager
    def connected(self, *, writes: bool = False) -> Iterator[Connection]:
        """A transaction, for who reads more than fits into memory."""
        try:
            if writes:
                self._check_in_place()
            with self._opened().execution_options(writes=writes).begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            self._drop_connection_if_broken()
            raise self._translated(error, writes=writes) from error

    def close(self) -> None:
        """Give up the connections; the next use opens the file again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _check_in_place(self) -> None:
        """A file that was moved or deleted still takes entries, but nobody would ever find them again."""
        if self._file_id is None:
            return
        try:
            stat = self._path.stat()
        except OSError as error:
            raise self._layout.unwritable(path=self._path, why=error.strerror or str(error)) from error
        if (stat.st_dev, stat.st_ino) != self._file_id:
            raise self._layout.unwritable(path=self._path, why="another file was put in its place")

    def _drop_connection_if_broken(self) -> None:
        """Keep a connection that still reads: on a full disk another one could not even do that (no room for -shm)."""
        if self._engine is None:
            return
        try:
            with self._engine.begin() as connection:
                sqlite.schema_version(connection)
        except (SQLAlchemyError, sqlite3.Error):
            self._engine.dispose()

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                sqlite.create_file(self._path)
                engine = sqlite.engine_for(self._path, shared=self._shared)
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
        if version > self._layout.version:
            raise self._layout.too_new(path=self._path, found=version, known=self._layout.version)
        if version == self._layout.version:
            return
        with engine.execution_options(writes=True).begin() as connection:
            # Another process may have been here between the two transactions.
            if sqlite.schema_version(connection) == self._layout.version:
                return
            self._layout.set_up(connection)
            sqlite.set_schema_version(connection, self._layout.version)

    def _translated(self, error: Exception, *, writes: bool) -> PenstockError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        if sqlite.is_damage(cause):
            return self._layout.damaged(path=self._path, seq="unknown", why=str(cause))
        return self._layout.unwritable(path=self._path, why=str(cause) if writes else f"not even read: {cause}")
