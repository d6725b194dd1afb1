"""The use case of going back: where to, on whose word, and what came of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from penstock.control.loop import ControlLoop
from penstock.control.preflight import answers_as
from penstock.control.service import ServiceControl
from penstock.control.views import applied_at
from penstock.kernel.errors import (
    IllegalTransition,
    Incompatible,
    NothingToRollBack,
    Quarantined,
    RolloutInProgress,
    UnhealthyTarget,
    UnknownComponent,
    UnknownRelease,
)
from penstock.kernel.names import checked_version
from penstock.registry.release import WHOLE, Release, part_name
from penstock.rollout.decide import Decision, rolling_back
from penstock.rollout.entry import Kind
from penstock.rollout.fleet import changed
from penstock.rollout.phases import Phase
from penstock.rollout.state import ServiceState
from penstock.rollout.target import (
    Candidate,
    choose_rollback_target,
    component_candidates,
    component_targets,
    named_target,
    rollback_candidates,
    with_version,
)

#: How a rollout ends whose canary was left.
_LEFT = frozenset({"rolled_back", "aborted"})


class Rollbacks:
    """Rollbacks of every service of one journal."""

    def __init__(self, loop: ControlLoop) -> None:
        self._loop = loop

    async def roll_back(
        self, service: str, component: str | None, *, to: str | None, quarantine: bool, actor: str, reason: str
    ) -> dict[str, Any]:
        """Roll back, or one component of a service whose servers switch in place.

        Returns `{"generation", "decided_at", "applied_at", "acknowledged", "nodes", "release", "versions", "confirmed",
        "changed"}`; `confirmed`: every server in rotation said that it serves them; `changed`: not everything was so
        already. Repeating it is safe: without `to`, a service whose last rollout, of this component, was left already stays
        where that led.
        """
        control = self._loop.control(service)
        async with control.lock:
            state = control.state
            part = _checked_part(state, component)
            is_back = _is_back(state, part, to)
            if not is_back:
                if state.phase is Phase.ROLLING_BACK and state.canary is not None:
                    raise illegal(state, f"rolled back to {to}")
                decision = await self._decision(control, part, to, reason, quarantine=quarantine)
                await control.commit(decision, actor=actor)
        return {**await self._acknowledged(control), "changed": not is_back}

    async def plan(self, service: str, component: str | None) -> dict[str, Any]:
        """Return `{"target", "why", "candidates"}` of a rollback that was asked for now."""
        state = self._loop.control(service).state
        part = _checked_part(state, component)
        if state.canary is not None:
            _check_meant(state, part)
            return {"target": state.stable.name, "why": "the rollout is left; stable serves on", "candidates": []}
        ranked = await self._candidates(state, part)
        target = next((c.release.name for c in ranked if c.against is None), None)
        why = "last promoted release that answers and is not quarantined"
        if part is not None:
            why = f"newest promoted {part} that is not quarantined; {_others(state, part, ranked)}"
        if _is_back(state, part, None):
            target, why = state.stable.name, "it serves since the last rollout was left; name an earlier one with --to"
        return {"target": target, "why": why, "candidates": [_candidate_view(c) for c in ranked]}

    async def _decision(
        self, control: ServiceControl, part: str | None, to: str | None, reason: str, *, quarantine: bool
    ) -> Decision:
        state = control.state
        if state.canary is not None and _leads_to_stable(state, part, to):
            return leaving(control, reason, ending="rolled_back", quarantine=quarantine)
        target = await self._target(control, part, to)
        left = state.canary or state.stable
        facts: dict[str, Any] = {"to": target.as_json(), "from": left.as_json(), "ending": "rolled_back"}
        if quarantine:
            facts["quarantine"] = _marked(left, part)
        return Decision(Kind.ROLLING_BACK, reason, facts)

    async def _target(self, control: ServiceControl, part: str | None, to: str | None) -> Release:
        """Return where to go. Raises UnhealthyTarget, NothingToRollBack, Quarantined, Incompatible, UnknownRelease."""
        state = control.state
        if part is None:
            healthy = await self._reachable(state)
            target = named_target(state, to) if to else choose_rollback_target(state, healthy)
            if healthy.get(target.number) is False:
                raise unhealthy(target)
            return target
        if to is not None:
            return await self._named(control, part, checked_version(to))
        ranked = await self._candidates(state, part)
        best = next((c.release for c in ranked if c.against is None), None)
        if best is None:
            why = (
                "; ".join(f"{c.release.versions[part]} {c.against}" for c in ranked) or f"{part} never was another one"
            )
            raise NothingToRollBack(service=state.service, why=why)
        return best

    async def _named(self, control: ServiceControl, part: str, to: str) -> Release:
        """Return the present set with a named version of one component. Raises Quarantined, Incompatible, UnknownRelease."""
        state, registering = control.state, self._loop.registering
        served = list(dict.fromkeys(r.versions[part] for r in reversed(state.promoted) if part in r.versions))
        if to not in served and not control.nodes.hold(part, to) and not await registering.has(state.service, part, to):
            known = ", ".join(part_name(part, version) for version in served)
            raise UnknownRelease(service=state.service, release=part_name(part, to), known=known)
        target = with_version(state, part, to)
        if found := state.quarantined_in(target):
            raise Quarantined(service=state.service, version=found[0], why=found[1])
        together = [
            r for r in component_targets(state, part) if r.versions[part] == to and r.versions != target.versions
        ]
        sets = [target.versions, *(release.versions for release in together)]
        objection, *others = await registering.objections(state.stable, sets)
        if objection:
            fits = (r for r, why in zip(together, others, strict=True) if not (why or state.why_quarantined(r)))
            whole = next((f"--to {release.name}" for release in fits), None)
            remedy = f"take the set along that it served in: penstock rollback {state.service} {whole}"
            no_set = "choose another version; no promoted set with this one may serve"
            raise Incompatible(service=state.service, why=objection, remedy=remedy if whole else no_set)
        return target

    async def _candidates(self, state: ServiceState, part: str | None) -> list[Candidate]:
        if part is None:
            return rollback_candidates(state, await self._reachable(state))
        answers = await answers_as(self._loop.ports.mirror, state.stable)
        sets = component_targets(state, part)
        objections = await self._loop.registering.objections(state.stable, [release.versions for release in sets])
        return component_candidates(state, sets, objections, answers=answers)

    async def _reachable(self, state: ServiceState) -> dict[int, bool]:
        """Ask the servers of every earlier release whether they still are what they were."""
        releases = {r.number: r for r in state.promoted if r.number != state.stable.number}
        outcomes = await asyncio.gather(*(answers_as(self._loop.ports.mirror, r) for r in releases.values()))
        return dict(zip(releases, outcomes, strict=True))

    async def _acknowledged(self, control: ServiceControl) -> dict[str, Any]:
        state = control.state
        nodes = [node for node in self._loop.ports.gateway.nodes(state.service) if node.live]
        entries = await self._loop.ports.journal.read(state.service)
        decided = state.outcome if state.outcome and state.outcome.word in _LEFT else None
        generation = decided.generation if decided else state.generation
        return {
            "generation": generation,
            "decided_at": decided.decided_at if decided else None,
            "applied_at": applied_at(entries, generation),
            "acknowledged": sum(node.generation >= generation for node in nodes),
            "nodes": len(nodes),
            "release": state.stable.name,
            "versions": dict(state.stable.versions),
            "confirmed": all(control.nodes.confirmed(e) for e in control.table().stable.endpoints),
        }


def leaving(control: ServiceControl, why: str, *, ending: str, quarantine: bool) -> Decision:
    """Return the decision that ends a rollout. Raises UnhealthyTarget where stable could not take over."""
    stable = control.state.stable
    if stable in control.dead:
        raise unhealthy(stable)
    return rolling_back(control.state, control.verdict, why, ending=ending, quarantine=quarantine)


def illegal(state: ServiceState, wanted: str) -> IllegalTransition:
    """Return the error for a command that the phase does not allow."""
    return IllegalTransition(phase=state.phase.value.replace("_", " "), wanted=wanted)


def unhealthy(release: Release, why: str = "none of its endpoints answers") -> UnhealthyTarget:
    """Return the error for a release that could not take the traffic."""
    return UnhealthyTarget(service=release.service, release=release.name, why=why)


def _checked_part(state: ServiceState, component: str | None) -> str | None:
    """Return the component that goes back alone; None for a service that is released whole. Raises UnknownComponent."""
    if component is None or component in state.stable.versions:
        return None if component == WHOLE else component
    raise UnknownComponent(service=state.service, component=component, known=", ".join(state.stable.versions))


def _check_meant(state: ServiceState, part: str | None) -> None:
    """A rollout of one component is not ended by who wants another one back. Raises RolloutInProgress."""
    if state.canary is not None and part is not None and part not in changed(state.stable, state.canary):
        raise RolloutInProgress(service=state.service, release=state.canary.name)


def _leads_to_stable(state: ServiceState, part: str | None, to: str | None) -> bool:
    _check_meant(state, part)
    return to in (None, state.stable.name if part is None else state.stable.versions[part])


def _is_back(state: ServiceState, part: str | None, to: str | None) -> bool:
    """Whether a rollback has nothing to do: it is under way, or over already.

    Without a target the end of the last rollout counts, for a component where it changed that one: who asks twice, or while
    the judge does the same, must not lose the good release as well.
    """
    stable = state.stable.name if part is None else state.stable.versions[part]
    if state.phase is Phase.ROLLING_BACK:
        return to in (None, stable)
    if to is not None:
        return state.canary is None and to == stable
    over = state.phase is Phase.IDLE and state.outcome is not None and state.outcome.word in _LEFT
    return over and (part is None or state.left is None or part in changed(state.stable, state.left))


def _marked(left: Release, part: str | None) -> dict[str, str]:
    """Return what quarantine keeps: the guilty component's version, where one is named."""
    if part is None:
        return {"key": left.quarantine_key, "version": left.name}
    name = part_name(part, left.versions[part])
    return {"key": f"version:{name}", "version": name}


def _others(state: ServiceState, part: str, ranked: Sequence[Candidate]) -> str:
    """Say what becomes of the other components in the first candidate."""
    others = {c: v for c, v in changed(state.stable, ranked[0].release).items() if c != part} if ranked else {}
    along = " and ".join(f"{component} {version}" for component, version in others.items())
    return f"it does not fit alone: with {along}" if along else "the other components stay as they are"


def _candidate_view(candidate: Candidate) -> dict[str, Any]:
    release = candidate.release
    return {"release": release.name, "against": candidate.against, "versions": dict(release.versions)}
