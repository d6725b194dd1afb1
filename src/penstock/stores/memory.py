"""The judge's memory in one JSON file per service, written aside and then put in place."""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger("penstock.stores")


class FileMemory:
    """Files are named `judge-SERVICE.json` and readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet; the folder must exist when something is saved."""
        self._folder = folder
        self._failed: set[str] = set()

    async def save(self, service: str, state: Mapping[str, Any]) -> bool:
        # One thread hop: encoding and writing a few tens of kilobytes must not hold up the event loop.
        return await asyncio.to_thread(self._save, service, state)

    async def load(self, service: str) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._load, service)

    def _path(self, service: str) -> Path:
        return self._folder / f"judge-{service}.json"

    def _save(self, service: str, state: Mapping[str, Any]) -> bool:
        path = self._path(service)
        aside = path.with_suffix(".new")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(json.dumps(state, allow_nan=False))  # json.dump would write it in thousands of pieces
            aside.replace(path)
        except OSError as error:
            if service not in self._failed:  # said once, not every few seconds
                _log.warning("%s: the judge's evidence could not be kept in %s: %s", service, path, error.strerror)
            self._failed.add(service)
            return False
        self._failed.discard(service)
        return True

    def _load(self, service: str) -> dict[str, Any] | None:
        try:
            loaded = json.loads(self._path(service).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return loaded if isinstance(loaded, dict) else None
