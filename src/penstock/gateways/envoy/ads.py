"""The aggregated discovery service: one stream per node, over a unix socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from penstock.gateways.envoy.snapshot import (
    CLUSTERS,
    ENDPOINTS,
    KINDS,
    NAMED,
    RUNTIME,
    TYPE_URLS,
    NodeView,
    Snapshot,
)


class AdsServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Serves one snapshot to every node that connects.

    Attributes:
        snapshot: what to serve; change it, then `push` the kinds that changed.
        nodes: id -> view of the nodes that are connected now.
        last: id -> newest view of every node that ever connected.
    """

    def __init__(self, socket_path: Path, *, lease_s: float) -> None:
        self.snapshot = Snapshot()
        self.nodes: dict[str, NodeView] = {}
        self.last: dict[str, NodeView] = {}
        self._socket_path = socket_path
        self._lease_s = lease_s
        self._queues: dict[str, asyncio.Queue[str | None]] = {}
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None
        self._n_sent = 0

    async def start(self) -> None:
        """Listen; a socket that a dead process left behind is replaced."""
        self._socket_path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._socket_path}")
        await self._server.start()
        self._socket_path.chmod(0o600)

    async def close(self) -> None:
        """End every stream. Nodes keep what they have, and their leases run out."""
        for queue in self._queues.values():
            queue.put_nowait(None)
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None
        self._socket_path.unlink(missing_ok=True)

    def push(self, kinds: Iterable[str]) -> None:
        """Send the newest resources of these kinds to every node that subscribed to them.

        A changed cluster waits for its endpoints, also for unchanged ones, so they always follow the clusters. Source:
        Envoy docs, xDS protocol, resource warming; without them each change took 2 s.
        """
        changed = set(kinds)
        if CLUSTERS in changed:
            changed.add(ENDPOINTS)
        for node in self.nodes.values():
            for kind in TYPE_URLS:
                if kind in changed and kind in node.wanted:
                    self._queues[node.id].put_nowait(kind)

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the nodes holds; return whether it did in time."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(holds)
        except TimeoutError:
            return False
        return True

    async def StreamAggregatedResources(  # noqa: N802 - the protocol's own name
        self, requests: AsyncIterator[Any], _: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        """Serve one node until its stream ends; a node without a stream is not live."""
        first = await anext(aiter(requests), None)
        if first is None:
            return
        node = NodeView(first.node.id)
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.nodes[node.id], self._queues[node.id], self.last[node.id] = node, queue, node
        listening = asyncio.create_task(self._listen(node, queue, first, requests))
        try:
            while (kind := await queue.get()) is not None:
                yield self._response(node, kind)
        finally:
            listening.cancel()
            if self.nodes.get(node.id) is node:
                del self.nodes[node.id], self._queues[node.id]
            await self._tell()

    async def _listen(
        self, node: NodeView, queue: asyncio.Queue[str | None], first: Any, requests: AsyncIterator[Any]
    ) -> None:
        await self._hear(node, queue, first)
        try:
            async for request in requests:
                await self._hear(node, queue, request)
        finally:
            queue.put_nowait(None)

    async def _hear(self, node: NodeView, queue: asyncio.Queue[str | None], request: Any) -> None:
        kind = KINDS.get(request.type_url)
        if kind is None:
            return
        names = frozenset(request.resource_names)
        if node.heard(kind, names, request.response_nonce, request.error_detail.message):
            queue.put_nowait(kind)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _response(self, node: NodeView, kind: str) -> Any:
        snapshot = self.snapshot
        messages = snapshot.messages(kind, node.wanted[kind] if kind in NAMED else None)
        self._n_sent += 1
        nonce, version = f"{kind}-{self._n_sent}", snapshot.versions[kind]
        response = discovery_pb2.DiscoveryResponse(type_url=TYPE_URLS[kind], version_info=str(version), nonce=nonce)
        for name, message in messages.items():
            if kind == RUNTIME and len(message.layer):
                response.resources.add().Pack(self._leased(name, message, version))
            else:
                response.resources.add().Pack(message)
        node.sent[kind] = (nonce, version, frozenset(messages))
        return response

    def _leased(self, name: str, message: Any, version: int) -> Any:
        """Wrap a resource so that Envoy drops it by itself unless it is sent again in time."""
        leased = discovery_pb2.Resource(name=name, version=str(version))
        leased.ttl.FromMilliseconds(int(self._lease_s * 1000))
        leased.resource.Pack(message)
        return leased
