"""The gateway port on Envoy."""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from penstock.gateways.envoy.admin import Admin
from penstock.gateways.envoy.ads import AdsServer
from penstock.gateways.envoy.clusters import SYSTEM_CAS, assignment, cluster, needs_dns, recorder_cluster
from penstock.gateways.envoy.listeners import listener
from penstock.gateways.envoy.looking import answers_health, check_free, until_free
from penstock.gateways.envoy.names import LEASE_LAYER, RECORDER, cluster_name, mirror_key, override_key, weight_key
from penstock.gateways.envoy.routes import route_name, routes
from penstock.gateways.envoy.snapshot import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, RUNTIME, TYPE_URLS
from penstock.gateways.envoy.supervisor import Supervisor
from penstock.kernel.errors import (
    GatewayFailed,
    GatewayRefused,
    GatewaySilent,
    StatePathTooLong,
    TelemetryUnavailable,
)
from penstock.ports.clock import Clock
from penstock.ports.gateway import NodeStatus
from penstock.registry.release import Release
from penstock.routing.bucket import TOTAL
from penstock.routing.table import RouteTable

#: How long a node may take to acknowledge before it counts as silent, seconds.
_ACK_S = 3.0
_CONNECT_S = 10.0
#: Longest path of a unix socket. Source: sockaddr_un in unix(7), less the final zero.
_SOCKET_PATH_BYTES = 107
_LONGEST_SOCKET = "recorder.sock"
_MIRROR_SHARES = 10_000
#: Envoy's reasons may quote a whole configuration.
_WHY_CHARACTERS = 300


