"""SqlJournal against what people and disks do to its file."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from penstock.kernel.errors import JournalDamaged, JournalTooNew, JournalUnwritable
from penstock.rollout.entry import Draft, Kind
from penstock.stores.sql import SqlJournal
from penstock.testing.fakes import ManualClock, MemoryJournal

_TRIGGERS = ("entries_have_no_gaps", "entries_never_change", "entries_stay")


def draft(generation: int) -> Draft:
    return Draft("tts", Kind.STEPPED, "judge", "Because.", generation, {"weight": 500 * generation, "why": ["a", "b"]})


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@contextmanager
def swapped(path: Path) -> Iterator[None]:
    away = path.with_suffix(".away")
    path.rename(away)
    path.write_bytes(b"")
    yield
    away.rename(path)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A journal of five entries."""
    journal = SqlJournal(tmp_path / "journal.db", ManualClock())
    await journal.acquire("test")
    for generation in range(1, 6):
        await journal.append(draft(generation), expected_generation=generation - 1)
    await journal.close()
    return tmp_path / "journal.db"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET reason = 'other' WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 5",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries SELECT * FROM entries WHERE seq = 3",
        "INSERT INTO entries SELECT 9, at, service, kind, actor, reason, generation, facts, hash, hash FROM entries",
    ],
)
async def test_hand_made_sql_cannot_change_history(path: Path, statement: str) -> None:
    with raw(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    journal = SqlJournal(path, ManualClock())
    assert await journal.verify() == 5
    await journal.close()


@pytest.mark.parametrize(
    ("tampering", "seq"),
    [
        *(
            (f"UPDATE entries SET {change} WHERE seq = 3", 3)
            for change in (
                "at = '2026-01-01T00:00:00.000001Z'",
                "service = 'asr'",
                "kind = 'held'",
                "actor = 'someone'",
                "reason = reason || ' '",
                "generation = 4",
                "facts = replace(facts, '1500', '1501')",
                "facts = replace(facts, ',', ', ')",
                "facts = 'not json'",
                "facts = x'00'",
                "hash = replace(hash, substr(hash, 1, 1), 'x')",
                "previous_hash = hash",
            )
        ),
        ("DELETE FROM entries WHERE seq = 1", 1),
        ("DELETE FROM entries WHERE seq = 3", 3),
        ("UPDATE entries SET seq = 6 WHERE seq = 3", 3),
        ("DELETE FROM entries WHERE seq = 3; UPDATE entries SET seq = seq - 1 WHERE seq > 3", 3),
        ("UPDATE entries SET seq = -1 WHERE seq = 2; UPDATE entries SET seq = 2 WHERE seq = 3", -1),
    ],
)
async def test_tampering_is_found_where_it_begins(path: Path, tampering: str, seq: int) -> None:
    with raw(path) as connection:
        for trigger in _TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.executescript(tampering)
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalDamaged) as caught:
        await journal.verify()
    assert caught.value.facts["seq"] == (1 if seq == -1 else seq)
    assert caught.value.facts["path"] == path
    await journal.close()


async def test_a_rewritten_entry_breaks_the_next_one(path: Path) -> None:
    """Whoever recomputes the changed entry's own hash is found at its successor."""
    forged = MemoryJournal(ManualClock())
    await forged.acquire("forger")
    for generation in (1, 2):
        await forged.append(draft(generation), expected_generation=generation - 1)
    entry = await forged.append(Draft("tts", Kind.HELD, "judge", "Forged.", 3), expected_generation=2)
    with raw(path) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute(
            "UPDATE entries SET kind = 'held', reason = 'Forged.', facts = '{}', hash = ? WHERE seq = 3", (entry.hash,)
        )
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalDamaged, match="entry 4: it does not follow"):
        await journal.verify()
    await journal.close()


async def test_an_unknown_kind_is_damage_and_not_a_crash(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET kind = 'exploded' WHERE seq = 2")
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalDamaged, match="entry 2: 'exploded'"):
        await journal.read()
    await journal.close()


async def test_both_journals_chain_alike(path: Path) -> None:
    memory = MemoryJournal(ManualClock())
    await memory.acquire("test")
    for generation in range(1, 6):
        await memory.append(draft(generation), expected_generation=generation - 1)
    journal = SqlJournal(path, ManualClock())
    assert await journal.read() == await memory.read()
    await journal.close()


async def test_a_newer_layout_is_refused(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalTooNew, match="layout 2; this one knows 1"):
        await journal.acquire("old")
    with pytest.raises(JournalTooNew):
        await journal.read()
    await journal.close()


async def test_a_file_that_is_no_journal_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text("Dear diary, " * 1000)
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalDamaged, match="not a database"):
        await journal.acquire("test")
    await journal.close()
    assert path.read_text().startswith("Dear diary")


async def test_bytes_that_are_no_text_are_damage(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET reason = CAST(x'ff41' AS TEXT) WHERE seq = 2")
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalDamaged, match="UTF-8"):
        await journal.verify()
    await journal.close()


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("test")
    await journal.append(draft(6), expected_generation=5)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await journal.close()
    assert set(modes) >= {"journal.db", "journal.db-wal", "journal.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_a_journal_that_was_swapped_takes_no_entries(path: Path) -> None:
    """SQLite would go on writing to the file that nobody can find any more."""
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("test")
    with swapped(path), pytest.raises(JournalUnwritable, match="another file was put in its place"):
        await journal.append(draft(6), expected_generation=5)
    assert (await journal.append(draft(6), expected_generation=5)).seq == 6
    assert await journal.verify() == 6
    await journal.close()


async def test_a_broken_connection_is_replaced(path: Path) -> None:
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("test")

    def break_it() -> None:
        assert journal._database._engine is not None
        journal._database._engine.pool.connection.driver_connection.close()

    await journal._in_thread(break_it)
    with pytest.raises(JournalUnwritable, match="closed database"):
        await journal.append(draft(6), expected_generation=5)
    assert (await journal.append(draft(6), expected_generation=5)).seq == 6
    await journal.close()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    journal = SqlJournal(tmp_path / "nowhere" / "journal.db", ManualClock())
    with pytest.raises(JournalUnwritable, match="No such file"):
        await journal.acquire("test")
    await journal.close()
