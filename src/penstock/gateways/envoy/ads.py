"""The aggregated discovery service: one stream a node, each response acknowledged or refused by its nonce.

Source: Envoy docs, "xDS REST and gRPC protocol" (state of the world, ADS).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from penstock.gateways.envoy.names import LEASE
from penstock.gateways.envoy.wire import Kind, Resource, Resources, expiring, packed, response

#: A node that comes back knows what it served before. What takes traffic away goes first, what removes clusters last.
_ORDER = (Kind.RUNTIME, Kind.ROUTES, Kind.ASSIGNMENTS, Kind.CLUSTERS, Kind.LISTENERS)
#: A node that came back may refuse routes whose clusters it has not warmed yet.
_ASK_AGAIN_S = 0.5


class Refused(Exception):
    """A node refused a version: the arguments are its name and its reason."""


@dataclass(slots=True)
class _Contents:
    """The newest version of one kind; versions are 1, 2, 3 ..., 0 before the first."""

    version: int = 0
    plain: Resources = field(default_factory=dict)
    packed: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """One Envoy, as its newest stream shows it.

    Attributes:
        live: whether the stream is open.
        acked: kind -> the newest version it acknowledged on this stream.
        refused: kind -> the newest version it refused, and why.
    """

    id: str
    live: bool = True
    acked: dict[Kind, int] = field(default_factory=dict)
    refused: dict[Kind, tuple[int, str]] = field(default_factory=dict)
    subscribed: dict[Kind, frozenset[str]] = field(default_factory=dict)
    sent: dict[Kind, tuple[str, int]] = field(default_factory=dict)
    due: set[Kind] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def owe(self, kind: Kind) -> None:
        self.due.add(kind)
        self.wake.set()


class Ads(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]  # generated without types
    """Serves the newest contents to every node, and knows who acknowledged what.

    Attributes:
        nodes: name -> node, for every node that ever connected.
    """

    def __init__(self, lease_left_s: Callable[[], float]) -> None:
        """`lease_left_s` says how long what is on the lease may still live, seconds; at 0 or less it is not sent."""
        self.nodes: dict[str, Node] = {}
        self._lease_left_s = lease_left_s
        self._contents = {kind: _Contents() for kind in Kind}
        self._changed = asyncio.Event()
        self._n_sent = 0
        self._server: Any = None

    async def start(self, socket_path: str) -> None:
        self._server = grpc.aio.server()
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{socket_path}")
        await self._server.start()

    async def close(self) -> None:
        """End all streams; nodes keep what they have."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def version(self, kind: Kind) -> int:
        return self._contents[kind].version

    def publish(self, kind: Kind, resources: Resources) -> bool:
        """Make these the contents of a kind and owe them to every node; return whether that changed anything."""
        contents = self._contents[kind]
        if contents.version and contents.plain == resources:
            return False
        self._contents[kind] = _Contents(
            contents.version + 1, resources, {name: packed(kind, r) for name, r in resources.items()}
        )
        self.send(kind)
        return True

    def send(self, kind: Kind) -> None:
        """Owe the contents to every node that asked for them, whether or not it has them."""
        for node in self.nodes.values():
            if node.live and kind in node.subscribed:
                node.owe(kind)

    def has_all(self, node: Node, kind: Kind, version: int) -> bool:
        """Whether the node acknowledged the version or a newer one, and nothing of that kind is on its way to it."""
        names = self._contents[kind].plain.keys()
        if not names and kind.by_name:
            return True
        wants = node.subscribed.get(kind)
        if wants is None or (kind.by_name and not names <= wants):
            return False
        return node.acked.get(kind, 0) >= version and kind not in node.due

    async def settle(self, kind: Kind, timeout_s: float) -> None:
        """Return when every live node has the contents. Raises Refused, or TimeoutError after `timeout_s`."""
        version = self.version(kind)
        async with asyncio.timeout(timeout_s):
            while not self._settled(kind, version):
                self._changed.clear()
                await self._changed.wait()

    async def connected(self, timeout_s: float) -> None:
        """Return when a node is live; TimeoutError after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            while not any(node.live for node in self.nodes.values()):
                self._changed.clear()
                await self._changed.wait()

    def _settled(self, kind: Kind, version: int) -> bool:
        live = [node for node in self.nodes.values() if node.live]
        for node in live:
            refused, why = node.refused.get(kind, (0, ""))
            if refused >= version:
                raise Refused(node.id, why)
        return all(self.has_all(node, kind, version) for node in live)

    async def StreamAggregatedResources(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, N802 - gRPC's signature
        """Answer one node until its stream ends."""
        first = await anext(aiter(requests), None)
        if first is None:
            return
        node = self.nodes[first.node.id] = Node(first.node.id)
        self._hear(node, first)
        listening = asyncio.create_task(self._listen(node, requests))
        try:
            while node.live:
                await node.wake.wait()
                node.wake.clear()
                while node.live and node.due:
                    yield self._next_response(node)
        finally:
            listening.cancel()
            node.live = False
            self._changed.set()

    async def _listen(self, node: Node, requests: AsyncIterator[Any]) -> None:
        with suppress(grpc.aio.AioRpcError):  # a killed Envoy ends its stream like this
            async for request in requests:
                self._hear(node, request)
        node.live = False
        node.wake.set()
        self._changed.set()

    def _hear(self, node: Node, request: Any) -> None:
        kind = Kind(request.type_url)
        self._note_answer(node, kind, request)
        names = frozenset(request.resource_names)
        before = node.subscribed.get(kind)
        node.subscribed[kind] = names
        if (before is None or names - before) and self.version(kind):
            node.owe(kind)
        self._changed.set()

    def _note_answer(self, node: Node, kind: Kind, request: Any) -> None:
        nonce, version = node.sent.get(kind, ("", 0))
        if not request.response_nonce or request.response_nonce != nonce:
            return
        refused, _ = node.refused.get(kind, (0, ""))
        if request.error_detail.message:
            node.refused[kind] = (version, request.error_detail.message)
            asyncio.get_running_loop().call_later(_ASK_AGAIN_S, self._ask_again, node, kind, version)
        elif refused < version:
            node.acked[kind] = version

    def _ask_again(self, node: Node, kind: Kind, version: int) -> None:
        if node.live and self.version(kind) == version and node.refused.get(kind, (0, ""))[0] == version:
            del node.refused[kind]
            node.owe(kind)

    def _next_response(self, node: Node) -> Any:
        kind = next(kind for kind in _ORDER if kind in node.due)
        node.due.discard(kind)
        contents = self._contents[kind]
        self._n_sent += 1
        nonce = f"{self._n_sent}"
        node.sent[kind] = (nonce, contents.version)
        node.acked.pop(kind, None)
        return response(kind, str(contents.version), nonce, self._resources(kind, contents))

    def _resources(self, kind: Kind, contents: _Contents) -> list[Any]:
        if kind is not Kind.RUNTIME:
            return list(contents.packed.values())
        left_s = self._lease_left_s()
        version = str(contents.version)
        if left_s <= 0:
            empty: Resource = {"name": LEASE, "layer": {}}
            return [packed(kind, empty)]
        return [expiring(name, version, resource, left_s) for name, resource in contents.packed.items()]
