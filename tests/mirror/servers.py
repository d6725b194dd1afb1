"""Small raw servers that behave as told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from penstock.registry.release import Endpoint

#: Given the request, head and body, and where to answer.
Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def answers(raw: bytes) -> Behaviour:
    async def behave(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return behave


async def hangs(_request: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def resets(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def serving(behave: Behaviour, seen: list[bytes] | None = None) -> AsyncIterator[Endpoint]:
    """Serve on a free port; whole requests (by content-length) go to `seen`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request = head + await reader.readexactly(_content_length(head))
                if seen is not None:
                    seen.append(request)
                await behave(request, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
