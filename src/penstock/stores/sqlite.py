"""What only SQLite needs: how to connect, how a writing transaction begins, append-only triggers, the schema's version.

Source: SQLite documentation, `PRAGMA synchronous` (FULL in WAL mode: a commit survives a power cut), `BEGIN IMMEDIATE`
(a writer finds out at once that it must wait), "Recommended defense against editing history": triggers that RAISE.
"""

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, StaticPool, create_engine, event

#: How long a transaction waits for another process's.
_BUSY_TIMEOUT_S = 5.0

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def append_only(table: str, what: str) -> tuple[str, ...]:
    """Return triggers that hold hand-made SQL to the law; `what` names the table in what they say.

    The first one also stops INSERT OR REPLACE, which fires no DELETE trigger.
    """
    refuse = f"BEGIN SELECT RAISE(ABORT, '{what} is append-only: "
    return (
        f"""CREATE TRIGGER {table}_have_no_gaps BEFORE INSERT ON {table}
        WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM {table})
        {refuse}seq must be the next one'); END""",  # noqa: S608 - the names are ours
        f"CREATE TRIGGER {table}_never_change BEFORE UPDATE ON {table} {refuse}{table} never change'); END",
        f"CREATE TRIGGER {table}_stay BEFORE DELETE ON {table} {refuse}{table} stay'); END",
    )


def create_file(path: Path) -> None:
    """Make an empty file that only we may read, unless there is one; -wal and -shm get its permissions."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def engine_for(path: Path, *, shared: bool = False) -> Engine:
    """Return an engine for an existing file. With one connection, all its use must come from one thread; `shared` among
    threads, it has a few.

    Transactions read, unless begun with the execution option `writes`.
    """
    # mode=rw: a journal that somebody moved away must be missed, not begun anew.
    uri = path.absolute().as_uri() + "?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=not shared
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool if shared else StaticPool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def schema_version(connection: Connection) -> int:
    """Return the version of the file's schema; 0 for an empty file."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def set_schema_version(connection: Connection, version: int) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {version:d}")


def is_damage(error: BaseException) -> bool:
    """Whether an error means that the file's content is broken, rather than that it cannot be reached."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return name.startswith(_DAMAGE) or "Could not decode to UTF-8" in str(error)
