"""The composition root: the only place that names concrete drivers."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from penstock.control.loop import ControlLoop
from penstock.control.plane import ControlPlane
from penstock.control.service import Ports
from penstock.gateways.envoy.driver import EnvoyGateway
from penstock.mirror.http import HttpMirror
from penstock.routing.table import Identity
from penstock.stores.sql import SqlJournal
from penstock.telemetry.envoy import EnvoyTelemetry


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `penstock up` was asked for.

    Attributes:
        services: (name, URLs of the running servers), in the order given.
        listen: `host:port` of the first service's listener; None chooses free ones.
        api: `host:port` of the HTTP API.
        state_dir: where journal, sockets and logs live.
        identity: how users are recognised.
        lease_s: how long a canary keeps its traffic without a living control plane, seconds.
    """

    services: tuple[tuple[str, tuple[str, ...]], ...]
    listen: str | None
    api: str
    state_dir: Path
    identity: Identity
    lease_s: float


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - the one place where the wall clock enters

    def monotonic_s(self) -> float:
        return time.monotonic()  # noqa: TID251 - the one place where the monotonic clock enters


@dataclass(frozen=True, slots=True)
class Composition:
    """A control plane with its drivers, ready to start."""

    loop: ControlLoop
    plane: ControlPlane
    gateway: EnvoyGateway


@asynccontextmanager
async def composed(options: UpOptions) -> AsyncIterator[Composition]:
    """Become the journal's writer and put the drivers together; on leaving, close them. Envoy runs on."""
    options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = SystemClock()
    journal = SqlJournal(options.state_dir / "journal.db", clock)
    await journal.acquire(f"process {os.getpid()}")
    mirror = HttpMirror(options.state_dir)
    gateway = EnvoyGateway(options.state_dir, lease_s=options.lease_s, clock=clock)
    try:
        await mirror.start()
        ports = Ports(journal, gateway, mirror, clock, np.random.default_rng())

        def pods_of(service: str, number: int) -> frozenset[str]:
            return plane.pods_of(service, number)  # known by the plane, which is built around the telemetry that asks

        telemetry = EnvoyTelemetry(gateway.admin_socket, pods_of=pods_of)
        loop = ControlLoop(ports, telemetry, lease_s=options.lease_s)
        plane = ControlPlane(loop)
        yield Composition(loop, plane, gateway)
    finally:
        await gateway.close()
        await mirror.close()
        await journal.close()
