"""A fleet whose control plane and servers may be killed, the person who runs it, and what must hold afterwards.

Nothing here waits and nothing is left to chance: timers run by the world's clock, and what would run in a thread runs at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from penstock.control.drivers import Ports
from penstock.kernel.errors import EndpointUnreachable, UnhealthyTarget
from penstock.kernel.semver import SemVer
from penstock.registry.metadata import Metadata
from penstock.registry.query import Query
from penstock.registry.release import Endpoint
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.rollout.phases import Phase
from penstock.rollout.state import ServiceState, fold
from penstock.testing.fakes import ManualClock
from penstock.testing.servers import FakeProcess
from tests.control.killing import CHANGES, Doomed, Fate, Killed, Point, Victim
from tests.control.test_components import AFTER, BEFORE, Fleet

#: How long a killed server takes until it answers again, and a killed control plane if it takes its time, seconds.
_BACK_S, _LATE_S = 3.0, 30.0
#: After that long the control plane has looked at every server, and acted on it, seconds.
_FOUND_S = 3.0
_TICK_S = 0.5
_PATIENCE_S = 200.0

_T = TypeVar("_T")
Step = Callable[["MortalFleet"], Awaitable[None]]


class MortalFleet(Fleet):
    """A fleet whose control plane and servers are killed at chosen points; and the person who runs it.

    Attributes:
        fate: the chosen points.
        life: how often its control plane was started.
        dead: whether it is killed at the moment.
        wrong: what did not hold, as sentences.
    """

    plan: ClassVar[dict[str, Any]] = {"steps": "50,100", "dwell": "1s", "longest_stall": "1s", "min_requests": 10}

    def __init__(self, n_nodes: int, kills: Mapping[Point, Victim]) -> None:
        self.fate = Fate(kills)
        self.life, self.dead = 0, False
        self.wrong: list[str] = []
        self._is_late = False
        self._back_at_s: dict[str, float] = {}
        self._found_at_s: dict[str, float] = {}
        super().__init__(*(f"10.0.0.{i + 1}:1" for i in range(n_nodes)))
        for component, version in (*BEFORE.items(), ("vocoder", AFTER["vocoder"])):
            stage = Stage.STABLE if BEFORE[component] == version else Stage.VERIFIED
            metadata = Metadata.from_json({"owner": "ann"}, allow_missing=True)
            known = Version("tts", component, SemVer.parse(version), None, 0, metadata, self.clock.now(), stage=stage)
            self.registry.register(known, actor="ann", reason="made")

    def ports(self) -> Ports:
        self.life += 1
        ports = super().ports()
        passing = partial(self._pass, self.life)
        doomed: dict[str, Any] = {name: Doomed(name, getattr(ports, name), self.fate, passing) for name in CHANGES}
        return replace(ports, **doomed)

    # -- what dies

    def _pass(self, life: int, point: Point | None, endpoint: Endpoint | None) -> None:
        """Let a call of the control plane in its `life` pass, and kill who is to be killed there."""
        if life != self.life or self.dead:
            raise Killed
        if point is None:
            return
        victim = self.fate.meet(point)
        if victim is Victim.CONTROL_PLANE:
            self.dead, self._is_late = True, point.nth % 2 == 0
            raise Killed
        if victim is Victim.SERVER:
            self._kill_server(point.call, endpoint)
        if endpoint is not None and self.servers.processes[endpoint.address].down:
            raise EndpointUnreachable(url=endpoint.url, why="it broke off before it answered")

    def _kill_server(self, call: str, endpoint: Endpoint | None) -> None:
        """Kill the server that is spoken to, else any; it is started again by and by, with its first versions."""
        nodes = sorted(self.servers.processes)
        node = endpoint.address if endpoint else nodes[len(call) % len(nodes)]
        self.servers.processes[node] = FakeProcess(dict(BEFORE), down=True)
        self.gateway.health[node] = False
        self._back_at_s[node] = self.clock.monotonic_s() + _BACK_S

    # -- what goes on

    async def step(self) -> None:
        """Let everything that is under way happen, then half a second pass."""
        for _ in range(10):
            await asyncio.sleep(0)
        for node in [node for node, at_s in self._back_at_s.items() if at_s <= self.clock.monotonic_s()]:
            del self._back_at_s[node]
            self.servers.processes[node].down = False
            self.gateway.health[node] = True
            self._found_at_s[node] = self.clock.monotonic_s() + _FOUND_S
        status = self.plane.status("tts")
        counts = [c for c in self.answers(status) if not self.servers.processes[c.pod].down]
        await self.tick(*counts, seconds=_TICK_S)
        self._check_alive()
        self.wrong += self._unserved()

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        until_s = self.clock.monotonic_s() + _PATIENCE_S
        while not holds():
            assert self.clock.monotonic_s() < until_s, f"never {what}: {[*self._differences()]}"
            await self.step()

    async def settled(self) -> None:
        """Wait until nothing is left to be done without a person, and everything is at one."""
        for _ in range(6):
            await self.step()
        await self.until(lambda: not self._under_way() and not [*self._differences()], "at one")

    def _under_way(self) -> bool:
        control = self.loop.services["tts"]
        applied = control.state.applied_generation == control.state.generation
        return bool(
            not applied or control.state.phase is Phase.ROLLING_BACK or control.nodes.trouble or control.trouble
        )

    # -- the person

    async def finish(self) -> None:
        """Bring 1.3.0 out to everybody: release it, again where a kill ended that, and resume what is held."""
        while AFTER not in [release.versions for release in self.state.promoted]:
            await self._go_on()
            await self.until(lambda: self.state.phase in (Phase.IDLE, Phase.HELD), "over or held")
        await self.settled()

    async def reach_users(self) -> None:
        """The same, until the first users meet it."""
        while self.state.weight_pct == 0 and not self.state.quarantine:
            await self._go_on()
            await self.until(lambda: self.state.weight_pct > 0 or self.state.phase in (Phase.IDLE, Phase.HELD), "met")

    async def _go_on(self) -> None:
        if self.state.phase is Phase.HELD:
            await self.plane.resume("tts", actor="ann")
        elif self.state.phase is Phase.IDLE:
            try:
                await self.switch(AFTER["vocoder"])
            except UnhealthyTarget:  # with this server gone there would be nobody for stable
                await self.step()

    async def roll_back(self) -> None:
        """As a person does: again with the same words where there was no answer, later where no server could take over."""
        while not await self._rolled_back():
            await self.step()
        await self.until(lambda: self.state.phase is Phase.IDLE, "rolled back")
        await self.settled()

    async def _rolled_back(self) -> bool:
        try:
            await self.plane.roll_back("tts", "vocoder", actor="ann", reason="it crackles")
        except UnhealthyTarget:
            return False
        return True

    @property
    def state(self) -> ServiceState:
        return self.loop.services["tts"].state

    # -- the run

    async def run(self, *steps: Step) -> None:
        """Adopt the fleet, do every step, and see what is there at the end."""
        await self.start()
        await self.adopt()
        self.fate.begun = True
        for step in (*steps, MortalFleet.settled):
            await self._do(step)
        self.fate.begun = False
        await self.loop.stop()

    async def _do(self, step: Step) -> None:
        """Do a step; where the control plane is killed in it, do it again once it is back."""
        while True:
            try:
                if self.dead:
                    await self._come_back()
                await step(self)
                self._check_alive()
            except Killed:
                continue
            return

    def _check_alive(self) -> None:
        if self.dead:
            raise Killed

    async def _come_back(self) -> None:
        """Bury what is left of the process; look at what users meet meanwhile; start another one."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self.wrong += [f"while it is dead: {each}" for each in self._unserved()]
        if self._is_late:
            self.clock.advance(_LATE_S)
            self.wrong += [f"after the lease: {each}" for each in self._unserved()]
        written = list(self.book.entries)
        self.dead = False
        await self.restart()
        if self.state.weight_pct > 0:
            self.wrong.append("after the restart: the canary has traffic without anybody's word")
        await self.settled()
        if self.book.entries[: len(written)] != written:
            self.wrong.append("after the restart: entries were lost")

    def _unserved(self) -> Iterator[str]:
        if not self._who_could_serve():
            return
        users = [self.gateway.route("tts", {"x-user-id": f"user-{i}"}) for i in range(10)]
        if None in users:
            yield f"{users.count(None)} of {len(users)} users are served by nobody"
        table = self.gateway.in_force("tts")
        if table is not None and table.canary is not None and self.gateway.lease_expired and table.weight:
            yield "the canary has traffic without a control plane"

    def _who_could_serve(self) -> list[str]:
        """Return the servers that are up, and were found to be; who is dead as well as its control plane is replaced by none."""
        up = [node for node, process in self.servers.processes.items() if not process.down]
        if self.dead and len(up) < len(self.servers.processes):
            return []
        return [node for node in up if self.clock.monotonic_s() >= self._found_at_s.get(node, 0.0)]

    def _differences(self) -> Iterator[str]:
        """Say where journal, gateway, servers and registry are not at one."""
        state = fold(self.book.entries)["tts"]
        if state != self.state:
            yield "the control plane does not know what its journal says"
        if self.gateway.in_force("tts") != state.table():
            yield "the gateway does not serve what the journal says"
        yield from self._servers_that_differ(state)
        yield from self._registry_differs(state)

    def _servers_that_differ(self, state: ServiceState) -> Iterator[str]:
        sets: dict[str, tuple[dict[str, str], dict[str, str] | None]] = {}
        for release in (state.stable, *([state.canary] if state.canary else [])):
            sets |= {e.address: (dict(release.versions), None) for e in release.endpoints}
        if state.split_inside and state.canary is not None:
            sets = {
                e.address: (dict(state.stable.versions), dict(state.canary.versions)) for e in state.stable.endpoints
            }
        if sets.keys() != self.servers.processes.keys():
            yield f"the journal knows {sorted(sets)} alone"
        for node, process in self.servers.processes.items():
            if (process.versions, process.canary) != sets.get(node):
                yield f"{node} serves {process.versions} and {process.canary}, not {sets.get(node)}"
            if state.canary is None and any(process.prepared.values()):
                yield f"{node} holds {process.prepared} ready for nothing"

    def _registry_differs(self, state: ServiceState) -> Iterator[str]:
        self.registry.verify()
        stages = {(v.component, str(v.version)): v.stage for v in self.registry.versions(Query())}
        expected = dict.fromkeys(stages, Stage.STABLE)
        expected["vocoder", "1.3.0"] = _stage_in(state)
        if stages != expected:
            yield f"the registry says {stages}, not {expected}"
        newest = self.registry.promotions("tts", limit=1)
        if newest and newest[0].versions != state.stable.versions:
            yield f"the registry thinks that {newest[0].versions} serve"


def _stage_in(state: ServiceState) -> Stage:
    """Return what 1.3.0 is by the journal's word."""
    if state.quarantine:
        return Stage.QUARANTINED
    if any(release.versions == AFTER for release in state.promoted):
        return Stage.STABLE
    return Stage.VERIFIED if state.canary is None else Stage.CANARY


class WorldLoop(asyncio.SelectorEventLoop):
    """An event loop in the world's time, without threads: every run is the same."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.set_exception_handler(_tell)

    def time(self) -> float:
        return self.clock.monotonic_s()

    def run_in_executor(self, executor: Any, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 - also what kills belongs to whoever waits
            done.set_exception(error)
        return done


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What is killed tells nobody."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


def run(n_nodes: int, steps: Sequence[Step], kills: Mapping[Point, Victim]) -> MortalFleet:
    """Run it once, and return what is left."""

    async def whole() -> MortalFleet:
        fleet = MortalFleet(n_nodes, kills)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WorldLoop)
        loop.clock = fleet.clock
        await fleet.run(*steps)
        return fleet

    with asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(whole())
