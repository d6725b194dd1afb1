"""Listeners: one per service, constant for as long as its address is, since a changed one would reset its counters."""

from typing import Any

from penstock.gateways.envoy.clusters import ADS
from penstock.gateways.envoy.counting import answer_loggers, attempt_loggers
from penstock.gateways.envoy.names import MINT_HEADER
from penstock.gateways.envoy.routes import route_name
from penstock.routing.table import RouteTable

_TYPE = "type.googleapis.com/envoy."


def listener(table: RouteTable) -> dict[str, Any]:
    """Return the listener of a service: WebSocket passes, bodies have no limit, answers are counted."""
    host, _, port = table.listen.rpartition(":")
    connection = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": table.service,
        "rds": {"route_config_name": route_name(table.service), "config_source": ADS},
        "http_filters": [_router()],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "use_remote_address": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",  # the route's time-out bounds a request; a quiet WebSocket is no fault
        "early_header_mutation_extensions": [_mint()],
        "access_log": answer_loggers(),
    }
    return {
        "name": table.service,
        "address": {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}},
        "enable_reuse_port": False,  # else another program could silently take a share of our port
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connection}]}],
    }


def _router() -> dict[str, Any]:
    router = f"{_TYPE}extensions.filters.http.router.v3.Router"
    return {"name": "envoy.filters.http.router", "typed_config": {"@type": router, **_ROUTER}}


#: Servers see what the client sent; only failed attempts are logged one by one. Envoy's own statistics per cluster and
#: status would count every answer a second time, at 7 % of what a request costs.
#: Source: measured, instructions per request under callgrind.
_ROUTER: dict[str, Any] = {
    "upstream_log": attempt_loggers(),
    "suppress_envoy_headers": True,
    "dynamic_stats": False,
}


def _mint() -> dict[str, Any]:
    """Give every request an id before it is routed; what the client sent under that name is overwritten."""
    mutation = f"{_TYPE}extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    header = {"header": {"key": MINT_HEADER, "value": "%UNIQUE_ID%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {"@type": mutation, "mutations": [{"append": header}]},
    }
