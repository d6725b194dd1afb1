"""The judge's memory in files: the contract, and what a disk can do to it."""

import stat
from pathlib import Path
from typing import Any

import pytest

from penstock.stores.memory import FileMemory
from penstock.testing.contracts.memory import MemoryContract


class TestFileMemory(MemoryContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def open_memory(self) -> FileMemory:
        return FileMemory(self.folder)


async def test_a_save_that_was_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    await memory.save("tts", {"n": 1})
    (tmp_path / "judge-tts.new").write_text('{"n": 2, "half', encoding="ascii")
    assert await memory.load("tts") == {"n": 1}
    await memory.save("tts", {"n": 3})
    assert await memory.load("tts") == {"n": 3}


@pytest.mark.parametrize("text", ["", "[1]", "{", "\\xff"])
async def test_what_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "judge-tts.json").write_text(text, encoding="ascii")
    assert await FileMemory(tmp_path).load("tts") is None


async def test_a_medium_that_takes_nothing_is_said_once_and_forgiven(tmp_path: Path, caplog: Any) -> None:
    memory = FileMemory(tmp_path / "gone")
    assert not await memory.save("tts", {})
    assert not await memory.save("tts", {})
    assert len(caplog.records) == 1
    (tmp_path / "gone").mkdir()
    assert await memory.save("tts", {})


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    await FileMemory(tmp_path).save("tts", {})
    assert stat.S_IMODE((tmp_path / "judge-tts.json").stat().st_mode) == 0o600
