"""Load from a process of its own: keep-alive HTTP/1.1 connections on a raw protocol, cheap enough for a shared machine."""

import asyncio
import multiprocessing as mp
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Self

import numpy as np
import uvloop


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        n: answers.
        failed: answers that were not 200, and connections that broke, as sentences (at most 20 are kept).
        n_failed: how many there were.
        canary_starts_s: monotonic start of every request that the canary answered.
        latencies_ms: of every answer.
    """

    n: int = 0
    n_failed: int = 0
    failed: list[str] = field(default_factory=list)
    canary_starts_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    latencies_ms: np.ndarray = field(default_factory=lambda: np.zeros(0))


class _Client(asyncio.Protocol):
    """One closed-loop connection: the next request goes out when the answer is in (or when its turn comes)."""

    def __init__(self, book: "_Book", number: int) -> None:
        self.book = book
        self.number = number
        self.turn = 0
        self.buffer = b""
        self.started_s = 0.0
        self.closing = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        if self.closing or self.transport is None:
            return
        self.turn += 1
        user = f"u{self.number}-{self.turn % 997}"
        self.started_s = time.monotonic()
        self.transport.write(f"GET / HTTP/1.1\r\nhost: b\r\nx-user-id: {user}\r\n\r\n".encode())

    def data_received(self, chunk: bytes) -> None:
        self.buffer += chunk
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        at = head.find(b"content-length: ")
        if at < 0 or len(body) < int(head[at + 16 : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None]):
            return
        self.buffer = b""
        self.book.answered(self, head)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closing:
            self.book.broke(self, repr(exc))


class _Book:
    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.seen = Seen()
        self.starts: list[float] = []
        self.latencies: list[float] = []
        self.loop = asyncio.get_running_loop()

    def answered(self, client: _Client, head: bytes) -> None:
        now_s = time.monotonic()
        self.seen.n += 1
        self.latencies.append((now_s - client.started_s) * 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            self._failed(head[:40].decode("latin-1"))
        elif b"x-penstock-release: canary" in head:  # the benchmarks name every canary `canary...`
            self.starts.append(client.started_s)
        if self.interval_s <= 0:
            client.send()
        else:
            self.loop.call_at(max(client.started_s + self.interval_s, now_s), client.send)

    def broke(self, client: _Client, why: str) -> None:
        self._failed(f"connection {client.number} broke: {why}")

    def _failed(self, why: str) -> None:
        self.seen.n_failed += 1
        if len(self.seen.failed) < 20:
            self.seen.failed.append(why)


async def _run(port: int, connections: int, rate_hz: float, stop: Event, out: Connection) -> None:
    loop = asyncio.get_running_loop()
    book = _Book(connections / rate_hz if rate_hz > 0 else 0.0)
    clients = [_Client(book, i) for i in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    out.send("running")
    while not stop.is_set():
        await asyncio.sleep(0.02)
    for client in clients:
        client.closing = True
        if client.transport:
            client.transport.close()
    book.seen.canary_starts_s = np.asarray(book.starts)
    book.seen.latencies_ms = np.asarray(book.latencies)
    out.send(book.seen)


def _main(port: int, connections: int, rate_hz: float, stop: Event, out: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(port, connections, rate_hz, stop, out))


class Traffic:
    """Load on one port, from entering to leaving; `seen` holds what the clients saw afterwards.

    `rate_hz` 0 means a closed loop: each connection asks again as soon as it was answered.
    """

    def __init__(self, port: int, *, connections: int = 32, rate_hz: float = 0.0) -> None:
        context = mp.get_context("spawn")
        self.seen = Seen()
        self._stop = context.Event()
        self._out, child = context.Pipe(duplex=False)
        self._process = context.Process(target=_main, args=(port, connections, rate_hz, self._stop, child))

    def __enter__(self) -> Self:
        self._process.start()
        self._out.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self.seen = self._out.recv()
        self._process.join()
