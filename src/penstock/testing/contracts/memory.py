"""The laws of ports/memory.py."""

from abc import abstractmethod

import pytest

from penstock.ports.memory import JudgeMemory


class MemoryContract:
    """Hook: `open_memory`, the same place each time it is called in one test."""

    @abstractmethod
    def open_memory(self) -> JudgeMemory:
        """Open this test's memory; again, when called again."""

    @pytest.fixture
    def memory(self) -> JudgeMemory:
        return self.open_memory()

    async def test_what_was_saved_last_is_loaded_by_whoever_comes_next(self, memory: JudgeMemory) -> None:
        assert await memory.save("tts", {"n": 1})
        assert await memory.save("tts", {"n": 2, "share": 0.1 + 0.2, "names": ["a", None]})
        assert await self.open_memory().load("tts") == {"n": 2, "share": 0.1 + 0.2, "names": ["a", None]}

    async def test_services_are_kept_apart(self, memory: JudgeMemory) -> None:
        await memory.save("tts", {"n": 1})
        await memory.save("asr", {"n": 2})
        assert await memory.load("tts") == {"n": 1}

    async def test_what_was_never_saved_is_none(self, memory: JudgeMemory) -> None:
        assert await memory.load("tts") is None
