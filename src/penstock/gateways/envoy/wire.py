"""What Envoy is told, and how it looks on the wire. Resources are written as JSON-like dicts everywhere else."""

from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import any_pb2, json_format

#: One resource of the discovery service, as its JSON form.
Resource = dict[str, Any]
Resources = Mapping[str, Resource]

#: Messages that travel inside `Any`; importing the modules makes their names known to the JSON parser.
_EXTENSIONS = (
    "envoy.extensions.access_loggers.filters.cel.v3.cel_pb2",
    "envoy.extensions.access_loggers.stats.v3.stats_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
)


class Kind(Enum):
    """The types of resources; the values are their names on the wire."""

    RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ASSIGNMENTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENERS = "type.googleapis.com/envoy.config.listener.v3.Listener"

    @property
    def by_name(self) -> bool:
        """Whether a node asks for these by name, and only for those it needs; else it takes whatever there is."""
        return self in (Kind.ROUTES, Kind.ASSIGNMENTS)


_MESSAGES = {
    Kind.RUNTIME: rtds_pb2.Runtime,
    Kind.ROUTES: route_pb2.RouteConfiguration,
    Kind.CLUSTERS: cluster_pb2.Cluster,
    Kind.ASSIGNMENTS: endpoint_pb2.ClusterLoadAssignment,
    Kind.LISTENERS: listener_pb2.Listener,
}


def typed(name: str, **fields: Any) -> Resource:
    """Return an extension's configuration: `name` is its message's full name without the leading `envoy.`."""
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def packed(kind: Kind, resource: Resource) -> Any:
    """Return the resource as `Any`; json_format.ParseError where it is not of this kind."""
    _know_extensions()
    wrapped = any_pb2.Any()
    wrapped.Pack(json_format.ParseDict(resource, _MESSAGES[kind]()))
    return wrapped


def expiring(name: str, version: str, resource: Any, ttl_s: float) -> Any:
    """Wrap a packed resource so that the node drops it after `ttl_s` (> 0) unless it is sent again."""
    wrapper = discovery_pb2.Resource(name=name, version=version, resource=resource)
    wrapper.ttl.FromMilliseconds(max(1, round(ttl_s * 1000)))
    wrapped = any_pb2.Any()
    wrapped.Pack(wrapper)
    return wrapped


def response(kind: Kind, version: str, nonce: str, resources: Iterable[Any]) -> Any:
    return discovery_pb2.DiscoveryResponse(version_info=version, type_url=kind.value, nonce=nonce, resources=resources)


@cache
def _know_extensions() -> None:
    for module in _EXTENSIONS:
        import_module(module)
