"""Users: keep-alive HTTP/1.1 connections from a thread of their own, which write down every request."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_ANSWER_S = 60.0
_RECONNECT_S = 0.02


@dataclass(frozen=True, slots=True)
class Request:
    """What one user saw, at monotonic times.

    Attributes:
        status: 0 for no answer.
        release: who gave it; empty when the gateway did.
        versions: what made it, as the server said in `X-Model-Version`; empty when it said nothing.
        body: what was said.
    """

    user: str
    at_s: float
    done_s: float
    status: int
    release: str
    versions: str = ""
    body: bytes = b""

    @property
    def failed(self) -> bool:
        return not 200 <= self.status < 500


class Client:
    """One connection, opened again when it breaks."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname, parts.port)
        self._head = f"POST {path} HTTP/1.1\r\nhost: tts\r\ncontent-type: application/json\r\n"
        self._head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, user: str, body: bytes) -> Request:
        at_s = time.monotonic()
        said: tuple[int, str, str, bytes] = (0, "", "", b"")
        try:
            async with asyncio.timeout(_ANSWER_S):
                said = await self._exchange(user, body)
        except (OSError, EOFError, ValueError, TimeoutError):
            self.close()
        return Request(user, at_s, time.monotonic(), *said)

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, user: str, body: bytes) -> tuple[int, str, str, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        reader, writer = self._streams
        identity = f"x-user-id: {user}\r\n" if user else ""
        writer.write(f"{self._head}{identity}content-length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        answer = await reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            self.close()
        status = int(lines[0].split(" ")[1])
        return status, fields.get("x-penstock-release", ""), fields.get("x-model-version", ""), answer


class Load:
    """Requests at a steady rate from entering to leaving; each user's come one after the other.

    Attributes:
        requests: all that were answered, or failed, so far.
    """

    def __init__(
        self,
        url: str,
        *,
        rate_hz: float = 60.0,
        users: Sequence[str] | int = 200,
        path: str = "/synthesize",
        bodies: Sequence[bytes] = (b"{}",),
        headers: Mapping[str, str] | None = None,
        n_connections: int = 8,
    ) -> None:
        self.requests: list[Request] = []
        names = everybody(users) if isinstance(users, int) else users
        self._users = [names[i::n_connections] for i in range(n_connections)]
        self._clients = [Client(url, path, headers or {}) for _ in range(n_connections)]
        self._bodies = bodies
        self._interval_s = n_connections / rate_hz
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for what is in flight. May be called again, and before it was started."""
        self._stopping = True
        if self._thread.ident is not None:
            self._thread.join()

    def failures(self, *, since_s: float = 0.0) -> list[Request]:
        return [r for r in list(self.requests) if r.failed and r.at_s >= since_s]

    def releases(self, *, since_s: float = 0.0) -> set[str]:
        """Return who answered requests that started since then."""
        return {r.release for r in list(self.requests) if r.at_s >= since_s and r.release}

    def n_since(self, at_s: float) -> int:
        return sum(r.at_s >= at_s for r in list(self.requests))

    async def _run(self) -> None:
        await asyncio.gather(*(self._work(i) for i in range(len(self._clients))))

    async def _work(self, number: int) -> None:
        client, users = self._clients[number], self._users[number]
        turn, next_s = number, time.monotonic() + self._interval_s * number / len(self._clients)
        while not self._stopping:
            await asyncio.sleep(max(next_s - time.monotonic(), _RECONNECT_S / 10))
            request = await client.ask(users[turn % len(users)], self._bodies[turn % len(self._bodies)])
            self.requests.append(request)
            if request.status == 0:
                await asyncio.sleep(_RECONNECT_S)
            turn += 1
            next_s = max(
                next_s + self._interval_s, time.monotonic() - 1.0
            )  # what is late is made up for, up to a second
        client.close()


def ask_everybody(url: str, users: Iterable[str], headers: Mapping[str, str] | None = None) -> list[Request]:
    """Let every user ask once, over a few connections; return what they saw, in any order."""

    async def work(client: Client, mine: Sequence[str]) -> list[Request]:
        with contextlib.closing(client):
            return [await client.ask(user, b"{}") for user in mine]

    async def run() -> list[Request]:
        names, n = list(users), 8
        groups = await asyncio.gather(*(work(Client(url, "/synthesize", headers or {}), names[i::n]) for i in range(n)))
        return [request for group in groups for request in group]

    return asyncio.run(run())


def everybody(n: int) -> list[str]:
    return [f"user-{i:04d}" for i in range(n)]
