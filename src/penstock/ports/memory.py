"""What the judge knows, kept beside the journal, so that a restarted control plane need not begin anew."""

from collections.abc import Mapping
from typing import Any, Protocol


class JudgeMemory(Protocol):
    """Laws:
    - `load` returns what was saved last for the service, whole; a save that was cut short leaves the one before.
    - What was never saved, or cannot be read, is None: losing it costs evidence, never a decision.
    - `save` never raises for a full or read-only medium: evidence is not worth a rollout. It says whether it was kept.
    """

    async def save(self, service: str, state: Mapping[str, Any]) -> bool: ...

    async def load(self, service: str) -> dict[str, Any] | None: ...
