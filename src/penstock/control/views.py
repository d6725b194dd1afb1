"""What the control plane shows: status, explanation, outcome. Plain JSON values, stable for scripts."""

from collections.abc import Mapping
from typing import Any

from penstock.control.service import ServiceControl
from penstock.ports.gateway import NodeStatus
from penstock.registry.release import Endpoint, Release
from penstock.rollout.entry import Entry, Kind
from penstock.rollout.phases import Phase
from penstock.rollout.state import ServiceState

#: Above this share of requests without an identity the split is hardly sticky. Source: the issue's own limit.
_ANONYMOUS_RATIO = 0.5


def status_of(control: ServiceControl, nodes: tuple[NodeStatus, ...], failure: str | None) -> dict[str, Any]:
    """Return the service as `penstock status -o json` prints it; `failure`: what ails the whole control plane."""
    state = control.state
    return {
        "service": state.service,
        "phase": state.phase.value,
        "generation": state.generation,
        "applied_generation": state.applied_generation,
        "gateway_url": f"http://{state.listen}",
        "stable": release_view(state.stable),
        "canary": release_view(state.canary) if state.canary else None,
        "warm": release_view(state.warm) if state.warm else None,
        "weight_pct": state.weight_pct,
        "verdict": control.verdict.word.value if state.canary else None,
        "nodes": [{"id": n.id, "generation": n.generation, "live": n.live} for n in nodes],
        "servers": [_server_view(endpoint, held) for endpoint, held in control.nodes.held.items()],
        "rollout": state.rollout,
        "step": state.step,
        "steps": [step.weight_pct for step in state.plan.steps] if state.plan else [],
        "reason": state.reason,
        "waiting_for": control.waiting,
        "unhealthy": [release.name for release in control.dead],
        "trouble": failure or control.trouble,
        "warnings": _warnings(control, nodes),
        "evidence": control.verdict.as_json() if state.canary else None,
        "n_requests": control.traffic.n_requests,
        "n_overridden": control.traffic.n_overridden,
        "outcome": outcome_of(state),
        "quarantined": [{"version": version, "why": why} for version, why in state.quarantine.values()],
    }


def release_view(release: Release) -> dict[str, Any]:
    """Return a release as people script against it."""
    return {
        "release": release.name,
        "number": release.number,
        "versions": dict(release.versions),
        "endpoints": [endpoint.url for endpoint in release.endpoints],
        "digest": release.digest,
    }


def _server_view(endpoint: Endpoint, held: Mapping[str, tuple[str, ...]] | None) -> dict[str, Any]:
    in_memory = None if held is None else {component: list(versions) for component, versions in held.items()}
    return {"url": endpoint.url, "in_memory": in_memory}


def outcome_of(state: ServiceState) -> dict[str, Any] | None:
    """Return how the last rollout ended or stopped, or None while it runs. `applied_at` comes with the journal."""
    if state.outcome is None:
        return None
    outcome = state.outcome
    return {
        "outcome": outcome.word,
        "rollout": outcome.rollout,
        "reason": outcome.reason,
        "generation": outcome.generation,
        "decided_at": outcome.decided_at,
        "n_canary_requests": outcome.n_canary_requests,
        "final": state.phase in (Phase.IDLE, Phase.HELD),
    }


def applied_at(entries: list[Entry], generation: int) -> str | None:
    """Return when every live gateway had acknowledged this generation or a newer one, RFC 3339, or None."""
    for entry in entries:
        if entry.kind is Kind.APPLIED and entry.facts["applied"] >= generation:
            return str(entry.as_json()["at"])
    return None


def explanation_of(control: ServiceControl, entries: list[Entry]) -> dict[str, Any]:
    """Return why the service is where it is, with the numbers the last judgement rested on."""
    state = control.state
    judged = next((e for e in reversed(entries) if "verdict" in e.facts), None)
    live = control.verdict.as_json() if state.canary else None
    verdict = live or (judged.facts["verdict"] if judged else None)
    decision = next((e for e in reversed(entries) if e.kind not in _CONSEQUENCES), None)
    return {
        "service": state.service,
        "phase": state.phase.value,
        "what": decision.as_json() if decision else None,
        "why": state.reason,
        "waiting_for": control.waiting,
        "verdict": verdict,
        "verdict_at": "now" if live else judged.as_json()["at"] if judged else None,
        "assumptions": _assumptions(state),
        "rollback_budget_pct": state.plan.limits.alpha * 100 if state.plan else None,
    }


#: These follow from a decision and explain nothing.
_CONSEQUENCES = frozenset({Kind.APPLIED, Kind.ROLLED_BACK, Kind.ABORTED})


def _assumptions(state: ServiceState) -> list[str]:
    if state.plan is None:
        return []
    said = [
        f"a healthy machine never stalls for longer than {state.plan.longest_stall_s:g} s (longest_stall)",
        "block length and patience with gross faults follow from that",
        "stalls of different pods are independent",
    ]
    if state.canary and len(state.canary.endpoints) == 1:
        said.append("there is one canary pod: a stall of it looks like a fault until it outlasts the longest stall")
    if state.stable.digest is None or (state.canary and state.canary.digest is None):
        said.append("no digest known for every release: quarantine goes by version")
    return said


def _warnings(control: ServiceControl, nodes: tuple[NodeStatus, ...]) -> list[str]:
    said = [_dead_words(control, release) for release in control.dead]
    if not any(node.live for node in nodes):
        said.append("no gateway is connected: nothing that is decided comes into force")
    said += [f"{node.address} is out of rotation: {why}" for node, why in control.nodes.trouble.items()]
    if control.state.canary and control.traffic.n_in_rollout == 0:
        said.append("no traffic: nothing can be judged until requests come through the gateway")
    if control.state.canary and control.state.plan and control.state.plan.steep:
        said.append(f"a steep plan: {control.state.plan.steep}")
    anonymous_ratio = control.traffic.anonymous_ratio
    if anonymous_ratio is not None and anonymous_ratio > _ANONYMOUS_RATIO:
        identity = control.state.identity
        said.append(
            f"{100 * anonymous_ratio:.0f} % of the last minute's requests carry no identity: send {identity.header}, "
            f"or keep the cookie {identity.cookie}, else users may flip between releases"
        )
    return said


def _dead_words(control: ServiceControl, release: Release) -> str:
    """Say whose servers are down, and who serves its users meanwhile."""
    state = control.state
    other = state.stable if release == state.canary else state.canary
    if other is None or other in control.dead:
        return f"no endpoint of {release.name} answers: nobody is served"
    return f"no endpoint of {release.name} answers: {other.name} serves its users as far as it can"
