"""A real gateway with its servers and clients."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.gateways.envoy.driver import EnvoyGateway
from penstock.registry.release import Release
from penstock.routing.repeatable import DEFAULT_REPEATABLE
from penstock.routing.table import RouteTable
from penstock.stores.clock import SystemClock
from tests.gateways.clients import Answer, Client, Headers
from tests.gateways.pods import Pod

SERVICE = "tts"
LEASE_S = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Lab:
    """A state folder, its gateways, and a service of two releases.

    Attributes:
        folder: sockets, pid file and log lie here.
        gateway: the one in use.
        pods: everything that was started, by release number.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pen"))  # short: a socket's path has at most 107 bytes
        self.pods: dict[int, list[Pod]] = {}
        self.listen = f"127.0.0.1:{free_port()}"
        self.gateway: EnvoyGateway
        self._gateways: list[EnvoyGateway] = []
        self._clients: list[Client] = []
        self._generation = 0

    def open_gateway(self, *, lease_s: float = LEASE_S, **options: Any) -> EnvoyGateway:
        self.gateway = EnvoyGateway(self.folder, lease_s=lease_s, clock=SystemClock(), concurrency=2, **options)
        self._gateways.append(self.gateway)
        return self.gateway

    async def start_pods(self, number: int, n: int = 1, name: str | None = None) -> list[Pod]:
        started = [await Pod(name or f"v{number}").start() for _ in range(n)]
        self.pods.setdefault(number, []).extend(started)
        return started

    def release(self, number: int) -> Release:
        endpoints = tuple(pod.endpoint for pod in self.pods[number])
        return Release(SERVICE, number, f"{number}.0.0", {"model": f"{number}.0.0"}, endpoints)

    def table(self, **changes: Any) -> RouteTable:
        """Return a table of the next generation: release 1 alone, unless told otherwise."""
        self._generation += 1
        fields: dict[str, Any] = {"stable": self.release(1), "repeatable": DEFAULT_REPEATABLE, **changes}
        return RouteTable(SERVICE, self._generation, self.listen, **fields)

    def split(self, weight: int, **changes: Any) -> RouteTable:
        """Return a table of the next generation with release 2 as canary."""
        fields = {"canary": self.release(2), "salt": "tts:1:", "overrides": True, **changes}
        return self.table(weight=weight, **fields)

    def next(self, table: RouteTable, **changes: Any) -> RouteTable:
        self._generation += 1
        return replace(table, generation=self._generation, **changes)

    async def apply(self, table: RouteTable) -> RouteTable:
        await self.gateway.apply(table)
        return table

    def client(self, listen: str | None = None) -> Client:
        client = Client(listen or self.listen)
        self._clients.append(client)
        return client

    async def ask(self, path: str = "/", headers: Headers | None = None, method: str = "GET", **more: Any) -> Answer:
        """Send one request on a connection of its own."""
        client = self.client()
        try:
            return await client.ask(method, path, headers, **more)
        finally:
            client.close()

    async def all_healthy(self) -> bool:
        health = await self.gateway.fetch_health()
        return all(health.get(pod.endpoint.address, False) for pods in self.pods.values() for pod in pods)

    async def is_healthy(self, pod: Pod) -> bool:
        return (await self.gateway.fetch_health()).get(pod.endpoint.address, False)

    def kill_envoy(self) -> int:
        pid = self.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    async def close(self) -> None:
        for client in self._clients:
            client.close()
        for gateway in self._gateways:
            await gateway.close()
        for pid in {gateway.pid for gateway in self._gateways if gateway.pid}:
            _kill(pid, self.folder)
        for pods in self.pods.values():
            for pod in pods:
                pod.die()
        await asyncio.sleep(0)
        shutil.rmtree(self.folder)


def _kill(pid: int, folder: Path) -> None:
    """End an Envoy, if the process of this number still is the one of this folder."""
    with contextlib.suppress(OSError):
        if str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@asynccontextmanager
async def opened(*, n_stable: int = 1, n_canary: int = 1, **options: Any) -> AsyncIterator[Lab]:
    """Start the pods of releases 1 and 2, and a gateway without tables."""
    lab = Lab()
    try:
        await lab.start_pods(1, n_stable)
        await lab.start_pods(2, n_canary)
        lab.open_gateway(**options)
        await lab.gateway.start(())
        yield lab
    finally:
        await lab.close()
