"""SqlRegistry against what people and disks do to its file."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from penstock.kernel.errors import RegistryDamaged, RegistryTooNew, RegistryUnwritable
from penstock.registry.query import Query
from penstock.registry.stage import Stage
from penstock.stores.registry import SqlRegistry
from penstock.testing.contracts.registry_place import AT, BY, sample_version


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A registry of five changes."""
    registry = SqlRegistry(tmp_path / "registry.db")
    for n in range(1, 5):
        registry.register(sample_version(str(n)), **BY)
    registry.move("tts", "vocoder", "1", Stage.VERIFIED, at=AT, **BY)
    registry.close()
    return tmp_path / "registry.db"


@pytest.fixture
def registry(path: Path) -> Iterator[SqlRegistry]:
    registry = SqlRegistry(path)
    yield registry
    registry.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE changes SET reason = 'other' WHERE seq = 3",
        "DELETE FROM changes",
        "INSERT OR REPLACE INTO changes SELECT * FROM changes WHERE seq = 3",
    ],
)
def test_hand_made_sql_cannot_change_the_list_of_changes(path: Path, registry: SqlRegistry, statement: str) -> None:
    with raw(path) as connection, pytest.raises(sqlite3.IntegrityError, match="the list of changes is append-only"):
        connection.execute(statement)
    assert registry.verify() == 5


@pytest.mark.parametrize(
    ("tampering", "seq"),
    [
        *(
            (f"UPDATE changes SET {change} WHERE seq = 3", 3)
            for change in ("at = '2026'", "actor = 'bob'", "kind = 'moved'", "facts = '{}'", "previous_hash = hash")
        ),
        ("DELETE FROM changes WHERE seq = 2", 2),
    ],
)
def test_tampering_is_found_where_it_begins(path: Path, registry: SqlRegistry, tampering: str, seq: int) -> None:
    with raw(path) as connection:
        for trigger in ("changes_have_no_gaps", "changes_never_change", "changes_stay"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(tampering)
    with pytest.raises(RegistryDamaged, match=f"does not add up at change {seq}"):
        registry.verify()


def test_hand_made_sql_cannot_give_a_number_twice(path: Path) -> None:
    columns = (
        "service, component, key, version, stage, size_bytes, registered_at, staged_by, staged_why, languages, words"
    )
    with raw(path) as connection, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute(f"INSERT INTO versions ({columns}) SELECT {columns} FROM versions WHERE id = 1")


def test_a_newer_layout_is_refused(path: Path, registry: SqlRegistry) -> None:
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(RegistryTooNew, match="layout 2; this one knows 1"):
        registry.versions(Query())


def test_a_file_that_is_no_registry_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_text("Dear diary, " * 1000)
    registry = SqlRegistry(path)
    with pytest.raises(RegistryDamaged, match="not a database"):
        registry.register(sample_version("1"), **BY)
    registry.close()
    assert path.read_text().startswith("Dear diary")


def test_only_the_owner_may_read_the_files(path: Path, registry: SqlRegistry) -> None:
    registry.register(sample_version("9"), **BY)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"registry.db", "registry.db-wal"}
    assert set(modes.values()) == {0o600}


def test_a_registry_that_was_swapped_takes_no_changes(path: Path, registry: SqlRegistry) -> None:
    registry.register(sample_version("9"), **BY)
    away = path.with_suffix(".away")
    path.rename(away)
    path.write_bytes(b"")
    with pytest.raises(RegistryUnwritable, match="another file was put in its place"):
        registry.register(sample_version("10"), **BY)
    away.rename(path)
    registry.register(sample_version("10"), **BY)
    assert registry.verify() == 7


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    registry = SqlRegistry(tmp_path / "gone" / "registry.db")
    with pytest.raises(RegistryUnwritable, match="No such file"):
        registry.register(sample_version("1"), **BY)
    registry.close()


def test_an_export_that_is_not_read_to_its_end_gives_its_connection_back(registry: SqlRegistry) -> None:
    for _ in range(40):  # more often than there are connections
        lines = registry.export()
        assert next(lines)["kind"] == "registry"
        assert next(lines)["kind"] == "version"
        lines.close()  # type: ignore[attr-defined]  # it is a generator
    registry.register(sample_version("9"), **BY)
