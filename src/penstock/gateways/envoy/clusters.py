"""Clusters and their endpoints: one cluster per release, with the other arm's pods as failover."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstock.gateways.envoy.names import METADATA, RECORDER, RECORDER_SOCKET, cluster_name
from penstock.registry.release import Endpoint, Release
from penstock.routing.table import RouteTable

_TYPE = "type.googleapis.com/envoy."
ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "2s"}
#: What https servers' certificates are checked against. Source: Debian's package ca-certificates.
SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")
#: High enough never to be the reason for a 503. The default of 3 retries failed 925 of 36,195 requests.
#: Source: measured, ENVOY section 6.
_NO_BREAKER = 1_000_000
#: One healthy pod of up to 1,000 is enough for a whole priority; Envoy's default of 140 would spill a third of the traffic
#: to the other arm when half of the pods are down. Far from where 32 bits times the number of pods would overflow.
#: Source: Envoy docs, ClusterLoadAssignment.Policy.overprovisioning_factor.
_NO_SPILL_PCT = 100_000
#: Below what servers keep an idle connection open for (uvicorn 5 s, gunicorn 2 s): who closes first is never the server.
#: It bounds a connection's age, since Envoy's `idle_timeout` would also end health checks that take longer.
_CONNECTION_AGE = "1.5s"
#: A probe that hangs says nothing: the server may be busy with requests. A server that is gone is found by its connection.
_PROBE_PATIENCE = "86400s"
#: Finds a machine that vanished within 11 s; a busy server's kernel answers for it.
_KEEP_ALIVE = {"keepalive_probes": 3, "keepalive_time": 5, "keepalive_interval": 2}


def cluster(table: RouteTable, release: Release, *, speaks_http: bool, trusted_ca: Path) -> dict[str, Any]:
    """Return the cluster of one release. A server that does not answer `/health` is checked by connecting to it.

    It depends on the release alone wherever it can: a changed cluster forgets the health of its endpoints, and until a
    busy server has answered again, the other arm would stand in for it.
    """
    other = table.stand_in(release)
    fields: dict[str, Any] = {
        "name": cluster_name(release),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # Else Envoy goes on sending to endpoints that it was told to forget, for as long as they are healthy.
        "ignore_health_on_host_removal": True,
        "upstream_connection_options": {"tcp_keepalive": _KEEP_ALIVE},
        # No merge window: Envoy else holds a second change of health back for up to a second, and answers 503 although a
        # server is back. Source: Envoy docs, `update_merge_window`; measured, tests/end_to_end/test_failures.py.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [_breaker("DEFAULT"), _breaker("HIGH")]},
        "health_checks": [_health_check(speaks_http=speaks_http)],
        "outlier_detection": _outlier_detection(len(release.endpoints)),
        "typed_extension_protocol_options": {_OPTIONS: _PROTOCOL},
    }
    secure = {e.host: e for e in _all_endpoints(release, other) if e.scheme == "https"}
    if secure:
        fields["transport_socket_matches"] = [_tls(secure[host], trusted_ca) for host in sorted(secure)]
    if needs_dns(release, other):
        by_name = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
        fields |= {**by_name, "load_assignment": assignment(table, release)}
    else:
        fields |= {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    return fields


def needs_dns(release: Release, other: Release | None) -> bool:
    """Whether Envoy must look names up itself (it goes on doing so without us)."""
    return not all(endpoint.is_ip for endpoint in _all_endpoints(release, other))


def assignment(table: RouteTable, release: Release) -> dict[str, Any]:
    """Return the endpoints: the release's own at priority 0, those that stand in for them at priority 1."""
    other = table.stand_in(release)
    groups = [_group(release, 0)] + ([_group(other, 1)] if other else [])
    return {
        "cluster_name": cluster_name(release),
        "endpoints": groups,
        "policy": {"overprovisioning_factor": _NO_SPILL_PCT},
    }


