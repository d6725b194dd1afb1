"""Raw servers of HTTP/1.1 that behave as told."""

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.registry.release import Endpoint


class Pod:
    """One server of raw HTTP/1.1. A path `/MODE/...` asks for a behaviour of its own; `mode` is for all other paths.

    Modes: a status, `hang`, `reset`, `echo` (the body back), `stream` (chunks as `feed` says), `websocket`.

    Attributes:
        name: what it answers.
        mode: what it does with requests.
        health: what it does with `/health`; `once`: 200 the first time, and then `hang`.
        idle_s: closes connections that are silent for so long; None keeps them.
        heads: of every request but those for `/health`.
        n_health: how often it was asked for its health.
        feed: chunks of a streamed answer; None ends it.
    """

    def __init__(self, name: str = "ok") -> None:
        self.name = name
        self.mode = "200"
        self.health = "200"
        self.idle_s: float | None = None
        self.heads: list[bytes] = []
        self.n_health = 0
        self.feed: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("http", "127.0.0.1", self.port)

    @property
    def n_attempts(self) -> int:
        return len(self.heads)

    async def start(self, **options: Any) -> "Pod":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self), "127.0.0.1", self.port, backlog=512, **options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def die(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.abort()


class _Link(asyncio.Protocol):
    """One connection to a pod."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._buffer = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()
        self._raw: Callable[[bytes], None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._pod._links.add(self)
        self._rest()

    def connection_lost(self, error: Exception | None) -> None:
        self._pod._links.discard(self)
        for task in self._tasks:
            task.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, received: bytes) -> None:
        if self._raw is not None:
            self._raw(received)
            return
        self._buffer += received
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[: end + 4])
            body = self._body(head, end + 4)
            if body is None:
                return
            self._rest()
            self._serve(head, body)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._pod.idle_s is not None:
            self._idle = asyncio.get_running_loop().call_later(self._pod.idle_s, self._transport.close)

    def _body(self, head: bytes, start: int) -> bytes | None:
        if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
            end = self._buffer.find(b"0\r\n\r\n", start)
            if end < 0:
                return None
            body = bytes(self._buffer[start:end])
            del self._buffer[: end + 5]
            return body
        length = _length(head)
        if len(self._buffer) < start + length:
            return None
        body = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return body

    def _serve(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path == "/health":
            self._pod.n_health += 1
            once = "200" if self._pod.n_health == 1 else "hang"
            self._answer(once if self._pod.health == "once" else self._pod.health, body)
            return
        self._pod.heads.append(head)
        wanted = path.split("/")[1]
        self._answer(wanted if wanted in _MODES or wanted.isdecimal() else self._pod.mode, body)

    def _answer(self, mode: str, body: bytes) -> None:
        if mode == "hang":
            return
        if mode == "reset":
            self.abort()
        elif mode == "websocket":
            self._transport.write(b"HTTP/1.1 101 OK\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            self._raw = self._transport.write
        elif mode == "stream":
            task = asyncio.create_task(self._stream())
            self._tasks.add(task)
        else:
            text = body if mode == "echo" else self._pod.name.encode()
            status = int(mode) if mode.isdecimal() else 200
            self._transport.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text))

    async def _stream(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (chunk := await self._pod.feed.get()) is not None:
            self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self._transport.write(b"0\r\n\r\n")


_MODES = {"hang", "reset", "echo", "stream", "websocket"}


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    return int(lowered[at + 17 : lowered.index(b"\r\n", at + 2)]) if at >= 0 else 0
