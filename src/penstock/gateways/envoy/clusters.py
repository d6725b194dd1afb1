"""From a route table to clusters and their endpoints. Pure, but for the path of the system's certificates."""

import ssl
from collections.abc import Set

from penstock.gateways.envoy.names import METADATA, RECORDER, cluster_of
from penstock.gateways.envoy.wire import Resource, typed
from penstock.registry.release import Endpoint, Release
from penstock.routing.table import RouteTable

_ADS: Resource = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "2s"}
#: Limits that no model server reaches; Envoy's default of 3 retries at once failed 3 % of the requests when a canary
#: died. Source: measured, a killed canary under 16 clients.
_NO_LIMIT = 1_000_000
#: 100 times: one healthy pod in a hundred still takes all of its arm's traffic. With Envoy's default of 1.4 times, an arm
#: with 1 of 2 pods down gives 30 % to the other arm. Source: Envoy docs, "Priority levels".
_OVERPROVISIONING = 10_000
#: Shorter than what common servers keep an idle connection for (gunicorn 2 s, uvicorn and Node.js 5 s), so that Envoy
#: closes first and no request meets a connection that is just being closed. Source: their documentation.
_IDLE = "1s"
_FALLBACK_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def releases_of(table: RouteTable) -> dict[str, Release]:
    """Return cluster name -> release, for everything the table keeps reachable."""
    return {cluster_of(r): r for r in (table.stable, table.canary, table.warm) if r is not None}


def rescuer_of(table: RouteTable, release: Release) -> Release | None:
    """Return who stands in when the release has no healthy endpoint: the other arm, while there is one."""
    if table.canary is None:
        return None
    return {cluster_of(table.stable): table.canary, cluster_of(table.canary): table.stable}.get(cluster_of(release))


def host_of(endpoint: Endpoint) -> str:
    """What the endpoint is called in `Host`: without the scheme's own port."""
    usual = endpoint.port == {"http": 80, "https": 443}[endpoint.scheme]
    return endpoint.address.rpartition(":")[0] if usual else endpoint.address


def built_clusters(table: RouteTable, tcp_only: Set[str]) -> dict[str, Resource]:
    """Return the clusters; those of releases in `tcp_only` (cluster names) are checked by connecting alone."""
    return {name: _cluster(table, name, release, tcp_only) for name, release in releases_of(table).items()}


def built_assignments(table: RouteTable) -> dict[str, Resource]:
    """Return the endpoints of every cluster whose endpoints are plain addresses."""
    found = {}
    for name, release in releases_of(table).items():
        rescuer = rescuer_of(table, release)
        if not _needs_names(release, rescuer):
            found[name] = _assignment(name, release, rescuer)
    return found


def recorder_cluster(socket_path: str) -> Resource:
    """Return the static cluster that mirrored requests go to; it may be absent, and nobody checks it."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket_path}}}}
    return {
        "name": RECORDER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": RECORDER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _cluster(table: RouteTable, name: str, release: Release, tcp_only: Set[str]) -> Resource:
    rescuer = rescuer_of(table, release)
    rescuers = rescuer.endpoints if rescuer else ()
    checked = {name} | ({cluster_of(rescuer)} if rescuer else set())
    cluster: Resource = {
        "name": name,
        "connect_timeout": "1s",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _NO_LIMIT,
                    "max_pending_requests": _NO_LIMIT,
                    "max_requests": _NO_LIMIT,
                    "max_retries": _NO_LIMIT,
                }
            ]
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # A removed endpoint goes at once; Envoy would else keep it while it answers health checks.
        "ignore_health_on_host_removal": True,
        "health_checks": [_health_check(table.request_timeout_s, is_http=not checked & tcp_only)],
        "outlier_detection": _outlier_detection(len(release.endpoints), len(rescuers)),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": _IDLE},
                use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}},
            )
        },
    }
    if _needs_names(release, rescuer):
        cluster |= {"type": "STRICT_DNS", "load_assignment": _assignment(name, release, rescuer)}
    else:
        cluster |= {"type": "EDS", "eds_cluster_config": {"eds_config": _ADS}}
    if secure := sorted({e.host for e in (*release.endpoints, *rescuers) if e.scheme == "https"}):
        cluster["transport_socket_matches"] = [*map(_secure_socket, secure), _plain_socket()]
    return cluster


def _health_check(timeout_s: float, *, is_http: bool) -> Resource:
    """Return a check a second. A probe that is answered late is no failure: a busy server answers one at a time."""
    check: Resource = {
        "timeout": f"{timeout_s:.3f}s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "no_traffic_healthy_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        # A server that serves one connection at a time must not be held by ours.
        "reuse_connection": False,
    }
    if not is_http:
        return check | {"tcp_health_check": {}}
    # Whoever answers is alive, also when it knows no /health (404, 405, 501) or wants a password (401).
    alive = [{"start": 200, "end": 500}, {"start": 501, "end": 502}]
    return check | {"http_health_check": {"path": "/health", "expected_statuses": alive}}


def _outlier_detection(n_own: int, n_rescuers: int) -> Resource:
    """Eject what fails five times in a row, but never the arm's last endpoint: at most n_own - 1 of all hosts."""
    enforcing = 100 if n_own > 1 else 0
    return {
        "consecutive_5xx": 5,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 100 * (n_own - 1) // (n_own + n_rescuers),
        "enforcing_consecutive_5xx": enforcing,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_consecutive_local_origin_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_failure_percentage": 0,
    }


def _needs_names(release: Release, rescuer: Release | None) -> bool:
    """Whether host names must be resolved, so that the endpoints cannot be pushed as addresses."""
    return not all(e.is_ip for r in (release, rescuer) if r for e in r.endpoints)


def _assignment(name: str, release: Release, rescuer: Release | None) -> Resource:
    groups = [
        {"priority": priority, "lb_endpoints": [_lb_endpoint(e, r.name) for e in r.endpoints]}
        for priority, r in enumerate((release, rescuer))
        if r is not None
    ]
    return {
        "cluster_name": name,
        "endpoints": groups,
        "policy": {"overprovisioning_factor": _OVERPROVISIONING},
    }


def _lb_endpoint(endpoint: Endpoint, release_name: str) -> Resource:
    address = {"address": endpoint.host, "port_value": endpoint.port}
    metadata: Resource = {METADATA: {"pod": endpoint.address, "release": release_name}}
    if endpoint.scheme == "https":
        metadata["envoy.transport_socket_match"] = {"tls": endpoint.host}
    return {
        "endpoint": {"hostname": host_of(endpoint), "address": {"socket_address": address}},
        "metadata": {"filter_metadata": metadata},
    }


def _secure_socket(host: str) -> Resource:
    is_ip = Endpoint("https", host, 443).is_ip
    wanted = {"san_type": "IP_ADDRESS" if is_ip else "DNS", "matcher": {"exact": host}}
    certificates = ssl.get_default_verify_paths().cafile or _FALLBACK_CERTIFICATES
    validation = {"trusted_ca": {"filename": certificates}, "match_typed_subject_alt_names": [wanted]}
    context: Resource = {"common_tls_context": {"validation_context": validation}}
    if not is_ip:
        context["sni"] = host
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", **context),
    }
    return {"name": host, "match": {"tls": host}, "transport_socket": socket}


def _plain_socket() -> Resource:
    socket = {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": typed("extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
    }
    return {"name": "plain", "match": {}, "transport_socket": socket}