def recorder_cluster(run_dir: Path) -> dict[str, Any]:
    """Return the cluster that mirrored requests go to; nobody waits for it."""
    address = {"pipe": {"path": str(run_dir / RECORDER_SOCKET)}}
    return {
        "name": RECORDER,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "typed_extension_protocol_options": {_OPTIONS: {**_explicit("http_protocol_options")}},
        "load_assignment": {
            "cluster_name": RECORDER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _group(release: Release, priority: int) -> dict[str, Any]:
    return {"priority": priority, "lb_endpoints": [_endpoint(release, e) for e in release.endpoints]}


def _endpoint(release: Release, endpoint: Endpoint) -> dict[str, Any]:
    metadata: dict[str, Any] = {METADATA: {"pod": endpoint.address, "release": release.name}}
    if endpoint.scheme == "https":
        metadata["envoy.transport_socket_match"] = {"host": endpoint.host}
    socket = {"address": endpoint.host, "port_value": endpoint.port}
    # The host name is what /clusters calls the endpoint, what health checks ask for, and the Host of an https server.
    named = {"hostname": endpoint.address, "health_check_config": {"hostname": endpoint.address}}
    return {
        "endpoint": {"address": {"socket_address": socket}, **named},
        "metadata": {"filter_metadata": metadata},
    }


def _all_endpoints(release: Release, other: Release | None) -> Iterable[Endpoint]:
    return (*release.endpoints, *(other.endpoints if other else ()))


def _breaker(priority: str) -> dict[str, Any]:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"priority": priority, **dict.fromkeys(limits, _NO_BREAKER)}


def _health_check(*, speaks_http: bool) -> dict[str, Any]:
    """Probe every second: a busy server answers late, which is no fault; a dead one refuses at once.

    Whatever is not a server error counts as alive, a 404 from a server without `/health` too. Envoy's interval without
    traffic defaults to a minute, which would hide a dead canary from its first users.
    """
    common = {
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "reuse_connection": False,  # a server with room for one connection must keep it for its users
    }
    if not speaks_http:
        return {**common, "timeout": "2s", "tcp_health_check": {}}
    alive = [{"start": 200, "end": 500}, {"start": 501, "end": 502}]
    return {**common, "timeout": _PROBE_PATIENCE, "http_health_check": {"path": "/health", "expected_statuses": alive}}


def _outlier_detection(n_own: int) -> dict[str, Any]:
    """Eject a pod that cannot be reached or answers 502..504, one at a time and never an arm's last one.

    One at a time is what 0 % with `always_eject_one_host` means; a share would count the failover's pods too. More dead
    pods are found by their health checks. 500s are the version's own affair: they are for the judge, and ejecting their
    pod would hide them.
    """
    enforcing = 0 if n_own == 1 else 100
    return {
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 0,
        "always_eject_one_host": True,
        "split_external_local_origin_errors": True,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": enforcing,
        "consecutive_local_origin_failure": 5,
        "enforcing_consecutive_local_origin_failure": enforcing,
    }


def _tls(endpoint: Endpoint, trusted_ca: Path) -> dict[str, Any]:
    """Return how to speak TLS to a host: its certificate must be its own."""
    host = endpoint.host
    kind = "IP_ADDRESS" if endpoint.is_ip else "DNS"
    context = {
        "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "validation_context": {
                "trusted_ca": {"filename": str(trusted_ca)},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
            }
        },
    }
    if not endpoint.is_ip:  # an address is no server name. Source: RFC 6066, section 3
        context["sni"] = host
    return {
        "name": host,
        "match": {"host": host},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    }


def _explicit(protocol: str) -> dict[str, Any]:
    return {"@type": _OPTIONS_TYPE, "explicit_http_config": {protocol: {}}}


_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_OPTIONS_TYPE = f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions"
#: HTTP/1.1 stays HTTP/1.1, HTTP/2 and gRPC stay HTTP/2.
_PROTOCOL: dict[str, Any] = {
    "@type": _OPTIONS_TYPE,
    "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
    "common_http_protocol_options": {"max_connection_duration": _CONNECTION_AGE},
}
