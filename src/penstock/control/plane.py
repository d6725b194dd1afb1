"""The use cases: what people and machines may ask of the control plane."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from penstock.control.components import canary_in_place
from penstock.control.loop import ControlLoop
from penstock.control.preflight import check_unused, introduce
from penstock.control.rollbacks import Rollbacks, illegal, leaving, unhealthy
from penstock.control.service import ServiceControl
from penstock.control.views import applied_at, explanation_of, outcome_of, status_of
from penstock.judge.verdict import Word
from penstock.kernel.errors import (
    ConflictError,
    GatewaySilent,
    IllegalTransition,
    NoRollout,
    NotFoundError,
    Quarantined,
    RefusedError,
    RolloutInProgress,
    VersionMismatch,
    VersionTaken,
)
from penstock.kernel.names import checked_service, checked_version
from penstock.registry.release import WHOLE, Endpoint, Release, part_name
from penstock.rollout.decide import Decision, held, next_step, stage_of
from penstock.rollout.entry import Draft, Kind, unwritten
from penstock.rollout.phases import Phase
from penstock.rollout.plan import Plan
from penstock.rollout.state import ServiceState, evolve
from penstock.routing.table import Identity


class ControlPlane:
    """All services of one journal.

    Every command takes the actor and a reason, is journalled, and returns when it is in force on every live gateway
    (or says which one is silent). Errors are those of `penstock.kernel.errors`; after one, nothing has changed.
    """

    def __init__(self, loop: ControlLoop) -> None:
        self._loop = loop
        self._rollbacks = Rollbacks(loop)

    async def look_at(self, service: str, urls: Sequence[str], *, listen: str | None) -> None:
        """Find everything that would keep a server from being adopted; changes nothing."""
        checked_service(service)
        endpoints = tuple(Endpoint.parse(url) for url in urls)
        check_unused(endpoints, self._releases(), [*self._listeners(), *([listen] if listen else [])])
        await introduce(self._loop.ports.mirror, endpoints)

    async def adopt(
        self, service: str, urls: Sequence[str], *, listen: str, identity: Identity, actor: str
    ) -> dict[str, Any]:
        """Put a gateway in front of a running server; its release is the service's first stable one."""
        checked_service(service)
        if service in self._loop.services:
            raise RolloutInProgress(service=service, release=self._loop.services[service].state.stable.name)
        endpoints = tuple(Endpoint.parse(url) for url in urls)
        check_unused(endpoints, self._releases(), [*self._listeners(), listen])
        said = await introduce(self._loop.ports.mirror, endpoints)
        release = said.release(service, 1, said.version or "unversioned-1", endpoints)
        facts = {"release": release.as_json(), "listen": listen, "identity": asdict(identity)}
        draft = Draft(service, Kind.ADOPTED, actor, f"{release.name} serves at {release.endpoints[0].url}", 1, facts)
        # Tried on the gateway first: what cannot be served must not enter the journal.
        state = evolve(None, unwritten(draft, self._loop.ports.clock.now()))
        await self._loop.ports.gateway.apply(state.table())
        entry = await self._loop.ports.journal.append(draft, expected_generation=0)
        control = self._loop.add(evolve(None, entry))
        self._loop.publish(entry)
        async with control.lock:
            await control.apply()
        return self.status(service)

    async def move(self, service: str, *, listen: str, identity: Identity, actor: str) -> dict[str, Any]:
        """Give an idle service another listener or another way to recognise users."""
        control = self._loop.control(service)
        async with control.lock:
            state = control.state
            _check_idle(state)
            facts = {"release": state.stable.as_json(), "listen": listen, "identity": asdict(identity)}
            moved = replace(state.table(), generation=state.generation + 1, listen=listen, identity=identity)
            with contextlib.suppress(GatewaySilent):  # as in `adopt`; one that is silent gets it when it speaks again
                await self._loop.ports.gateway.apply(moved)
            await control.commit(Decision(Kind.ADOPTED, f"listens on {listen}", facts), actor=actor)
        return self.status(service)

    async def release(
        self, service: str, urls: Sequence[str], version: str | None, plan: Plan, *, actor: str, reason: str = ""
    ) -> dict[str, Any]:
        """Begin to meter a version in. Everything that can be wrong is found before anything changes."""
        control = self._loop.control(service)
        _check_idle(control.state)
        endpoints = tuple(Endpoint.parse(url) for url in urls)
        check_unused(endpoints, self._releases(), self._listeners())
        wanted = None if version is None else checked_version(version)
        said = await introduce(self._loop.ports.mirror, endpoints)
        if None not in (said.version, wanted) and said.version != wanted:
            raise VersionMismatch(url=endpoints[0].url, found=said.version, wanted=wanted)
        async with control.lock:
            state = control.state
            _check_idle(state)
            name = wanted or said.version or f"unversioned-{state.n_releases + 1}"
            release = said.release(service, state.n_releases + 1, name, endpoints)
            await _begin(control, release, plan, actor=actor, reason=reason)
        return self.status(service)

    async def release_component(
        self,
        service: str,
        component: str,
        version: str,
        plan: Plan,
        *,
        also: Mapping[str, str] | None = None,
        nodes: Sequence[str] = (),
        unverified: bool = False,
        actor: str,
        reason: str = "",
    ) -> dict[str, Any]:
        """Begin to meter one component's version in, on servers that switch versions in place.

        `also`: component -> version of what goes out with it, because one does not fit without the other. `nodes` are URLs of stable's servers that become the canary's; see `canary_in_place`. `unverified` allows a version
        that is only registered.
        """
        control = self._loop.control(service)
        endpoints = [Endpoint.parse(url) for url in nodes]
        wanted = {part: checked_version(number) for part, number in ((component, version), *(also or {}).items())}
        asked, release = control.state.stable, _in_place(control.state, wanted, endpoints, self._loop.health)
        await self._loop.registering.check(asked, release, unverified=unverified)  # may take long: nobody waits for it
        async with control.lock:
            if control.state.stable != asked:
                raise ConflictError(detail=f"what serves {service!r} changed while the registry was asked.")
            release = _in_place(control.state, wanted, endpoints, self._loop.health)
            await _begin(control, release, plan, actor=actor, reason=reason, in_place=True)
        return self.status(service)

    async def pause(self, service: str, *, actor: str, reason: str = "") -> dict[str, Any]:
        """Keep the weight where it is until a person resumes."""
        async with self._rolling(service, "paused") as control:
            weight_pct = control.state.weight_pct
            decision = held(control.state, reason or f"paused by {actor}", weight_pct=weight_pct, paused=False)
            await control.commit(decision, actor=actor)
        return self.status(service)

    async def resume(self, service: str, *, actor: str, reason: str = "") -> dict[str, Any]:
        """Let a held rollout go on with the weight of its step."""
        async with self._rolling(service, "resumed") as control:
            state = control.state
            if state.phase is not Phase.HELD:
                raise illegal(state, "resumed")
            _check_not_condemned(control)
            facts = {"phase": stage_of(state).value, "weight_pct": state.step_weight_pct}
            await control.commit(Decision(Kind.RESUMED, reason or f"resumed by {actor}", facts), actor=actor)
        return self.status(service)

    async def promote(self, service: str, *, full: bool = False, actor: str, reason: str = "") -> dict[str, Any]:
        """Go to the next step now, or with `full` to 100 %; promoting from there makes the canary stable."""
        async with self._rolling(service, "promoted") as control:
            state = control.state
            _check_not_condemned(control)
            if state.canary in control.dead:
                raise unhealthy(state.canary)
            if state.phase is Phase.BAKING:
                facts = {"n_canary_requests": control.verdict.n_canary}
                decision = Decision(Kind.PROMOTED, reason or f"by {actor}", facts)
            else:
                decision = next_step(state, reason or f"by {actor}", full=full)
            await control.commit(decision, actor=actor)
        return self.status(service)

    async def abort(self, service: str, *, actor: str, reason: str = "") -> dict[str, Any]:
        """End the rollout: back to stable, nothing quarantined."""
        async with self._rolling(service, "aborted") as control:
            if control.state.phase is not Phase.ROLLING_BACK:
                why = reason or f"aborted by {actor}"
                await control.commit(leaving(control, why, ending="aborted", quarantine=False), actor=actor)
        return self.status(service)

    async def roll_back(
        self,
        service: str,
        component: str | None = None,
        *,
        to: str | None = None,
        quarantine: bool = True,
        actor: str,
        reason: str = "",
    ) -> dict[str, Any]:
        """Roll back: a running rollout to stable, a finished one to the last healthy release before it.

        With a component, that one alone goes back; `to` is then its version, else a release. Repeating it is safe. See
        `Rollbacks.roll_back` for the answer.
        """
        why = reason or f"rolled back by {actor}"
        return await self._rollbacks.roll_back(
            service, component, to=to, quarantine=quarantine, actor=actor, reason=why
        )

    async def rollback_plan(self, service: str, component: str | None = None) -> dict[str, Any]:
        """Return where a rollback would go and what speaks against the others; changes nothing."""
        return await self._rollbacks.plan(service, component)

    async def quarantine(self, service: str, version: str, *, actor: str, reason: str) -> dict[str, Any]:
        """Never release this version again."""
        control = self._loop.control(service)
        async with control.lock:
            state = control.state
            if where := _serving(state, version):
                raise ConflictError(
                    detail=f"{version} is serving traffic; `penstock rollback {where}` takes it out and quarantines it."
                )
            promoted = {r.name: r.quarantine_key for r in state.promoted}
            key = promoted.get(version) or f"version:{checked_version(version)}"
            facts = {"key": key, "version": version}
            await control.commit(Decision(Kind.QUARANTINED, reason, facts), actor=actor)
        return {"service": service, "version": version, "key": key, "quarantined": True}

    async def unquarantine(self, service: str, version: str, *, actor: str, reason: str) -> dict[str, Any]:
        """Allow this version to be released again, also where only the registry has it in quarantine."""
        control = self._loop.control(service)
        version = await self._loop.registering.spelt(control.state, version)
        async with control.lock:
            versions = [marked for marked, _ in control.state.quarantine.values()]
            if version in versions:
                await control.commit(Decision(Kind.UNQUARANTINED, reason, {"version": version}), actor=actor)
        lifted = await self._loop.registering.lift(lambda: control.state, version, actor=actor, reason=reason)
        if version not in versions and not lifted:
            known = ", ".join(versions) or "none"
            raise NotFoundError(detail=f"{version} of {service!r} is not in quarantine; in it: {known}.")
        return {"service": service, "version": version, "quarantined": False}

    # -- questions

    def status(self, service: str) -> dict[str, Any]:
        control = self._loop.control(service)
        return status_of(control, self._loop.ports.gateway.nodes(service), self._loop.failure)

    def services(self) -> list[dict[str, Any]]:
        return [self.status(name) for name in sorted(self._loop.services)]

    async def history(self, service: str) -> list[dict[str, Any]]:
        self._loop.control(service)
        return [entry.as_json() for entry in await self._loop.ports.journal.read(service)]

    async def explain(self, service: str) -> dict[str, Any]:
        return explanation_of(self._loop.control(service), await self._loop.ports.journal.read(service))

    async def outcome(self, service: str) -> dict[str, Any] | None:
        """Return how the last rollout ended or stopped, with `applied_at`; None while it runs."""
        state = self._loop.control(service).state
        outcome = outcome_of(state)
        if outcome is not None:
            outcome["applied_at"] = applied_at(await self._loop.ports.journal.read(service), outcome["generation"])
        return outcome

    async def verify(self) -> int:
        """Return how many journal entries there are; raise JournalDamaged where the chain breaks."""
        return await self._loop.ports.journal.verify()

    def pods_of(self, service: str, number: int) -> frozenset[str]:
        """Return the `host:port` of every endpoint of a release that gateways know now; empty for another release.

        Servers that stable lent to the canary are stable's too: they finish what they began as its own.
        """
        control = self._loop.services.get(service)
        if control is None:
            return frozenset()
        stable, canary, warm = control.state.stable, control.state.canary, control.state.warm
        lent = canary.endpoints if stable and canary and canary.swapped and stable.number == number else ()
        known = (e for r in (stable, canary, warm) if r and r.number == number for e in r.endpoints)
        return frozenset(e.address for e in (*known, *lent))

    def watch(self, service: str) -> AsyncIterator[dict[str, Any]]:
        """Yield `{"event": "entry"|"status", "data": ...}` for ever: entries as they come, a status about every second."""
        return self._loop.watch(service, self.status)

    # -- parts

    @contextlib.asynccontextmanager
    async def _rolling(self, service: str, wanted: str) -> AsyncIterator[ServiceControl]:
        control = self._loop.control(service)
        async with control.lock:
            state = control.state
            if state.canary is None:
                raise NoRollout(service=service, wanted=wanted)
            try:
                yield control
            except IllegalTransition:  # the table speaks of entries, people of commands
                raise illegal(state, wanted) from None

    def _releases(self) -> list[Release]:
        states = [control.state for control in self._loop.services.values()]
        return [r for s in states for r in (s.stable, s.canary) if r is not None]

    def _listeners(self) -> list[str]:
        return [control.state.listen for control in self._loop.services.values()]


