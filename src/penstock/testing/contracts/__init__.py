"""The laws of each port as tests, one suite a file. They need pytest and pytest-asyncio; nothing else of Penstock does."""

from penstock.testing.contracts.artifacts import ArtifactsContract
from penstock.testing.contracts.gateway import GatewayContract
from penstock.testing.contracts.journal import JournalContract
from penstock.testing.contracts.memory import MemoryContract
from penstock.testing.contracts.mirror import MirrorContract
from penstock.testing.contracts.model_server import ModelServerContract
from penstock.testing.contracts.registry import RegistryContract
from penstock.testing.contracts.telemetry import TelemetryContract

__all__ = [
    "ArtifactsContract",
    "GatewayContract",
    "JournalContract",
    "MemoryContract",
    "MirrorContract",
    "ModelServerContract",
    "RegistryContract",
    "TelemetryContract",
]
