"""What every node must have, what it has been sent, and what it has acknowledged. Pure but for the messages' classes."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import json_format

# Messages inside `Any` fields are found by their descriptors, which exist once their modules were imported.
for _module in (
    "filters.http.router.v3.router_pb2",
    "filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "retry.host.previous_hosts.v3.previous_hosts_pb2",
    "retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "transport_sockets.tls.v3.tls_pb2",
    "upstreams.http.v3.http_protocol_options_pb2",
):
    importlib.import_module(f"envoy.extensions.{_module}")
importlib.import_module("xds.type.v3.typed_struct_pb2")

CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, RUNTIME = "clusters", "endpoints", "listeners", "routes", "runtime"
_MESSAGES = {
    CLUSTERS: cluster_pb2.Cluster,
    ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    LISTENERS: listener_pb2.Listener,
    ROUTES: route_pb2.RouteConfiguration,
    RUNTIME: rtds_pb2.Runtime,
}
TYPE_URLS = {kind: f"type.googleapis.com/{message.DESCRIPTOR.full_name}" for kind, message in _MESSAGES.items()}
KINDS = {url: kind for kind, url in TYPE_URLS.items()}
#: Of these a node names the ones it wants; of the others it gets all.
NAMED = frozenset({ENDPOINTS, ROUTES})

Resources = Mapping[str, Any]


class Snapshot:
    """The newest resources of each kind, each kind with a version that grows when one of them changes."""

    def __init__(self) -> None:
        self._written: dict[str, dict[str, Any]] = {kind: {} for kind in TYPE_URLS}
        self._messages: dict[str, dict[str, Any]] = {kind: {} for kind in TYPE_URLS}
        self.versions: dict[str, int] = dict.fromkeys(TYPE_URLS, 0)

    def put(self, kind: str, resources: Resources) -> bool:
        """Replace all resources of a kind (name -> fields); return whether anything changed."""
        if resources == self._written[kind]:
            return False
        old_written, old_messages = self._written[kind], self._messages[kind]
        self._messages[kind] = {
            name: old_messages[name]
            if old_written.get(name) == fields
            else json_format.ParseDict(fields, _MESSAGES[kind]())
            for name, fields in resources.items()
        }
        self._written[kind] = dict(resources)
        self.versions[kind] += 1
        return True

    def written(self, kind: str) -> dict[str, Any]:
        """Return the resources of a kind as they were put."""
        return dict(self._written[kind])

    def messages(self, kind: str, wanted: Iterable[str] | None) -> dict[str, Any]:
        """Return the messages of a kind; of a named kind only those wanted."""
        every = self._messages[kind]
        return every if wanted is None else {name: every[name] for name in wanted if name in every}


@dataclass
class NodeView:
    """What one connected node asked for, was sent and acknowledged.

    Attributes:
        id: the node's name.
        wanted: kind -> names it subscribed to; a kind it never asked for is absent.
        sent: kind -> (nonce, version, names) of the last response.
        acked: kind -> (version, names) of the last one it accepted.
        refused: kind -> why it refused the last one.
        generations: service -> the newest generation that it has acknowledged whole.
    """

    id: str
    wanted: dict[str, frozenset[str]] = field(default_factory=dict)
    sent: dict[str, tuple[str, int, frozenset[str]]] = field(default_factory=dict)
    acked: dict[str, tuple[int, frozenset[str]]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)

    def heard(self, kind: str, names: frozenset[str], nonce: str, error: str) -> bool:
        """Take note of a request; return whether it wants an answer (a new or changed subscription)."""
        changed = self.wanted.get(kind) != names
        self.wanted[kind] = names
        last = self.sent.get(kind)
        if last and nonce == last[0]:
            if error:
                self.refused[kind] = error
            else:
                self.refused.pop(kind, None)
                self.acked[kind] = (last[1], last[2])
        return changed or not nonce

    def has(self, snapshot: Snapshot, kinds: Iterable[str]) -> bool:
        """Whether the node accepted the newest resources of these kinds, all of them."""
        for kind in kinds:
            names = frozenset(snapshot.messages(kind, None))
            version, accepted = self.acked.get(kind, (0, frozenset()))
            if names and (version < snapshot.versions[kind] or not names <= accepted):
                return False
            if not names and kind in self.wanted and kind not in NAMED and version < snapshot.versions[kind]:
                return False
        return True