def _in_place(
    state: ServiceState, wanted: Mapping[str, str], nodes: Sequence[Endpoint], health: Mapping[str, bool]
) -> Release:
    """Return the canary in place that may begin now; see `canary_in_place`."""
    _check_idle(state)
    release = canary_in_place(state, wanted, nodes)
    _check_rest(state.stable, release, health)
    return release


def _serving(state: ServiceState, version: str) -> str | None:
    """Return what a rollback of this version, or of a set of that name, is called while it serves; else None."""
    for release in (state.stable, state.canary):
        if release and version == release.name:
            return state.service
        for component, number in release.versions.items() if release else ():
            if component != WHOLE and version == part_name(component, number):
                return f"{state.service}/{component}"
    return None


def _check_rest(stable: Release, canary: Release, health: Mapping[str, bool]) -> None:
    """Servers that switch may not be the last of stable's that answer. Raises UnhealthyTarget."""
    rest = set(stable.endpoints) - set(canary.endpoints)
    if rest and not any(health.get(endpoint.address, True) for endpoint in rest):
        raise unhealthy(stable, f"none of its servers but {', '.join(e.url for e in canary.endpoints)} answers")


def _check_idle(state: ServiceState) -> None:
    if state.canary is not None:
        raise RolloutInProgress(service=state.service, release=state.canary.name)
    if state.phase is not Phase.IDLE:
        raise illegal(state, "followed by another one yet")


def _check_not_condemned(control: ServiceControl) -> None:
    """A person may overrule a delay, but traffic given to what was proven harmful would be gone within a tick."""
    if control.verdict.word is Word.HARMFUL:
        why = "; ".join(control.verdict.reasons)
        raise RefusedError(
            detail=f"the canary was judged harmful ({why}); roll it back, or abort and release it again."
        )


async def _begin(
    control: ServiceControl, release: Release, plan: Plan, *, actor: str, reason: str, in_place: bool = False
) -> None:
    """Start a rollout. Raises VersionTaken, Quarantined."""
    _check_allowed(control.state, release)
    facts: dict[str, Any] = {"release": release.as_json(), "plan": plan.as_json(), "in_place": in_place}
    why = reason or f"{control.state.stable.name} -> {release.name}"
    await control.commit(Decision(Kind.STARTED, why, facts), actor=actor)


def _check_allowed(state: ServiceState, release: Release) -> None:
    if release.name == state.stable.name:
        raise VersionTaken(service=state.service, version=release.name, what="stable")
    if found := state.quarantined_in(release):
        raise Quarantined(service=state.service, version=found[0], why=found[1])
