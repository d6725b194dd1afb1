"""What the laws of ports/registry.py are tried on: a place, and versions to put there."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, TypedDict

import pytest

from penstock.kernel.semver import SemVer
from penstock.ports.registry import RegistryStore
from penstock.registry.metadata import Metadata
from penstock.registry.stage import Stage
from penstock.registry.version import Version

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class By(TypedDict):
    """Who makes a change, and why."""

    actor: str
    reason: str


BY: By = {"actor": "ann", "reason": "Because."}
TTS = "tts", "vocoder"


def metadata_fields(**other: Any) -> dict[str, Any]:
    """Return complete metadata as JSON, with other fields or values."""
    return {
        "created": "2026-01-30T08:00:00Z",
        "author": "ann",
        "owner": "speech",
        "change_note": "Fewer crackles.",
        "training_set": "studio 7",
        "metrics": {"mos": {"value": 4.2, "unit": "MOS 1..5"}},
        "framework_version": "torch 2.13.0",
        "cuda_version": "13.0",
        "sample_rate_hz": 24000,
        "languages": ["en", "zh"],
        "input_signature": {"mel": "float32[T,80]"},
        "output_signature": "float32[T*300]",
        "licence": "Apache-2.0",
        **other,
    }


def sample_version(
    version: str,
    component: str = "vocoder",
    *,
    service: str = "tts",
    stage: Stage = Stage.REGISTERED,
    at: datetime = AT,
    digest: str | None = None,
    size_bytes: int = 1000,
    **metadata: Any,
) -> Version:
    """Return a version for a test."""
    known = Metadata.from_json(metadata_fields(**metadata))
    return Version(service, component, SemVer.parse(version), digest, size_bytes, known, at, stage)


class RegistryPlace:
    """Hooks: `open_registry`, `open_empty`, `unwritable`. Give the instance its place in an autouse fixture."""

    @abstractmethod
    def open_registry(self) -> RegistryStore:
        """Open this test's registry; again, when called again."""

    @abstractmethod
    def unwritable(self) -> AbstractContextManager[None]:
        """Let the medium refuse changes meanwhile."""

    @pytest.fixture
    def registry(self) -> Iterator[RegistryStore]:
        registry = self.open_registry()
        yield registry
        registry.close()

    def fill(self, registry: RegistryStore, *versions: str, component: str = "vocoder", **fields: Any) -> None:
        for version in versions:
            registry.register(sample_version(version, component, **fields), **BY)

    def names(self, versions: list[Version]) -> list[str]:
        return [f"{version.component} {version.version}" for version in versions]

    @pytest.fixture
    def other(self) -> Iterator[RegistryStore]:
        registry = self.open_empty()
        yield registry
        registry.close()

    @abstractmethod
    def open_empty(self) -> RegistryStore:
        """Open another registry, an empty one."""
