"""Where the gateway sends copies of users' requests: a small server on a unix socket that answers 204 to everything."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.mirror.shelf import BODY_LIMIT_BYTES, Shelf

#: The gateway says here whose request it mirrors.
SERVICE_HEADER = "x-penstock-service"

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class Recorder:
    """Puts mirrored requests on a shelf. Runs in the caller's event loop, without signal handlers or logs."""

    def __init__(self, socket_path: Path, shelf: Shelf) -> None:
        self._socket_path = socket_path
        self._shelf = shelf
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; a socket that a dead process left behind is replaced. OSError when that is not possible."""
        listener = _listen(self._socket_path)
        config = uvicorn.Config(
            self,
            http=_Protocol,
            log_config=None,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="recorder")

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        self._server = self._serving = None
        self._socket_path.unlink(missing_ok=True)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one request (ASGI)."""
        body = await _body(receive)
        if body is not None:
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
            service = next((value for name, value in headers if name == SERVICE_HEADER), "")
            self._shelf.put(service, scope["method"], _target(scope), headers, body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


class _Protocol(HttpToolsProtocol):
    """uvicorn's access log is one for the whole process; what users sent must never reach it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to whoever owns the process."""
        yield


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


async def _body(receive: _Receive) -> bytes | None:
    """Read to the end; None for a body that is too large or whose sender has left."""
    chunks: list[bytes] = []
    n_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        n_bytes += len(message["body"])
        if n_bytes <= BODY_LIMIT_BYTES:
            chunks.append(message["body"])
        more = message["more_body"]
    return b"".join(chunks) if n_bytes <= BODY_LIMIT_BYTES else None


def _target(scope: _Message) -> str:
    """Return path and query, byte for byte as they came; the replayer encodes them back."""
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    return target.decode("utf-8", "surrogateescape")
