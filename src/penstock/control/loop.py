"""The loop that observes, decides and applies, for every service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from penstock.control.service import Ports, ServiceControl
from penstock.kernel.errors import FencedOff, JournalUnwritable, TelemetryUnavailable, UnknownService, UnreachableError
from penstock.ports.telemetry import Reading, ServiceReading, Telemetry
from penstock.rollout.entry import Entry
from penstock.rollout.state import ServiceState, fold

#: How often counters are read and decisions made, seconds. Source: JUDGE section 10.7 (ticks of at most 1 s).
TICK_S = 0.25
#: A canary keeps its traffic this long without a living control plane, seconds.
LEASE_S = 10.0
_HEALTH_S = 1.0


class ControlLoop:
    """Every service of one journal, and the ticks that drive them.

    Attributes:
        services: name -> its control.
        health: endpoint `host:port` -> whether a gateway can reach it.
        stopped: set when this process no longer decides.
    """

    def __init__(self, ports: Ports, telemetry: Telemetry, *, lease_s: float = LEASE_S, tick_s: float = TICK_S) -> None:
        self.ports = ports
        self._telemetry = telemetry
        self._lease_s = lease_s
        self._tick_s = tick_s
        self.services: dict[str, ServiceControl] = {}
        self.health: Mapping[str, bool] = {}
        self._health_s = float("-inf")
        self._ticked_s = float("-inf")
        self._watchers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.stopped: asyncio.Event = asyncio.Event()

    async def start(self, *, ticking: bool = True) -> None:
        """Restore every service from the journal (we are its writer), hold what was under way, and begin to tick.

        Without `ticking`, time stands still until somebody calls `tick`: simulations and tests do.
        """
        for state in fold(await self.ports.journal.read()).values():
            await self.add(state).note_restart()
        await self.ports.gateway.start(tuple(control.table() for control in self.services.values()))
        for control in self.services.values():
            async with control.lock:
                await control.apply()
        if ticking:
            self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._renew())]

    async def stop(self) -> None:
        """Take every canary's traffic away, acknowledged, and stop deciding. Gateways serve stable on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for control in self.services.values():
            await control.close()
            if control.state.weight_pct > 0:
                with contextlib.suppress(JournalUnwritable, FencedOff):
                    await control.hold_at_zero("the control plane was stopped")
        self.stopped.set()

    async def _run(self) -> None:
        clock = self.ports.clock
        while True:
            started_s = clock.monotonic_s()
            try:
                await self.tick()
            except FencedOff:
                self.stopped.set()
                return
            await asyncio.sleep(max(self._tick_s - (clock.monotonic_s() - started_s), 0.01))

    async def tick(self) -> None:
        """Observe, decide and apply once, for every service. Raises FencedOff when another process took over."""
        reading = await self._read()
        await self._look_at_health()
        controls = list(self.services.values())
        results = await asyncio.gather(
            *(c.tick(_part(reading, c.state.service), self.health) for c in controls), return_exceptions=True
        )
        for result in results:
            # An unwritable journal is not the loop's end: the service suspended its canary and tries again.
            if isinstance(result, BaseException) and not isinstance(result, JournalUnwritable):
                raise result
        self._ticked_s = self.ports.clock.monotonic_s()

    async def _renew(self) -> None:
        """Renew the lease, but only while the loop is alive: a stuck loop must lose its canaries."""
        while True:
            if self.ports.clock.monotonic_s() - self._ticked_s < self._lease_s / 2:
                await self.ports.gateway.renew_lease()
            await asyncio.sleep(self._lease_s / 3)

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
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        event = await queue.get()
                        if event["data"]["service"] == service:
                            yield event
                            continue
                yield {"event": "status", "data": status(service)}
        finally:
            self._watchers.discard(queue)

    def publish(self, entry: Entry) -> None:
        for queue in self._watchers:
            with contextlib.suppress(
                asyncio.QueueFull
            ):  # a watcher that does not read misses entries, history has them
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


def _part(reading: Reading | None, service: str) -> ServiceReading | None:
    return None if reading is None else reading.by_service.get(service, ServiceReading())
