"""The demo's users: requests at a steady mean rate, sent and timed from outside. Benchmarks and tests use it too.

Open loop: a slow answer does not slow the others down, as users do not wait for each other.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import numpy as np

from penstock.cli.demo.recording import Request, now_s
from penstock.routing.table import FAULT_HEADER, RELEASE_HEADER

_VERSION_HEADER = "x-model-version"
_PATIENCE_S = 30.0
_MAX_IN_FLIGHT = 256


class Load:
    """Synthesis requests from many users with `x-user-id`, over kept-alive connections, in a thread of its own.

    Args:
        gateway_url: `http://HOST:PORT`.
        texts: each request picks one at random.
        rate_hz: mean requests per second, > 0; gaps are exponential.
        n_users: how many different users there are, >= 1.
        seed: the same seed asks the same questions in the same order.
        path: where to; the body is OpenAI's, `{"input": text}`.
    """

    def __init__(
        self,
        gateway_url: str,
        texts: Sequence[str],
        rate_hz: float,
        n_users: int,
        seed: int,
        *,
        path: str = "/v1/audio/speech",
    ) -> None:
        self._url = gateway_url.rstrip("/") + path
        self._texts = texts
        self._rate_hz = rate_hz
        self._n_users = n_users
        self._rng = np.random.default_rng(seed)
        self._requests: list[Request] = []
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def n_answered(self) -> int:
        """How many requests have ended, well or not."""
        return len(self._requests)

    def start(self) -> None:
        """Begin; returns at once."""
        started: Future[None] = Future()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._running = self._thread.submit(lambda: asyncio.run(self._run(started)))
        started.result()

    def stop(self) -> list[Request]:
        """Send no more, wait for what is in flight (up to 30 s), and return every request. May be called again."""
        if self._thread and self._running and self._loop and self._stop:
            if not self._running.done():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._running.result()
            self._thread.shutdown()
            self._thread = None
        return list(self._requests)

    async def _run(self, started: "Future[None]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        limits = httpx2.Limits(max_connections=_MAX_IN_FLIGHT, max_keepalive_connections=_MAX_IN_FLIGHT)
        # No proxy from the environment: the gateway is on this machine.
        async with httpx2.AsyncClient(limits=limits, timeout=_PATIENCE_S, trust_env=False) as client:
            started.set_result(None)
            async with asyncio.TaskGroup() as asking:
                await self._send(client, asking)

    async def _send(self, client: httpx2.AsyncClient, asking: asyncio.TaskGroup) -> None:
        assert self._loop is not None  # noqa: S101 - set by _run, which calls this
        assert self._stop is not None  # noqa: S101 - as above
        slots = asyncio.Semaphore(_MAX_IN_FLIGHT)
        next_s = self._loop.time()
        while not self._stop.is_set():
            next_s += float(self._rng.exponential(1 / self._rate_hz))
            # What could not be sent in time is sent late, not left out: the rate holds on a busy machine too.
            try:
                async with asyncio.timeout_at(next_s):
                    await self._stop.wait()
            except TimeoutError:
                await slots.acquire()
                text = self._texts[int(self._rng.integers(len(self._texts)))]
                user = f"user-{int(self._rng.integers(self._n_users)):04d}"
                task = asking.create_task(self._ask(client, text, user))
                task.add_done_callback(lambda _: slots.release())

    async def _ask(self, client: httpx2.AsyncClient, text: str, user: str) -> None:
        at_s, began_s = now_s(), time.perf_counter()
        status, headers = 0, httpx2.Headers()
        try:
            answer = await client.post(self._url, json={"input": text}, headers={"x-user-id": user})
        except httpx2.TransportError:
            pass  # refused, reset, cut short or too late: recorded as status 0
        else:
            status, headers = answer.status_code, answer.headers
        self._requests.append(
            Request(
                at_s=at_s,
                duration_s=time.perf_counter() - began_s,
                status=status,
                release=headers.get(RELEASE_HEADER, ""),
                version=headers.get(_VERSION_HEADER, ""),
                fault=headers.get(FAULT_HEADER, ""),
                user=user,
            )
        )
