"""The loop that observes, decides and applies, for every service."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from penstock.control.drivers import Ports
from penstock.control.registering import Registering
from penstock.control.service import NOT_WRITTEN, ServiceControl
from penstock.kernel.errors import FencedOff, TelemetryUnavailable, UnknownService, UnreachableError
from penstock.ports.telemetry import Reading, ServiceReading, Telemetry
from penstock.rollout.entry import Entry
from penstock.rollout.state import ServiceState, fold

#: How often counters are read and decisions made, seconds. Source: JUDGE section 10.7 (ticks of at most 1 s).
TICK_S = 0.25
#: A canary keeps its traffic this long without a living control plane, seconds.
LEASE_S = 10.0
_HEALTH_S = 1.0
#: Watchers hear the status after this long without another event, seconds.
_STATUS_S = 1.0
#: A last tick may wait for gateways that are silent; longer than this it hangs, and is cut short, seconds.
_LAST_TICK_S = 15.0

_log = logging.getLogger("penstock.control")


class ControlLoop:
    """Every service of one journal, and the ticks that drive them.

    Attributes:
        services: name -> its control.
        registering: what the registry says, and learns.
        health: endpoint `host:port` -> whether a gateway can reach it.
        stopped: set when this process no longer decides.
        fenced_off: whether that is because another process does.
    """

    def __init__(self, ports: Ports, telemetry: Telemetry, *, lease_s: float = LEASE_S, tick_s: float = TICK_S) -> None:
        self.ports = ports
        self.registering = Registering(ports.registry, ports.clock)
        self._telemetry = telemetry
        self._lease_s = lease_s
        self._tick_s = tick_s
        self.services: dict[str, ServiceControl] = {}
        self.health: Mapping[str, bool] = {}
        self._health_s = float("-inf")
        self._ticked_s = float("-inf")
        self._watchers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._learning: asyncio.Task[None] | None = None
        self._failures: dict[str, str] = {}
        self._leaving = asyncio.Event()
        self.stopped: asyncio.Event = asyncio.Event()
        self.fenced_off = False

    @property
    def failure(self) -> str | None:
        """What keeps failing in a way that nobody foresaw, or None; the traceback is in the log."""
        return "; ".join([*self._failures.values(), *self.registering.trouble.values()]) or None

    async def start(self, *, ticking: bool = True) -> None:
        """Restore every service from the journal (we are its writer), hold what was under way, and begin to tick.

        Without `ticking`, time stands still until somebody calls `tick`: simulations and tests do.
        """
        for state in fold(await self.ports.journal.read()).values():
            await self.add(state).note_restart()
        await asyncio.gather(*(control.nodes.observe() for control in self.services.values()))
        await self.ports.gateway.start(tuple(control.table() for control in self.services.values()))
        for control in self.services.values():
            async with control.lock:
                await control.apply()
        if ticking:
            self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._renew())]

    async def stop(self) -> None:
        """Take every canary's traffic away, acknowledged, and stop deciding. Gateways serve stable on."""
        self._leaving.set()
        if self._tasks:  # a decision that is being written down is not torn apart
            await asyncio.wait(self._tasks, timeout=_LAST_TICK_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # they told what they died of
        for name, control in self.services.items():
            await self._attempt(f"leaving {name}", partial(control.leave, "the control plane was stopped"))
        if self._learning is not None:
            await self._learning
        await self._attempt("the registry", self._register)
        self.stopped.set()

    async def _run(self) -> None:
        clock = self.ports.clock
        while not self._over:
            started_s = clock.monotonic_s()
            await self._attempt("the control loop", self.tick)
            await self._pause(max(self._tick_s - (clock.monotonic_s() - started_s), 0.01))

    async def _renew(self) -> None:
        """Renew the lease, but only while ticks succeed: who cannot decide must lose the canaries."""
        while not self._over:
            if self.ports.clock.monotonic_s() - self._ticked_s < self._lease_s / 2:
                await self._attempt("renewing the lease", self.ports.gateway.renew_lease)
            await self._pause(self._lease_s / 3)

    @property
    def _over(self) -> bool:
        return self._leaving.is_set() or self.stopped.is_set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def _attempt(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something that must not end the loop. What fails unforeseen is logged and shown, and tried again."""
        try:
            await work()
        except FencedOff:
            self.fenced_off = True
            self.stopped.set()
        except Exception as error:  # noqa: BLE001 - whatever it was, a loop that dies in silence is worse
            said = f"{what} failed: {error or type(error).__name__}"
            if self._failures.get(what) != said:
                _log.error(said, exc_info=error)
            self._failures[what] = said
        else:
            self._failures.pop(what, None)

    async def tick(self) -> None:
        """Observe, decide and apply once, for every service. Raises FencedOff when another process took over."""
        reading = await self._read()
        await self._look_at_health()
        controls = list(self.services.values())
        results = await asyncio.gather(
            *(c.tick(_part(reading, c.state.service), self.health) for c in controls), return_exceptions=True
        )
        for result in results:
            # A journal that takes nothing is no failure of the loop: the service suspended its canary and tries again.
            if isinstance(result, BaseException) and not isinstance(result, NOT_WRITTEN):
                raise result
        self._ticked_s = self.ports.clock.monotonic_s()
        if self._learning is None or self._learning.done():  # a slow registry must not hold the ticks up
            self._learning = asyncio.create_task(self._attempt("the registry", self._register))

    async def _register(self) -> None:
        await asyncio.gather(
            *(self.registering.take_in(partial(_state_of, control)) for control in self.services.values())
        )

    async def _read(self) -> Reading | None:
        try:
            return await self._telemetry.read()
        except TelemetryUnavailable:
            return None

    async def _look_at_health(self) -> None:
        now_s = self.ports.clock.monotonic_s()
        if now_s - self._health_s >= _HEALTH_S:
            with contextlib.suppress(UnreachableError):  # the last known health stands; telemetry reports the gap
                self.health = await self.ports.gateway.fetch_health()
                self._health_s = now_s

    async def watch(self, service: str, status: Callable[[str], dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """Yield `{"event": "entry"|"status", "data": ...}` for ever: entries as they come, a status about every second."""
        self.control(service)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1000)
        self._watchers.add(queue)
        try:
            yield {"event": "status", "data": status(service)}
            while True:
                event = await _next(queue)
                if event is None:
                    yield {"event": "status", "data": status(service)}
                elif event["data"]["service"] == service:
                    yield event
        finally:
            self._watchers.discard(queue)

    def publish(self, entry: Entry) -> None:
        for queue in self._watchers:
            with contextlib.suppress(asyncio.QueueFull):  # who does not read misses entries; history has them
                queue.put_nowait({"event": "entry", "data": entry.as_json()})

    def add(self, state: ServiceState) -> ServiceControl:
        """Take a service under control."""
        control = ServiceControl(state, self.ports, self.publish)
        self.services[state.service] = control
        return control

    def control(self, service: str) -> ServiceControl:
        """Return the service's control; raise UnknownService."""
        if service not in self.services:
            raise UnknownService(service=service, known=", ".join(sorted(self.services)) or "none yet")
        return self.services[service]


async def _next(queue: asyncio.Queue[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the next event, or None after a second without one. No time runs while a slow watcher takes it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STATUS_S):
            return await queue.get()
    return None


def _part(reading: Reading | None, service: str) -> ServiceReading | None:
    return None if reading is None else reading.by_service.get(service, ServiceReading())


def _state_of(control: ServiceControl) -> ServiceState:
    return control.state
