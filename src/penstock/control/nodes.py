"""Keeping servers that switch versions in place on the versions that their service's state asks for."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from penstock.kernel.errors import EndpointUnreachable, PenstockError, RefusedError
from penstock.ports.model_server import ModelServer, Serving
from penstock.registry.release import Endpoint, Release
from penstock.rollout.fleet import Wanted
from penstock.routing.table import RouteTable

#: How often a server is asked what it serves, seconds: one that was started again must be found.
_LOOK_S = 2.0
#: How long a question or a switch may take, seconds: neither loads anything.
_PATIENCE_S = 2.0
#: How long a server may load, seconds.
_LOAD_S = 1800.0
#: After a refusal the server is asked again, seconds: somebody may have freed memory, or mended the file.
_RETRY_S = 30.0


class Nodes:
    """The servers of one service, each with a task that looks at it and has it load what it will need.

    A server is confirmed when it said itself that it serves what is wanted. Who is not confirmed belongs out of rotation.

    Attributes:
        trouble: server -> what is wrong with it, in words.
    """

    def __init__(self, service: str, servers: ModelServer, control_plane: str | None) -> None:
        self.trouble: dict[Endpoint, str] = {}
        self._service = service
        self._servers = servers
        self._control_plane = control_plane
        self._goals: dict[Endpoint, Wanted] = {}
        self._seen: dict[Endpoint, Serving] = {}
        self._refused: dict[Endpoint, str] = {}
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._switched: dict[Endpoint, asyncio.Event] = {}

    def want(self, goals: Mapping[Endpoint, Wanted]) -> None:
        """Take note of what each server must serve from now on. What is under way for another goal is given up."""
        for endpoint in [e for e, goal in self._goals.items() if goals.get(e) != goal]:
            self._tasks.pop(endpoint).cancel()
            self._refused.pop(endpoint, None)
            self.trouble.pop(endpoint, None)
        self._goals = dict(goals)
        self._seen = {endpoint: seen for endpoint, seen in self._seen.items() if endpoint in goals}
        for endpoint in goals:
            if endpoint not in self._tasks:
                self._tasks[endpoint] = asyncio.get_running_loop().create_task(self._mind(endpoint))

    def confirmed(self, endpoint: Endpoint) -> bool:
        """Whether a server said that it serves what is wanted; one of which nothing is wanted counts as well."""
        goal = self._goals.get(endpoint)
        return goal is None or (endpoint in self._seen and _matches(self._seen[endpoint], goal))

    def rotated(self, table: RouteTable) -> RouteTable:
        """Return the table without servers that did not confirm; where none of a release did, all stay.

        Testers wait until a server of the canary confirmed. While nobody may reach the canary, those of its servers that
        serve what stable serves are stable's reserve.
        """
        stable = self._rotated(table.stable)
        if table.canary is None:
            return replace(table, stable=stable)
        overrides = table.overrides and any(self.confirmed(endpoint) for endpoint in table.canary.endpoints)
        closed = not overrides and table.weight == 0 and not table.split_inside
        reserve = tuple(e for e in table.canary.endpoints if closed and self._stands_by(e, stable))
        return replace(table, stable=stable, canary=self._rotated(table.canary), overrides=overrides, reserve=reserve)

    def _stands_by(self, endpoint: Endpoint, stable: Release) -> bool:
        return endpoint in self._seen and _serves(self._seen[endpoint].versions, stable.versions)

    def _rotated(self, release: Release) -> Release:
        confirmed = tuple(e for e in release.endpoints if self.confirmed(e))
        return replace(release, endpoints=confirmed) if 0 < len(confirmed) < len(release.endpoints) else release

    def hold(self, component: str, version: str) -> bool:
        """Whether a server has this version of a component in memory."""
        return any(version in seen.ready.get(component, ()) for seen in self._seen.values())

    @property
    def held(self) -> dict[Endpoint, Mapping[str, tuple[str, ...]] | None]:
        """Server -> component -> versions that it has in memory, as it said last; None for one that does not answer."""
        return {e: self._seen[e].ready if e in self._seen else None for e in self._goals}

    @property
    def loading(self) -> str:
        """What is waited for, in words: servers that do not have in memory yet what they will need."""
        waiting = [e for e in self._goals if e not in self.trouble and self._missing(e)]
        return f"{', '.join(e.address for e in waiting)} to load what comes next" if waiting else ""

    def refusal(self, release: Release) -> str:
        """Return why a server of this release will not serve it; empty when none said so."""
        return next((f"{e.address}: {self._refused[e]}" for e in release.endpoints if e in self._refused), "")

    @property
    def due(self) -> bool:
        """Whether a server could switch to what is wanted at once."""
        return any(self._may_switch(endpoint) for endpoint in self._goals)

    async def switch(self) -> None:
        """Let every server that is ready serve what is wanted, all at the same time; failures become trouble.

        Servers of one release switch once all of them are ready, or out of the question.
        """
        await asyncio.gather(*(self._switch(e, self._goals[e]) for e in self._goals if self._may_switch(e)))

    async def observe(self) -> None:
        """Ask every server once what it serves."""
        await asyncio.gather(*(self._look(endpoint) for endpoint in self._goals))

    async def close(self) -> None:
        """Stop looking, and let the servers decide for themselves again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        attached = [e for e, seen in self._seen.items() if seen.attached_to == self._control_plane is not None]
        await asyncio.gather(*(self._attach(e, None) for e in attached))

    async def _mind(self, endpoint: Endpoint) -> None:
        switched = self._switched[endpoint] = asyncio.Event()
        while True:
            switched.clear()
            await self._look(endpoint)
            pause_s = _LOOK_S
            if unwanted := self._unwanted(endpoint):
                await self._give_up(endpoint, unwanted)
            elif endpoint in self._seen and (missing := self._missing(endpoint)):
                await self._load(endpoint, missing)
                pause_s = _RETRY_S if endpoint in self._refused else _LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await switched.wait()

    async def _look(self, endpoint: Endpoint) -> None:
        try:
            seen = await self._servers.observe(endpoint, timeout_s=_PATIENCE_S)
        except (EndpointUnreachable, RefusedError) as error:
            self._lost(endpoint, error)
            return
        self._seen[endpoint] = seen
        if endpoint not in self._refused:
            self.trouble.pop(endpoint, None)
        if self._control_plane is not None and seen.attached_to != self._control_plane:
            await self._attach(endpoint, self._control_plane)

    async def _attach(self, endpoint: Endpoint, control_plane: str | None) -> None:
        with contextlib.suppress(EndpointUnreachable, RefusedError):  # the next look tries again
            await self._servers.attach(
                endpoint, control_plane=control_plane, service=self._service, timeout_s=_PATIENCE_S
            )

    async def _load(self, endpoint: Endpoint, missing: Mapping[str, str]) -> None:
        try:
            self._seen[endpoint] = await self._servers.prepare(endpoint, missing, timeout_s=_LOAD_S)
        except EndpointUnreachable as error:
            self._lost(endpoint, error)
        except RefusedError as error:
            self.trouble[endpoint] = self._refused[endpoint] = error.message
        else:
            self._refused.pop(endpoint, None)
            self.trouble.pop(endpoint, None)

    async def _give_up(self, endpoint: Endpoint, unwanted: Mapping[str, str]) -> None:
        """Free the memory of a rollout that is over."""
        try:
            self._seen[endpoint] = await self._servers.give_up(endpoint, unwanted, timeout_s=_PATIENCE_S)
        except (EndpointUnreachable, RefusedError) as error:
            self._lost(endpoint, error)

    async def _switch(self, endpoint: Endpoint, goal: Wanted) -> None:
        try:
            seen = self._seen[endpoint]
            if not _serves(seen.versions, goal.versions) or seen.release != goal.release:
                seen = await self._servers.switch(endpoint, goal.versions, release=goal.release, timeout_s=_PATIENCE_S)
            if not _same_canary(seen, goal):
                name = goal.canary_release or goal.release
                seen = await self._servers.split(endpoint, goal.canary, release=name, timeout_s=_PATIENCE_S)
        except (EndpointUnreachable, RefusedError) as error:
            self._lost(endpoint, error)
        else:
            self._seen[endpoint] = seen
            self.trouble.pop(endpoint, None)
            self._switched[endpoint].set()  # there may be something to give up

    def _lost(self, endpoint: Endpoint, error: PenstockError) -> None:
        """What it serves is not known any more, so nothing is assumed; the next look tells."""
        self._seen.pop(endpoint, None)
        self.trouble[endpoint] = error.message

    def _may_switch(self, endpoint: Endpoint) -> bool:
        goal = self._goals[endpoint]
        seen = self._seen.get(endpoint)
        if seen is None or (_matches(seen, goal) and seen.release == goal.release):
            return False
        peers = [e for e, other in self._goals.items() if other.release == goal.release]
        return self._is_ready(endpoint) and all(e in self.trouble or self._is_ready(e) for e in peers)

    def _is_ready(self, endpoint: Endpoint) -> bool:
        goal, seen = self._goals[endpoint], self._seen.get(endpoint)
        needed = [*goal.versions.items(), *(goal.canary or {}).items()]
        return seen is not None and all(v in seen.ready.get(c, ()) for c, v in needed)

    def _missing(self, endpoint: Endpoint) -> dict[str, str]:
        """Return component -> version of what a server must load; of two versions of one component, the nearer need."""
        goal, seen = self._goals[endpoint], self._seen.get(endpoint)
        ready = seen.ready if seen else {}
        for needed in (goal.versions, goal.canary or {}, goal.ahead):
            missing = {c: v for c, v in needed.items() if v not in ready.get(c, ())}
            if missing:
                return missing
        return {}

    def _unwanted(self, endpoint: Endpoint) -> dict[str, str]:
        """Return component -> a version that a server holds ready for nothing; what it must serve comes first."""
        goal, seen = self._goals[endpoint], self._seen.get(endpoint)
        if seen is None or not _matches(seen, goal):
            return {}
        wanted = [*goal.versions.items(), *(goal.canary or {}).items(), *goal.ahead.items()]
        return {c: v for c, versions in seen.prepared.items() for v in versions if (c, v) not in wanted}


def _matches(seen: Serving, goal: Wanted) -> bool:
    return _serves(seen.versions, goal.versions) and _same_canary(seen, goal)


def _same_canary(seen: Serving, goal: Wanted) -> bool:
    if goal.canary is None or seen.canary is None:
        return goal.canary is None and seen.canary is None
    return _serves(seen.canary, goal.canary)


def _serves(actual: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether every wanted component has its version; a server may have components of its own besides."""
    return all(actual.get(component) == version for component, version in wanted.items())
