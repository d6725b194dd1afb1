"""A real Envoy with a small configuration of its own, and pods that misbehave on request.

The listener counts with the gateway's own loggers; paths choose arm and route: `/A/ROUTE/MODE` goes to arm `tts/A` by a route
called ROUTE, and the pod answers as MODE says. Routes whose name ends in `-retried` retry, and fail over.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from penstock.gateways.envoy.counting import answer_loggers, attempt_loggers

_TYPE = "type.googleapis.com/envoy."
#: Cluster name -> its own pods, and those it fails over to.
Arms = dict[str, tuple[Sequence["Pod"], Sequence["Pod"]]]
ROUTES = ("header", "minted", "address", "override-canary")
ROUTE_TIMEOUT_S = 1.0


class Pod:
    """One endpoint: answers 200, or what the last part of the path says.

    Attributes:
        broken: answer everything with 503.
        n_attempts: requests that reached it.
        heads: those requests' heads.
        reached: set by the first one.
    """

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.n_attempts = 0
        self.heads: list[str] = []
        self.reached = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def close(self) -> None:
        assert self._server
        self._server.close()

    @property
    def port(self) -> int:
        assert self._server
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.n_attempts += 1
                self.heads.append(head.decode("latin-1"))
                self.reached.set()
                mode = head.split(b" ")[1].decode().rpartition("/")[2]
                if not await self._answer("503" if self.broken else mode, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            writer.transport.abort()

    async def _answer(self, mode: str, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection goes on."""
        match mode:
            case "reset":
                return False
            case "hang":
                await asyncio.sleep(60)
            case "garbage":
                writer.write(b"garbage\r\n\r\n")
                await writer.drain()
                return False
            case "torn":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
                await asyncio.sleep(0.05)
                return False
            case "stuck":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
                await asyncio.sleep(60)
            case "slow":
                await asyncio.sleep(0.12)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            case "fault" | "fault-0.83":
                fault = b"silence" + mode[5:].encode()
                writer.write(b"HTTP/1.1 200 OK\r\nx-penstock-fault: %b\r\ncontent-length: 2\r\n\r\nok" % fault)
            case _:
                status = int(mode) if mode.isdecimal() else 200
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % status)
        return True


class Gateway:
    """An Envoy process; `url` is where users reach it."""

    def __init__(self, folder: Path, arms: Arms, recorder: Path | None) -> None:
        """`arms`: cluster name -> its own pods, and those it fails over to; `recorder`: where to mirror everything."""
        self._folder = folder
        self._arms = arms
        self._recorder = recorder
        self._process: asyncio.subprocess.Process | None = None
        self.admin_socket = folder / "admin.sock"
        self.url = ""

    async def start(self) -> None:
        config = self._folder / "envoy.json"
        config.write_text(json.dumps(_bootstrap(self.admin_socket, self._arms, self._recorder)))
        arguments = ("-c", str(config), "--disable-hot-restart", "--concurrency", "2", "--log-level", "off")
        envoy = Path(sys.executable).with_name("envoy")
        self._process = await asyncio.create_subprocess_exec(str(envoy), *arguments, stderr=asyncio.subprocess.DEVNULL)
        transport = httpx2.AsyncHTTPTransport(uds=str(self.admin_socket), verify=False)
        async with asyncio.timeout(20), httpx2.AsyncClient(transport=transport, trust_env=False) as admin:
            while not self.url:
                await asyncio.sleep(0.02)
                try:
                    listeners = (await admin.get("http://envoy/listeners?format=json")).json()["listener_statuses"]
                except (httpx2.TransportError, KeyError):
                    continue
                port = listeners[0]["local_address"]["socket_address"]["port_value"]
                self.url = f"http://127.0.0.1:{port}"

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self.admin_socket.unlink(missing_ok=True)
        self.url = ""


@asynccontextmanager
async def running(arms: Arms, *, recorder: Path | None = None) -> AsyncIterator[Gateway]:
    """Start the pods and an Envoy in front of them; stop both."""
    pods = {pod for own, others in arms.values() for pod in (*own, *others)}
    folder = Path(tempfile.mkdtemp(prefix="pen"))  # short: a socket's path has at most 107 bytes
    gateway = Gateway(folder, arms, recorder)
    try:
        for pod in pods:
            await pod.start()
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()
        for pod in pods:
            pod.close()
        shutil.rmtree(folder)


def _bootstrap(admin_socket: Path, arms: Arms, recorder: Path | None) -> dict[str, Any]:
    routes = [route for arm in arms for name in ROUTES for route in _routes(arm, name)]
    clusters = [_cluster(name, *pods) for name, pods in arms.items()]
    if recorder:
        clusters.append(_recorder_cluster(recorder))
        for route in routes:
            route["route"]["request_mirror_policies"] = [_mirror(route["route"]["cluster"])]
    manager = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "access_log": answer_loggers(),
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.filters.http.router.v3.Router",
                    "upstream_log": attempt_loggers(),
                },
            }
        ],
    }
    listener = {
        "name": "users",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "stats_flush_interval": "0.25s",
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "static_resources": {
            "clusters": clusters,
            "listeners": [listener],
        },
    }


def _routes(arm: str, name: str) -> list[dict[str, Any]]:
    prefix = f"/{arm.rpartition('/')[2]}/{name}"
    action = {"cluster": arm, "timeout": f"{ROUTE_TIMEOUT_S}s"}
    return [
        {"name": name, "match": {"prefix": f"{prefix}-retried/"}, "route": {**action, "retry_policy": _RETRIES}},
        {"name": name, "match": {"prefix": f"{prefix}/"}, "route": action},
    ]


def _cluster(name: str, own: Sequence[Pod], others: Sequence[Pod]) -> dict[str, Any]:
    tiers = [{"priority": i, "lb_endpoints": [_endpoint(pod) for pod in pods]} for i, pods in enumerate((own, others))]
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), 100_000)
    return {
        "name": name,
        "connect_timeout": "1s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": tiers},
        "circuit_breakers": {"thresholds": [limits]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _recorder_cluster(socket: Path) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    load = {"cluster_name": "recorder", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "recorder", "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}


def _mirror(arm: str) -> dict[str, Any]:
    named = {"key": "x-penstock-service", "value": arm.rpartition("/")[0]}
    mutation = {"append": {"header": named, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    return {"cluster": "recorder", "request_headers_mutations": [mutation]}


def _endpoint(pod: Pod) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": pod.port}}
    return {"endpoint": {"address": address, "hostname": pod.address}}


_RETRIES = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,reset,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 3,
    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
    "host_selection_retry_max_attempts": "3",
    "retry_host_predicate": [
        {
            "name": "previous_hosts",
            "typed_config": {"@type": f"{_TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "retry_priority": {
        "name": "previous_priorities",
        "typed_config": {
            "@type": f"{_TYPE}extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    },
}
