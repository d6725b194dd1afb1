"""What a control plane is put together from."""

from dataclasses import dataclass

import numpy as np

from penstock.ports.clock import Clock
from penstock.ports.gateway import Gateway
from penstock.ports.journal import Journal
from penstock.ports.memory import JudgeMemory
from penstock.ports.mirror import Mirror
from penstock.ports.model_server import ModelServer
from penstock.ports.registry import RegistryStore


@dataclass(frozen=True, slots=True)
class Ports:
    """The drivers one control plane works with.

    Attributes:
        api_url: where this control plane answers, for servers that forward rollbacks to it; None: they are not told.
        registry: what is known about versions; None: nothing is.
    """

    journal: Journal
    gateway: Gateway
    mirror: Mirror
    clock: Clock
    memory: JudgeMemory
    servers: ModelServer
    rng: np.random.Generator
    api_url: str | None = None
    registry: RegistryStore | None = None
