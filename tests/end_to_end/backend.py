"""A model server that misbehaves on demand: `python backend.py PORT VERSION`.

Says where it answers on stdout. Each line on stdin is a JSON object of `Behaviour`'s fields and replaces what was asked
before; it is answered with `done`. `/health` and `/version` always answer well. With port 0 it takes a free one; with an
empty version, `/version` is unknown.
"""

import asyncio
import json
import struct
import sys
import zlib
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET

_HUNDRED = 100


@dataclass(frozen=True)
class Behaviour:
    """How requests are answered.

    Attributes:
        latency_ms: before every answer.
        error_pct: users who always get 500, percent of all.
        error_text: requests whose body holds it get 500.
        silence: answer 200 with the fault mark.
        reset: reset the connection instead of answering.
        hang: never answer.
    """

    latency_ms: float = 0.0
    error_pct: float = 0.0
    error_text: str = ""
    silence: bool = False
    reset: bool = False
    hang: bool = False


class Backend:
    """Serves one version."""

    def __init__(self, version: str) -> None:
        self.behaviour = Behaviour()
        self._version = version

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                if not await self._answer(head[0].split(" ")[1], fields.get("x-user-id", ""), body, writer):
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # the gateway has left
        finally:
            writer.transport.abort()

    async def _answer(self, path: str, user: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection goes on."""
        if path in ("/health", "/version"):
            return self._introduce(path, writer)
        behaviour = self.behaviour
        if behaviour.hang:
            await asyncio.sleep(3600)
        if behaviour.reset:
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if behaviour.latency_ms:
            await asyncio.sleep(behaviour.latency_ms / 1000)
        unlucky = zlib.crc32(user.encode()) % _HUNDRED < behaviour.error_pct
        if unlucky or (behaviour.error_text and behaviour.error_text.encode() in body):
            return _write(writer, "500 Failed")
        return _write(writer, "200 OK", extra="x-penstock-fault: silence\r\n" if behaviour.silence else "")

    def _introduce(self, path: str, writer: asyncio.StreamWriter) -> bool:
        if path == "/version" and not self._version:
            return _write(writer, "404 Unknown")
        return _write(writer, "200 OK", body=json.dumps({"model": "backend", "version": self._version}))


def _write(writer: asyncio.StreamWriter, status: str, *, extra: str = "", body: str = "{}") -> bool:
    head = f"HTTP/1.1 {status}\r\n{extra}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    return True


async def main(port: int, version: str) -> None:
    backend = Backend(version)
    server = await asyncio.start_server(backend.serve, "127.0.0.1", port)
    say(f"ready on http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        backend.behaviour = Behaviour(**json.loads(line))
        say("done")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
