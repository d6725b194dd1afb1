"""The listener of one service. Pure. It depends on service, address and identity alone: a changed listener loses counters."""

from penstock.gateways.envoy.counting import answer_logs, attempt_logs
from penstock.gateways.envoy.names import CALL_HEADER, MINT_HEADER
from penstock.gateways.envoy.wire import Resource, typed
from penstock.registry.release import Endpoint
from penstock.routing.table import Identity, RouteTable

_ADS: Resource = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "2s"}
#: A stream on which nothing moves for this long is cut; the request's own time-out comes from its route.
_IDLE = "3600s"


def built_listeners(table: RouteTable) -> dict[str, Resource]:
    at = Endpoint.parse(table.listen)
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _manager(table.service, table.identity),
    }
    listener = {
        "name": table.service,
        "address": {"socket_address": {"address": at.host, "port_value": at.port}},
        "filter_chains": [{"filters": [manager]}],
        # With SO_REUSEPORT another program could take a share of the connections unseen.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
    }
    return {table.service: listener}


def _manager(service: str, identity: Identity) -> Resource:
    router = typed(
        "extensions.filters.http.router.v3.Router", upstream_log=attempt_logs(), suppress_envoy_headers=True
    )
    return typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        rds={"route_config_name": service, "config_source": _ADS},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": router}],
        early_header_mutation_extensions=[_early_mutations(identity)],
        access_log=answer_logs(),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        # Clients are strangers: their x-envoy-* headers must not change time-outs or retries.
        use_remote_address=True,
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        http_protocol_options={"accept_http_10": True},
        stream_idle_timeout=_IDLE,
    )


def _early_mutations(identity: Identity) -> Resource:
    """Before routing: who this is if the request does not say, and what it asks, both in headers that routes can match."""
    stranger = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%" if identity.use_address else "%UNIQUE_ID%"
    mutations = [_overwrite(MINT_HEADER, stranger), _overwrite(CALL_HEADER, "%REQ(:METHOD)% %REQ(:PATH)%")]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations
        ),
    }


def _overwrite(key: str, value: str) -> Resource:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
