"""The gateway port on Envoy."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from penstock.gateways.envoy.admin import Admin
from penstock.gateways.envoy.ads import AdsServer
from penstock.gateways.envoy.clusters import assignment, cluster, failover, needs_dns, recorder_cluster
from penstock.gateways.envoy.listeners import listener
from penstock.gateways.envoy.names import LEASE_LAYER, RECORDER, cluster_name, mirror_key, override_key, weight_key
from penstock.gateways.envoy.routes import route_name, routes
from penstock.gateways.envoy.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, RUNTIME, TYPE_URLS
from penstock.gateways.envoy.supervisor import Supervisor
from penstock.kernel.errors import (
    GatewayFailed,
    GatewayRefused,
    GatewaySilent,
    PortTaken,
    StatePathTooLong,
    TelemetryUnavailable,
)
from penstock.ports.clock import Clock
from penstock.ports.gateway import NodeStatus
from penstock.registry.release import Endpoint, Release
from penstock.routing.bucket import TOTAL
from penstock.routing.table import RouteTable

#: How long a node may take to acknowledge before it counts as silent, seconds.
_ACK_S = 3.0
_CONNECT_S = 10.0
_HELLO_S = 2.0
#: Longest path of a unix socket. Source: sockaddr_un in unix(7), less the final zero.
_SOCKET_PATH_BYTES = 107
_LONGEST_SOCKET = "recorder.sock"
_MIRROR_SHARES = 10_000


class EnvoyGateway:
    """One supervised Envoy, or any number of them that connect to the same socket.

    Attributes:
        admin_socket: where telemetry reads the counters.
    """

    def __init__(
        self, run_dir: Path, *, lease_s: float, clock: Clock, node_id: str = "envoy-1", concurrency: int | None = None
    ) -> None:
        """Keep sockets, bootstrap and log in `run_dir`. Raises StatePathTooLong."""
        run_dir = run_dir.absolute()
        length = len(os.fsencode(run_dir / _LONGEST_SOCKET))
        if length > _SOCKET_PATH_BYTES:
            raise StatePathTooLong(path=run_dir, length=length, limit=_SOCKET_PATH_BYTES)
        self.admin_socket = run_dir / "admin.sock"
        self._run_dir = run_dir
        self._clock = clock
        self._lease_s = lease_s
        self._tables: dict[str, RouteTable] = {}
        self._shares: dict[str, float] = {}
        self._speaks_http: dict[tuple[str, int], bool] = {}
        self._acknowledged: dict[tuple[str, str], int] = {}
        self._lock = asyncio.Lock()
        self._admin = Admin(self.admin_socket)
        self._ads = AdsServer(run_dir / "xds.sock", lease_s=lease_s)
        workers = concurrency or min(os.cpu_count() or 1, 4)
        self._supervisor = Supervisor(run_dir, node_id, self._admin, concurrency=workers)

    @property
    def pid(self) -> int | None:
        """The supervised Envoy's."""
        return self._supervisor.pid

    @property
    def n_restarts(self) -> int:
        """How often Envoy died and was started again."""
        return self._supervisor.n_restarts

    async def start(self, tables: tuple[RouteTable, ...]) -> None:
        """Take over the Envoy that runs here, or start one, with these tables from its first moment.

        Raises GatewayFailed, PortTaken.
        """
        adopted = await self._supervisor.adopt()
        for table in tables:
            if not adopted:
                _check_free(table.listen)
            await self._learn(table)
            self._tables[table.service] = table
        for kind in TYPE_URLS:
            self._ads.snapshot.put(kind, self._resources(kind))
        await self._ads.start()
        await self._supervisor.start()
        if not await self._ads.wait_until(lambda: bool(self._ads.nodes), _CONNECT_S):
            raise GatewayFailed(why="Envoy did not connect", log=self._run_dir / "envoy.log")

    async def close(self) -> None:
        """Stop programming Envoy; it serves on, and canaries lose their lease."""
        await self._supervisor.release()
        await self._ads.close()
        await self._admin.close()

    async def stop_envoy(self) -> bool:
        """Drain Envoy and end it; return whether one ran."""
        return await self._supervisor.stop()

    async def apply(self, table: RouteTable) -> None:
        """Program every node, in an order in which no request ever meets what is not there yet."""
        async with self._lock:
            before = self._tables.get(table.service)
            if before is None or before.listen != table.listen:
                _check_free(table.listen)
            await self._learn(table)
            self._tables[table.service] = table
            try:
                await self._program(table, before)
            except GatewayRefused:
                self._restore(table.service, before)
                raise
            for node in self._ads.nodes:
                self._acknowledged[node, table.service] = table.generation

    async def renew_lease(self) -> None:
        """Send the whole leased layer again: a heartbeat without its body does not renew. Source: ENVOY section 2."""
        self._ads.push([RUNTIME])

    def nodes(self, service: str) -> tuple[NodeStatus, ...]:
        return tuple(
            NodeStatus(node, self._acknowledged.get((node, service), -1), node in self._ads.nodes)
            for node in sorted(self._ads.known)
        )

    async def fetch_health(self) -> Mapping[str, bool]:
        return await self._admin.fetch_health()

    async def sample(self, service: str, share: float) -> None:
        async with self._lock:
            self._shares[service] = share
            await self._put([RUNTIME], generation=self._generation(service))

    async def _program(self, table: RouteTable, before: RouteTable | None) -> None:
        generation = table.generation
        same_routes = self._resources(ROUTES)[route_name(table.service)] == self._ads.snapshot.written(ROUTES).get(
            route_name(table.service)
        )
        if same_routes:  # only weights or overrides moved: one push, and it comes first
            await self._put([RUNTIME], generation=generation)
        await self._put([CLUSTERS, ENDPOINTS], generation=generation, keep=True)
        if before is None or before.stable != table.stable:
            await self._wait_for_health(table.stable)
        await self._put([LISTENERS, ROUTES], generation=generation)
        await self._put([RUNTIME], generation=generation)
        await self._put([CLUSTERS, ENDPOINTS], generation=generation)
        await self._read_back(generation)

    async def _put(self, kinds: list[str], *, generation: int, keep: bool = False) -> None:
        """Send what changed of these kinds and wait for every live node; with `keep`, nothing is removed yet."""
        snapshot = self._ads.snapshot
        changed = [k for k in kinds if snapshot.put(k, (snapshot.written(k) if keep else {}) | self._resources(k))]
        if not self._ads.nodes:
            raise GatewaySilent(generation=generation, nodes="none is connected")
        self._ads.push(changed)
        await self._ads.wait_until(lambda: self._has_answered(kinds), _ACK_S)
        refusals = [why for node in self._ads.nodes.values() for kind, why in node.refused.items() if kind in kinds]
        if refusals:
            raise GatewayRefused(generation=generation, why=refusals[0])
        if behind := self._behind(kinds):
            raise GatewaySilent(generation=generation, nodes=", ".join(behind))

    def _has_answered(self, kinds: Iterable[str]) -> bool:
        refused = any(kind in node.refused for node in self._ads.nodes.values() for kind in kinds)
        return refused or not self._behind(kinds)

    def _behind(self, kinds: Iterable[str]) -> list[str]:
        live = self._ads.nodes.values()
        return sorted(node.id for node in live if not node.has(self._ads.snapshot, kinds))

    def _restore(self, service: str, before: RouteTable | None) -> None:
        """After a refusal: what nodes still serve is what we want again."""
        if before is None:
            del self._tables[service]
        else:
            self._tables[service] = before
        snapshot = self._ads.snapshot
        changed = [kind for kind in TYPE_URLS if snapshot.put(kind, self._resources(kind))]
        for node in self._ads.nodes.values():
            node.refused.clear()
        self._ads.push(changed)

    async def _read_back(self, generation: int) -> None:
        """Envoy accepts runtime values that it then ignores, so ask which ones are in force."""
        wanted = self._runtime()
        with contextlib.suppress(TelemetryUnavailable):  # a node that just died is found by its stream
            actual = await self._admin.fetch_runtime()
            wrong = [key for key, value in wanted.items() if actual.get(key) != str(value)]
            if wrong:
                raise GatewayRefused(generation=generation, why=f"{wrong[0]} is {actual.get(wrong[0])}")

    async def _wait_for_health(self, release: Release) -> None:
        """Give a release that becomes stable a moment to be found healthy; a dead one is not waited for longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ACK_S):
                while not await self._any_healthy(release):  # noqa: ASYNC110 - another process's state has no event
                    await asyncio.sleep(0.01)

    async def _any_healthy(self, release: Release) -> bool:
        with contextlib.suppress(TelemetryUnavailable):
            health = await self._admin.fetch_health()
            return any(health.get(endpoint.address, False) for endpoint in release.endpoints)
        return False

    async def _learn(self, table: RouteTable) -> None:
        """Find out how each release's health can be asked for; once per release."""
        for release in _releases(table):
            key = (release.service, release.number)
            if key not in self._speaks_http:
                answers = await asyncio.gather(*(_speaks_http(endpoint) for endpoint in release.endpoints))
                self._speaks_http[key] = all(answers)

    def _generation(self, service: str) -> int:
        return self._tables[service].generation if service in self._tables else 0

    def _resources(self, kind: str) -> dict[str, Any]:
        tables = self._tables.values()
        if kind == LISTENERS:
            return {table.service: listener(table) for table in tables}
        if kind == ROUTES:
            return {route_name(table.service): routes(table) for table in tables}
        if kind == RUNTIME:
            return {LEASE_LAYER: {"name": LEASE_LAYER, "layer": self._runtime()}}
        arms = [(table, release) for table in tables for release in _releases(table)]
        if kind == ENDPOINTS:
            return {
                cluster_name(release): assignment(table, release)
                for table, release in arms
                if not needs_dns(release, failover(table, release))
            }
        return {RECORDER: recorder_cluster(self._run_dir)} | {
            cluster_name(release): cluster(
                table, release, speaks_http=self._speaks_http[release.service, release.number]
            )
            for table, release in arms
        }

    def _runtime(self) -> dict[str, int]:
        """Return the leased layer: weights of every canary (they never sum to 0), overrides, sampling."""
        values: dict[str, int] = {}
        for table in self._tables.values():
            if table.canary is not None:
                values[weight_key(table.canary)] = table.weight
                values[weight_key(table.stable)] = TOTAL - table.weight
                values[override_key(table.canary)] = 100 if table.overrides else 0
            if share := self._shares.get(table.service):
                values[mirror_key(table.service)] = max(1, round(share * _MIRROR_SHARES))
        return values


def _releases(table: RouteTable) -> list[Release]:
    return [release for release in (table.stable, table.canary, table.warm) if release is not None]


def _check_free(listen: str) -> None:
    """Raise PortTaken where another program listens: Envoy's own socket option would silently share the port."""
    host, _, port = listen.rpartition(":")
    try:
        socket.create_server((host.strip("[]"), int(port)), family=_family(host)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(address=listen, option="--listen") from None
        raise GatewayFailed(why=f"{listen}: {error.strerror}", log="--listen") from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _speaks_http(endpoint: Endpoint) -> bool:
    """Whether a server answers HTTP/1.1; one that is silent or down is given the benefit of the doubt."""
    if endpoint.scheme == "https":
        return True
    try:
        async with asyncio.timeout(_HELLO_S):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            try:
                writer.write(f"GET /health HTTP/1.1\r\nhost: {endpoint.address}\r\nconnection: close\r\n\r\n".encode())
                return (await reader.read(5)) == b"HTTP/"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return True
