"""The control plane with its drivers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.bootstrap.state import make_folder
from penstock.control.drivers import Ports
from penstock.control.loop import ControlLoop
from penstock.control.plane import ControlPlane
from penstock.gateways.envoy.driver import EnvoyGateway
from penstock.kernel.errors import AlreadyRunning
from penstock.mirror.http import HttpMirror
from penstock.routing.table import Identity
from penstock.servers.slots import SlotServers
from penstock.stores.clock import SystemClock
from penstock.stores.memory import FileMemory
from penstock.stores.registry import SqlRegistry
from penstock.stores.sql import SqlJournal
from penstock.telemetry.envoy import EnvoyTelemetry

#: How long a control plane may take to leave, seconds: its last tick, and every canary to 0 %.
_PATIENCE_S = 30.0


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


@dataclass(frozen=True, slots=True)
class Composition:
    """A control plane with its drivers, ready to start."""

    loop: ControlLoop
    plane: ControlPlane
    gateway: EnvoyGateway


@asynccontextmanager
async def composed(options: UpOptions, *, api_url: str | None = None) -> AsyncIterator[Composition]:
    """Become the journal's writer and put the drivers together; on leaving, close them. Envoy runs on.

    `api_url` is where servers that switch in place forward rollbacks to.
    """
    make_folder(options.state_dir)
    clock = SystemClock()
    journal = SqlJournal(options.state_dir / "journal.db", clock)
    try:
        # Before any socket is touched: they may be those of the process that works here.
        await journal.acquire(f"process {os.getpid()}")
        async with _driven(options, journal, clock, api_url) as parts:
            yield parts
    finally:
        await journal.close()


@asynccontextmanager
async def _driven(
    options: UpOptions, journal: SqlJournal, clock: SystemClock, api_url: str | None
) -> AsyncIterator[Composition]:
    mirror = HttpMirror(options.state_dir)
    registry = SqlRegistry(options.state_dir / "registry.db")
    servers = SlotServers(admin_token=os.environ.get("PENSTOCK_ADMIN_TOKEN"))
    gateway = EnvoyGateway(options.state_dir, lease_s=options.lease_s, clock=clock)

    def pods_of(service: str, number: int) -> frozenset[str]:
        return plane.pods_of(service, number)  # known by the plane, which is built around the telemetry that asks

    telemetry = EnvoyTelemetry(gateway.admin_socket, pods_of=pods_of)
    try:
        await mirror.start()
        memory, rng = FileMemory(options.state_dir), np.random.default_rng()
        ports = Ports(journal, gateway, mirror, clock, memory, servers, rng, api_url, registry)
        loop = ControlLoop(ports, telemetry, lease_s=options.lease_s)
        plane = ControlPlane(loop)
        yield Composition(loop, plane, gateway)
    finally:
        await gateway.close()
        await mirror.close()
        await servers.close()
        registry.close()
        await telemetry.close()


async def take_down(state_dir: Path) -> bool:
    """End the control plane and the Envoy of this folder, by their pids; return whether there was one of them."""
    clock = SystemClock()
    was_running = False
    journal = SqlJournal(state_dir / "journal.db", clock)
    try:
        await journal.acquire(f"process {os.getpid()}")
    except AlreadyRunning as running:
        was_running = True
        if not str(running.facts["pid"]).isdecimal():
            raise
        await _end(int(str(running.facts["pid"])))
    await journal.close()
    gateway = EnvoyGateway(state_dir, lease_s=1.0, clock=clock)
    was_running = await gateway.stop_envoy() or was_running
    await gateway.close()
    return was_running


async def _end(pid: int) -> None:
    """Ask a process to end, and wait until it has: it takes its canaries to 0 % first."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, ended.set)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await ended.wait()
        except TimeoutError:  # it hangs; its canaries have lost their lease by now
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            await ended.wait()
        asyncio.get_running_loop().remove_reader(handle)
    finally:
        os.close(handle)
