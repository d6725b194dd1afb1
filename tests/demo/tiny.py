"""A tiny HTTP server for the load: it answers, resets, fails or marks a fault, by what it is asked to say."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET

_ANSWERS = {
    "well": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-penstock-release: 1.5.0\r\nx-model-version: 1.5.0\r\n\r\nok",
    "error": b"HTTP/1.1 500 No\r\ncontent-length: 2\r\nx-penstock-release: 2.0.1\r\n\r\nno",
    "silence": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-penstock-fault: silence\r\n\r\nok",
    "cut": b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\nx-penstock-release: 2.0.1\r\n\r\nok",
}


class Tiny:
    """Attributes: url; n_connections; users: everyone who asked."""

    def __init__(self) -> None:
        self.url = ""
        self.n_connections = 0
        self.users: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(": ") for line in head.decode().split("\r\n")[1:] if line)
                self.users.add(fields["x-user-id"])
                wanted = json.loads(await reader.readexactly(int(fields["content-length"])))["input"]
                if wanted == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
                    return
                writer.write(_ANSWERS[wanted])
                if wanted == "cut":
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tiny_server() -> AsyncIterator[Tiny]:
    tiny = Tiny()
    server = await asyncio.start_server(tiny.serve, "127.0.0.1", 0)
    async with server:
        tiny.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield tiny
