"""Real processes with mounted slots."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx2

from penstock.registry.release import Endpoint

_PATIENCE_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Toy:
    """One process of toy.py; ended by its pid when `with` ends. Without a port it takes a free one."""

    def __init__(self, kind: str = "asgi", *, admin_token: str | None = None, port: int = 0) -> None:
        self.endpoint = Endpoint("http", "127.0.0.1", port or free_port())
        environment = {name: value for name, value in os.environ.items() if name != "PENSTOCK_ADMIN_TOKEN"}
        if admin_token:
            environment["PENSTOCK_ADMIN_TOKEN"] = admin_token
        command = [sys.executable, str(Path(__file__).with_name("toy.py")), str(self.endpoint.port), kind]
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.client = httpx2.Client(base_url=self.endpoint.url, timeout=_PATIENCE_S, trust_env=False)

    def __enter__(self) -> Self:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                if self.client.get("/health").status_code == 200:
                    return self
            except httpx2.TransportError:
                pass
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                self.__exit__(None, None, None)
                raise AssertionError("the toy did not start")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()

    def halt(self) -> None:
        """Let it do nothing any more, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        content = {"json": body} if body is not None else {}
        return self.client.post(path, headers={k.replace("_", "-"): v for k, v in headers.items()}, **content)
