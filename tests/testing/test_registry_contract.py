"""MemoryRegistry keeps the laws that the real store keeps."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.kernel.errors import RegistryDamaged
from penstock.ports.registry import RegistryStore
from penstock.registry.stage import Stage
from penstock.testing.contracts import RegistryContract
from penstock.testing.contracts.registry_place import AT, BY, sample_version
from penstock.testing.registry import MemoryRegistry, Shelf


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture(autouse=True)
    def place(self) -> None:
        self.shelf = Shelf()

    def open_registry(self) -> RegistryStore:
        return MemoryRegistry(self.shelf)

    def open_empty(self) -> RegistryStore:
        return MemoryRegistry()

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        self.shelf.unwritable = "database or disk is full"
        yield
        self.shelf.unwritable = None


def test_a_memory_registry_that_was_edited_does_not_verify() -> None:
    registry = MemoryRegistry()
    registry.register(sample_version("1.0.0"), **BY)
    registry.move("tts", "vocoder", "1.0.0", Stage.VERIFIED, at=AT, **BY)
    del registry.shelf.changes[0]
    with pytest.raises(RegistryDamaged, match="change 1"):
        registry.verify()
