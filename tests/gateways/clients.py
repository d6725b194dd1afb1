"""Clients that keep their connections, and what they saw."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from penstock.routing.table import RELEASE_HEADER


async def until(holds: Callable[[], Any], patience_s: float = 20.0) -> None:
    """Wait until a condition, plain or awaitable, holds; TimeoutError when it does not."""
    async with asyncio.timeout(patience_s):
        while True:
            held = holds()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)


class Answer:
    """What a client got.

    Attributes:
        status: of the answer.
        headers: lower-case name -> value; the last one of a name.
        body: whole.
    """

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if ": " in line)}
        self.body = body

    @property
    def release(self) -> str:
        return self.headers.get(RELEASE_HEADER, "")


Headers = Mapping[str, str | bytes]


def request(method: str = "GET", path: str = "/", headers: Headers | None = None, body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire; values are sent in UTF-8."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: lab"]
    for name, value in (headers or {}).items():
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
    if body or method == "POST":
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Client:
    """One user on one kept connection; it connects again by itself after the gateway closed it."""

    def __init__(self, listen: str) -> None:
        self._host, _, port = listen.rpartition(":")
        self._port = int(port)
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str = "GET", path: str = "/", headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        return await self.send(request(method, path, headers, body))

    async def send(self, raw: bytes) -> Answer:
        if self._writer is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**24)
        self._writer.write(raw)
        head = await self._reader.readuntil(b"\r\n\r\n")
        answer = Answer(head, b"")
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.body = await self._chunks()
        else:
            answer.body = await self._reader.readexactly(int(answer.headers.get("content-length", 0)))
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


class Load:
    """Users who ask again and again.

    Attributes:
        statuses: how often each status came; 0 is a broken connection.
        releases: how often each release answered.
    """

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.releases: Counter[str] = Counter()

    @property
    def n_failed(self) -> int:
        return self.n - self.statuses[200]

    @property
    def n(self) -> int:
        return self.statuses.total()

    def note(self, answer: Answer | None) -> None:
        self.statuses[answer.status if answer else 0] += 1
        if answer:
            self.releases[answer.release] += 1

    def forget(self) -> None:
        self.statuses.clear()
        self.releases.clear()

    async def more(self, n: int = 50) -> None:
        """Wait for `n` more answers."""
        goal = self.n + n
        await until(lambda: self.n >= goal)


@asynccontextmanager
async def load(
    listen: str, *, n_users: int = 8, method: str = "GET", path: str = "/", pause_s: float = 0.004
) -> AsyncIterator[Load]:
    """Let users send requests on kept connections meanwhile."""
    seen = Load()

    async def use(number: int) -> None:
        client = Client(listen)
        raw = request(method, path, {"x-user-id": f"user-{number}"})
        try:
            while True:
                answer = None
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    answer = await client.send(raw)
                if answer is None:
                    client.close()
                seen.note(answer)
                await asyncio.sleep(pause_s)
        finally:
            client.close()

    users = [asyncio.create_task(use(number)) for number in range(n_users)]
    try:
        yield seen
    finally:
        for user in users:
            user.cancel()
        await asyncio.gather(*users, return_exceptions=True)
