"""A control plane on fakes behind a real HTTP server, in a thread of its own; its world's time runs fast."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvicorn

from penstock.api.app import create_app
from penstock.judge.counts import PodCounts
from tests.control.conftest import CANARY, World, answer

_T = TypeVar("_T")

#: World seconds for every tick; a tick takes about 10 ms of ours.
_TICK_S = 0.25

Traffic = Callable[[dict[str, Any]], tuple[PodCounts, ...]]


def healthy(status: dict[str, Any]) -> tuple[PodCounts, ...]:
    """Both arms answer well."""
    canary = (answer(10, release=status["canary"]["number"], pod=CANARY),) if status["weight_pct"] else ()
    return (answer(10), *canary)


def failing(status: dict[str, Any]) -> tuple[PodCounts, ...]:
    """The canary answers 500 only."""
    number = status["canary"]["number"] if status["canary"] else 0
    canary = (answer(5, release=number, pod=CANARY, errors=5),) if status["weight_pct"] else ()
    return (answer(10), *canary)


def quiet(_: dict[str, Any]) -> tuple[PodCounts, ...]:
    """Nobody comes."""
    return ()


class Served:
    """A world that can be reached at `url`, and stopped and started again at the same address.

    Attributes:
        world: change what it does through `call`, or by plain assignment where nothing awaits.
        traffic: what users do in every tick.
    """

    def __init__(self, traffic: Traffic = healthy) -> None:
        self.world = World()
        self.traffic = traffic
        self._crashed = False
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self, *, adopt: bool = True) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready, adopt=adopt)))
        self._thread.start()
        assert ready.wait(30)

    def stop(self) -> None:
        assert self._thread
        if self._loop and self._stop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def crash(self) -> None:
        """End as kill -9 would: connections are cut, nothing is held or written."""
        self._crashed = True
        self.stop()
        self._crashed = False

    def restart(self) -> None:
        """Start again as after a crash: a fresh control plane on the same journal and gateways."""
        self.world.begin()
        self.start(adopt=False)

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine where the world lives."""
        assert self._loop
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _serve(self, ready: threading.Event, *, adopt: bool) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self.world.start()
        if adopt:
            await self.world.adopt()
        app = create_app(self.world.plane, stopped=self.world.loop.stopped)
        bound = socket.create_server(("127.0.0.1", self._port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        ticking = asyncio.create_task(self._tick())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        ready.set()
        await self._stop.wait()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        if not self._crashed:
            await self.world.loop.stop()
        await self.world.journal.close()
        server.should_exit, server.force_exit = True, self._crashed
        await serving

    async def _tick(self) -> None:
        while True:
            known = "tts" in self.world.loop.services
            counts = self.traffic(self.world.plane.status("tts")) if known else ()
            await self.world.tick(*counts, seconds=_TICK_S)
            await asyncio.sleep(0.01)