class EnvoyGateway:
    """One supervised Envoy, or any number of them that connect to the same socket.

    Attributes:
        admin_socket: where telemetry reads the counters.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        lease_s: float,
        clock: Clock,
        node_id: str = "envoy-1",
        concurrency: int | None = None,
        trusted_ca: Path = SYSTEM_CAS,
    ) -> None:
        """Keep sockets, bootstrap and log in `run_dir`; trust https servers that `trusted_ca` (PEM) vouches for.

        Raises StatePathTooLong.
        """
        run_dir = run_dir.absolute()
        length = len(os.fsencode(run_dir / _LONGEST_SOCKET))
        if length > _SOCKET_PATH_BYTES:
            raise StatePathTooLong(path=run_dir, length=length, limit=_SOCKET_PATH_BYTES)
        self.admin_socket = run_dir / "admin.sock"
        self._run_dir = run_dir
        self._clock = clock
        self._lease_s = lease_s
        self._trusted_ca = trusted_ca
        self._tables: dict[str, RouteTable] = {}
        self._shares: dict[str, float] = {}
        self._speaks_http: dict[tuple[str, int], bool] = {}
        self._in_force: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._admin = Admin(self.admin_socket)
        self._ads = AdsServer(run_dir / "xds.sock", lease_s=lease_s)
        workers = concurrency or min(os.cpu_count() or 1, 4)
        self._supervisor = Supervisor(
            run_dir, node_id, self._admin, concurrency=workers, before_restart=self._learn_again
        )

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
            if not adopted:  # a service keeps the address that its clients know; only one that runs can be moved
                check_free(
                    table.listen, f"stop that program and start again: clients of {table.service} use this address"
                )
            await self._learn(table)
            self._tables[table.service] = table
            self._in_force[table.service] = table.generation
        self._put_all()
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
                check_free(table.listen)
            await self._learn(table)
            self._tables[table.service] = table
            try:
                await self._program(table, before)
            except GatewayRefused:
                await self._restore(table, before)
                raise
            except GatewaySilent:
                self._put_all()  # who connects, or speaks again, finds everything
                raise
            self._in_force[table.service] = table.generation
            self._note_generations()

    async def renew_lease(self) -> None:
        """Send the whole leased layer again: a heartbeat without its body does not renew. Source: ENVOY section 2."""
        self._ads.push([RUNTIME])

    def nodes(self, service: str) -> tuple[NodeStatus, ...]:
        self._note_generations()
        return tuple(
            NodeStatus(id_, node.generations.get(service, -1), id_ in self._ads.nodes)
            for id_, node in sorted(self._ads.last.items())
        )

    async def fetch_health(self) -> Mapping[str, bool]:
        return await self._admin.fetch_health()

    async def sample(self, service: str, share: float) -> None:
        async with self._lock:
            self._shares[service] = share
            await self._put([RUNTIME], generation=self._generation(service))

    def _note_generations(self) -> None:
        """Credit nodes with what they have: one that started anew has nothing until it acknowledged everything."""
        for node in self._ads.nodes.values():
            if node.has(self._ads.snapshot, TYPE_URLS):
                node.generations.update(self._in_force)

    async def _program(self, table: RouteTable, before: RouteTable | None) -> None:
        generation = table.generation
        same_routes = self._resources(ROUTES)[route_name(table.service)] == self._ads.snapshot.written(ROUTES).get(
            route_name(table.service)
        )
        if same_routes:  # only weights or overrides moved: one push, and it comes first
            await self._put([RUNTIME], generation=generation)
        await self._put_clusters(table)
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
            raise GatewayRefused(generation=generation, why=shorten(refusals[0], _WHY_CHARACTERS))
        if behind := self._behind(kinds):
            raise GatewaySilent(generation=generation, nodes=", ".join(behind))

    def _has_answered(self, kinds: Iterable[str]) -> bool:
        refused = any(kind in node.refused for node in self._ads.nodes.values() for kind in kinds)
        return refused or not self._behind(kinds)

    def _behind(self, kinds: Iterable[str]) -> list[str]:
        live = self._ads.nodes.values()
        return sorted(node.id for node in live if not node.has(self._ads.snapshot, kinds))

    async def _restore(self, refused: RouteTable, before: RouteTable | None) -> None:
        """After a refusal: what nodes still serve is what we want again, and a new listener's port is free again."""
        if before is None:
            del self._tables[refused.service]
        else:
            self._tables[refused.service] = before
        for node in self._ads.nodes.values():
            node.refused.clear()
        self._put_all()
        if before is None or before.listen != refused.listen:
            await self._ads.wait_until(lambda: not self._behind(TYPE_URLS), _ACK_S)
            await until_free(refused.listen, _ACK_S)

    def _put_all(self) -> None:
        """Send whatever changed, in no order, and wait for nobody."""
        self._ads.push([kind for kind in TYPE_URLS if self._ads.snapshot.put(kind, self._resources(kind))])

    async def _read_back(self, generation: int) -> None:
        """Envoy accepts runtime values that it then ignores, so ask which ones are in force."""
        wanted = self._runtime()
        with contextlib.suppress(TelemetryUnavailable):  # a node that just died is found by its stream
            actual = await self._admin.fetch_runtime()
            plain = {key: str(value) for key, value in wanted.items() if isinstance(value, int)}
            wrong = [key for key, value in plain.items() if actual.get(key) != value]
            if wrong:
                raise GatewayRefused(generation=generation, why=f"{wrong[0]} is {actual.get(wrong[0])}")

    async def _put_clusters(self, table: RouteTable) -> None:
        """Send clusters; Envoy acknowledges them when each endpoint was checked once.

        A server that answered `/health` a moment ago and no longer does is checked by connecting to it instead.
        """
        try:
            await self._put([CLUSTERS, ENDPOINTS], generation=table.generation, keep=True)
        except GatewaySilent:
            if not (unchecked := await self._unchecked(table)):
                raise
            self._speaks_http.update({(release.service, release.number): False for release in unchecked})
            await self._put([CLUSTERS, ENDPOINTS], generation=table.generation, keep=True)

    async def _unchecked(self, table: RouteTable) -> list[Release]:
        with contextlib.suppress(TelemetryUnavailable):  # a node that just died is found by its stream
            active = await self._admin.fetch_active()
            return [release for release in _releases(table) if cluster_name(release) not in active]
        return []

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
        """Find out how each release's health can be asked for; once per release, since it may take a moment."""
        for release in _releases(table):
            key = (release.service, release.number)
            if key not in self._speaks_http:
                asking = (answers_health(endpoint, self._trusted_ca) for endpoint in release.endpoints)
                self._speaks_http[key] = all(await asyncio.gather(*asking))

    async def _learn_again(self) -> None:
        """Before Envoy starts again: it opens no port before it has checked every endpoint once."""
        async with self._lock:
            self._speaks_http.clear()
            await asyncio.gather(*(self._learn(table) for table in self._tables.values()))
            written = self._ads.snapshot.written(CLUSTERS)
            self._ads.snapshot.put(CLUSTERS, written | self._resources(CLUSTERS))

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
                if not needs_dns(release, table.stand_in(release))
            }
        return {RECORDER: recorder_cluster(self._run_dir)} | {
            cluster_name(release): cluster(
                table,
                release,
                speaks_http=self._speaks_http[release.service, release.number],
                trusted_ca=self._trusted_ca,
            )
            for table, release in arms
        }

    def _runtime(self) -> dict[str, Any]:
        """Return the leased layer: weights of every canary (they never sum to 0), overrides, sampling."""
        values: dict[str, Any] = {}
        for table in self._tables.values():
            if table.canary is not None:
                values[weight_key(table.canary, table.canary)] = table.weight
                values[weight_key(table.canary, table.stable)] = TOTAL - table.weight
                values[override_key(table.canary)] = 100 if table.overrides else 0
            if share := self._shares.get(table.service):
                # A bare number would mean percent, whatever the route's own denominator says.
                numerator = max(1, round(share * _MIRROR_SHARES))
                values[mirror_key(table.service)] = {"numerator": numerator, "denominator": "TEN_THOUSAND"}
        return values


def _releases(table: RouteTable) -> list[Release]:
    return [release for release in (table.stable, table.canary, table.warm) if release is not None]
