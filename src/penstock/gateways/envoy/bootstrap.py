"""What Envoy reads when it starts: where its control plane listens, and nothing that a release could change. Pure."""

from pathlib import Path

from penstock.gateways.envoy.clusters import recorder_cluster
from penstock.gateways.envoy.names import LEASE
from penstock.gateways.envoy.wire import Resource, typed
from penstock.kernel.errors import StatePathTooLong

#: Bytes of a socket's path, without the final zero. Source: unix(7), `sun_path`.
_PATH_LIMIT = 107
_ADS: Resource = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "2s"}
#: Half a second after a control plane came back its nodes are there again; Envoy's own back-off takes seconds.
#: Source: measured, 0.09-0.15 s after an outage of 2 s.
_BACK_OFF = {"base_interval": "0.1s", "max_interval": "0.5s"}


class RunFolder:
    """The files of one gateway. Raises StatePathTooLong where the sockets' paths would not fit."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.xds_socket = self.path / "xds.sock"
        self.admin_socket = self.path / "admin.sock"
        self.recorder_socket = self.path / "recorder.sock"
        self.bootstrap = self.path / "envoy.json"
        self.pid_file = self.path / "envoy.pid"
        self.log = self.path / "envoy.log"
        length = len(bytes(self.recorder_socket))
        if length > _PATH_LIMIT:
            raise StatePathTooLong(path=self.path, length=length, limit=_PATH_LIMIT)


def built_bootstrap(folder: RunFolder, node_id: str) -> Resource:
    service = {"envoy_grpc": {"cluster_name": "xds", "retry_policy": {"retry_back_off": _BACK_OFF}}}
    return {
        "node": {"id": node_id, "cluster": "penstock"},
        "admin": {"address": {"pipe": {"path": str(folder.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [service],
            },
            "lds_config": _ADS,
            "cds_config": _ADS,
        },
        "layered_runtime": {"layers": [{"name": LEASE, "rtds_layer": {"name": LEASE, "rtds_config": _ADS}}]},
        # Histograms reach readers only when they are flushed.
        "stats_flush_interval": "1s",
        "static_resources": {
            "clusters": [_xds_cluster(str(folder.xds_socket)), recorder_cluster(str(folder.recorder_socket))]
        },
    }


def _xds_cluster(socket_path: str) -> Resource:
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket_path}}}}
    keep_alive = {"connection_keepalive": {"interval": "5s", "timeout": "2s"}}
    options = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": keep_alive},
    )
    return {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
