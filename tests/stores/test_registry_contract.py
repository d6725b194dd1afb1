"""SqlRegistry keeps the laws of the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.ports.registry import RegistryStore
from penstock.stores.registry import SqlRegistry
from penstock.testing.contracts import RegistryContract


class TestSqlRegistry(RegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "a name?with#signs%41.db"
        self.opened: list[SqlRegistry] = []
        yield
        for registry in self.opened:
            registry.close()

    def open_registry(self) -> RegistryStore:
        self.opened.append(SqlRegistry(self.path))
        return self.opened[-1]

    def open_empty(self) -> RegistryStore:
        return SqlRegistry(self.path.with_name("other.db"))

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        yield
        away.rename(self.path)
