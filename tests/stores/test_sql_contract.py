"""SqlJournal keeps the laws of the journal."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.ports.clock import Clock
from penstock.ports.journal import Journal
from penstock.stores.sql import SqlJournal
from penstock.testing.contracts import JournalContract


class TestSqlJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "a name?with#signs%41.db"

    def open_journal(self, clock: Clock) -> Journal:
        return SqlJournal(self.path, clock)

    def start_newer_term(self) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute("UPDATE writer SET term = term + 1, holder = 'another'")
        connection.close()

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        yield
        away.rename(self.path)
