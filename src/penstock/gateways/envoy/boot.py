"""The bootstrap: where the control plane and the admin are, and nothing that could change."""

from pathlib import Path
from typing import Any

from penstock.gateways.envoy.clusters import ADS
from penstock.gateways.envoy.names import LEASE_LAYER

_TYPE = "type.googleapis.com/envoy."


def bootstrap(run_dir: Path, node_id: str) -> dict[str, Any]:
    """Return the bootstrap of a node whose sockets lie in `run_dir`; no port is opened but the listeners'."""
    return {
        "node": {"id": node_id, "cluster": "penstock"},
        "admin": {"address": {"pipe": {"path": str(run_dir / "admin.sock"), "mode": 0o600}}},
        "stats_flush_interval": "0.25s",  # what was counted shows then: as often as it is read
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds", "retry_policy": _BACK_OFF}}],
            },
            "lds_config": ADS,
            "cds_config": ADS,
        },
        "layered_runtime": {
            "layers": [
                {"name": "limits", "static_layer": _LIMITS},
                {"name": LEASE_LAYER, "rtds_layer": {"name": LEASE_LAYER, "rtds_config": ADS}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "static_resources": {"clusters": [_control_plane(run_dir)]},
    }


#: Envoy refuses expressions above 100 instructions; a list of repeatable paths is longer, and RE2 is linear anyway.
_LIMITS = {"re2.max_program_size.error_level": 10_000, "re2.max_program_size.warn_level": 10_000}
#: Reconnect within half a second, whatever happened. Source: measured, ENVOY section 7.
_BACK_OFF = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}}


def _control_plane(run_dir: Path) -> dict[str, Any]:
    address = {"pipe": {"path": str(run_dir / "xds.sock")}}
    alive = {"connection_keepalive": {"interval": "5s", "timeout": "2s"}}
    options = f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": alive},
            }
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
