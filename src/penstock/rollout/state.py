"""What a service's journal entries add up to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from penstock.registry.release import Endpoint, Release
from penstock.rollout.entry import Entry, Kind
from penstock.rollout.phases import Phase, next_phase
from penstock.rollout.plan import Plan, plan_from
from penstock.routing.bucket import weight_of_pct
from penstock.routing.table import Identity, RouteTable

#: Withdrawals further apart than this do not add up. Source: JUDGE section 10.2c (a healthy hour has up to ten with stalls),
#: so a count over a day's bake would end every one of them.
_WITHDRAWALS_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last rollout, or the last rollback of a finished one, ended or stopped.

    Attributes:
        word: `promoted`, `rolled_back`, `aborted` or `paused`.
        rollout: the number of the rollout it belongs to.
        reason: one sentence.
        generation: of the decision.
        decided_at: RFC 3339, when the decision was journalled.
        n_canary_requests: users' requests the canary answered.
    """

    word: str
    rollout: int
    reason: str
    generation: int
    decided_at: str
    n_canary_requests: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as its journal tells it.

    Attributes:
        service: name.
        listen: `host:port` of its gateway listener.
        identity: how its users are recognised.
        phase: what it is doing.
        generation: grows with every entry that changes routing.
        applied_generation: the newest that every live gateway acknowledged.
        seq: the newest entry's.
        stable: serves what the canary does not.
        canary: being metered in, or None.
        warm: the stable release before this one, or None; also None where its versions are kept inside the same servers.
        in_place: the canary is served by some of stable's own servers, which switched to it.
        plan: of the running rollout, or the last one.
        rollout: how many rollouts there have been.
        step: index into plan.steps, -1 before the first.
        weight_pct: the canary's share now, 0..100.
        reason: why it is in this phase.
        actor: who brought it there.
        withdrawn_from: the phase a withdrawn rollout goes back to.
        withdrawals: when the canary was withdrawn, oldest first, those within an hour of the newest.
        ending: `rolled_back` or `aborted` while rolling back.
        promoted: every release that was stable, oldest first; the newest is `stable`.
        quarantine: quarantine key -> (version, why).
        outcome: of the last rollout that ended or stopped.
        left: what the last rollback took out of traffic, until another rollout begins; or None.
        n_releases: how many releases there have been.
    """

    service: str
    listen: str
    identity: Identity
    stable: Release
    phase: Phase = Phase.IDLE
    generation: int = 0
    applied_generation: int = 0
    seq: int = 0
    canary: Release | None = None
    warm: Release | None = None
    in_place: bool = False
    plan: Plan | None = None
    rollout: int = 0
    step: int = -1
    weight_pct: float = 0.0
    reason: str = ""
    actor: str = ""
    withdrawn_from: Phase | None = None
    withdrawals: tuple[datetime, ...] = ()
    ending: str | None = None
    promoted: tuple[Release, ...] = ()
    quarantine: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    outcome: Outcome | None = None
    left: Release | None = None
    n_releases: int = 1

    @property
    def n_withdrawals(self) -> int:
        """How often the canary was withdrawn within an hour; healthy machines hang a few times in one."""
        return len(self.withdrawals)

    @property
    def split_inside(self) -> bool:
        """Whether both arms are served by the same processes, which choose by what the gateway marked."""
        return self.canary is not None and self.canary.shares_servers(self.stable)

    @property
    def salt(self) -> str:
        """Each rollout splits users anew, so that the same people are not always first."""
        return f"{self.service}:{self.rollout}:"

    @property
    def step_weight_pct(self) -> float:
        """The weight of the step the rollout is on; 0 before the first."""
        return self.plan.steps[self.step].weight_pct if self.plan and self.step >= 0 else 0.0

    def why_quarantined(self, release: Release) -> str | None:
        """Return why the release may not be served, or None."""
        found = self.quarantined_in(release)
        return found[1] if found else None

    def quarantined_in(self, release: Release) -> tuple[str, str] | None:
        """Return the release's, or its first component's, quarantined version and why; or None."""
        return next((self.quarantine[key] for key in release.quarantine_keys if key in self.quarantine), None)

    def table(self) -> RouteTable:
        """Return what the gateways must serve in this state."""
        judged = self.canary is not None and self.phase is not Phase.ROLLING_BACK
        return RouteTable(
            service=self.service,
            generation=self.generation,
            listen=self.listen,
            stable=self.stable,
            canary=self.canary,
            warm=self.warm if self.canary is None else None,
            weight=weight_of_pct(self.weight_pct) if self.canary else 0,
            salt=self.salt,
            overrides=judged,
            identity=self.identity,
            request_timeout_s=self.plan.request_timeout_s if self.plan else 300.0,
            repeatable=self.plan.repeatable if self.plan else (),
        )


def fold(entries: Iterable[Entry]) -> dict[str, ServiceState]:
    """Return every service's state after these entries (oldest first)."""
    states: dict[str, ServiceState] = {}
    for entry in entries:
        states[entry.service] = evolve(states.get(entry.service), entry)
    return states


def evolve(state: ServiceState | None, entry: Entry) -> ServiceState:
    """Return the state after one more entry. Raises IllegalTransition where the table forbids it."""
    if state is None:
        return _adopted(entry)
    phase = next_phase(state.phase, entry.kind, entry.facts.get("phase"))
    moved = replace(state, phase=phase, generation=entry.generation, seq=entry.seq)
    if phase is not state.phase or entry.kind in _SPEAKING:
        moved = replace(moved, reason=entry.reason, actor=entry.actor)
    return _EVOLVE[entry.kind](moved, entry)


#: These say something new even when the phase stays.
_SPEAKING = frozenset({Kind.STEPPED, Kind.HELD, Kind.PROMOTED})


def _adopted(entry: Entry) -> ServiceState:
    facts = entry.facts
    release = Release.from_json(facts["release"])
    return ServiceState(
        service=entry.service,
        listen=facts["listen"],
        identity=Identity(**facts["identity"]),
        stable=release,
        generation=entry.generation,
        seq=entry.seq,
        reason=entry.reason,
        actor=entry.actor,
        promoted=(release,),
    )


def _readopted(state: ServiceState, entry: Entry) -> ServiceState:
    return replace(state, listen=entry.facts["listen"], identity=Identity(**entry.facts["identity"]))


def _started(state: ServiceState, entry: Entry) -> ServiceState:
    canary = Release.from_json(entry.facts["release"])
    in_place = bool(entry.facts.get("in_place"))
    return replace(
        state,
        canary=canary,
        stable=_without(state.stable, canary) if in_place else state.stable,
        in_place=in_place,
        plan=plan_from(entry.facts["plan"]),
        rollout=state.rollout + 1,
        n_releases=state.n_releases + 1,
        step=-1,
        weight_pct=0.0,
        withdrawals=(),
        withdrawn_from=None,
        ending=None,
        outcome=None,
        left=None,
    )


def _stepped(state: ServiceState, entry: Entry) -> ServiceState:
    return replace(state, step=entry.facts["step"], weight_pct=entry.facts["weight_pct"], outcome=None)


def _held(state: ServiceState, entry: Entry) -> ServiceState:
    outcome = _outcome(state, entry, "paused") if entry.facts.get("paused") else state.outcome
    return replace(state, withdrawn_from=None, weight_pct=entry.facts["weight_pct"], outcome=outcome)


def _resumed(state: ServiceState, entry: Entry) -> ServiceState:
    return replace(state, weight_pct=entry.facts["weight_pct"], outcome=None)


def _withdrawn(state: ServiceState, entry: Entry) -> ServiceState:
    recent = tuple(at for at in state.withdrawals if entry.at - at <= _WITHDRAWALS_WITHIN)
    from_phase = Phase(entry.facts["from"])
    return replace(state, weight_pct=0.0, withdrawals=(*recent, entry.at), withdrawn_from=from_phase)


def _restored(state: ServiceState, entry: Entry) -> ServiceState:
    return replace(state, weight_pct=entry.facts["weight_pct"], step=entry.facts["step"], withdrawn_from=None)


def _promoted(state: ServiceState, entry: Entry) -> ServiceState:
    assert state.canary is not None  # noqa: S101 - the table allows it from BAKING alone, which has a canary
    stable = replace(state.canary, endpoints=_fleet(state)) if state.in_place else state.canary
    return replace(
        state,
        stable=stable,
        warm=None if state.in_place else state.stable,
        in_place=False,
        canary=None,
        step=-1,
        weight_pct=0.0,
        promoted=(*state.promoted, stable),
        outcome=_outcome(state, entry, "promoted"),
    )


def _rolling_back(state: ServiceState, entry: Entry) -> ServiceState:
    facts = entry.facts
    target = Release.from_json(facts["to"])
    quarantine = dict(state.quarantine)
    if marked := facts.get("quarantine"):
        quarantine[marked["key"]] = (marked["version"], entry.reason)
    promoted = state.promoted
    if state.ending is not None and state.canary is None:  # it replaces a rollback that led nowhere
        promoted = promoted[:-1]
    return replace(
        state,
        stable=_without(target, state.canary) if state.in_place and state.canary else target,
        left=Release.from_json(facts["from"]) if "from" in facts else None,
        warm=None,
        weight_pct=0.0,
        ending=facts["ending"],
        quarantine=quarantine,
        n_releases=max(state.n_releases, target.number),
        promoted=promoted if promoted and target.number == promoted[-1].number else (*promoted, target),
        outcome=_outcome(state, entry, facts["ending"]),
        withdrawn_from=None,
    )


def _ended(state: ServiceState, _: Entry) -> ServiceState:
    whole = replace(state.stable, endpoints=_fleet(state)) if state.in_place else state.stable
    return replace(state, stable=whole, canary=None, in_place=False, step=-1, ending=None)


def _without(stable: Release, canary: Release) -> Release:
    """Servers that switch to the canary leave stable's rotation; where there is no other, both are served inside."""
    rest = tuple(endpoint for endpoint in stable.endpoints if endpoint not in canary.endpoints)
    return replace(stable, endpoints=rest or stable.endpoints)


def _fleet(state: ServiceState) -> tuple[Endpoint, ...]:
    """Return every server of both releases."""
    canary = state.canary.endpoints if state.canary else ()
    return tuple(dict.fromkeys((*state.stable.endpoints, *canary)))


def _fell_back(state: ServiceState, _: Entry) -> ServiceState:
    return replace(state, weight_pct=0.0, withdrawn_from=None)


def _quarantined(state: ServiceState, entry: Entry) -> ServiceState:
    marked = entry.facts
    return replace(state, quarantine={**state.quarantine, marked["key"]: (marked["version"], entry.reason)})


def _unquarantined(state: ServiceState, entry: Entry) -> ServiceState:
    kept = {key: value for key, value in state.quarantine.items() if value[0] != entry.facts["version"]}
    return replace(state, quarantine=kept)


def _unchanged(state: ServiceState, _: Entry) -> ServiceState:
    return state


def _applied(state: ServiceState, entry: Entry) -> ServiceState:
    return replace(state, applied_generation=entry.facts["applied"])


def _outcome(state: ServiceState, entry: Entry, word: str) -> Outcome:
    return Outcome(
        word=word,
        rollout=state.rollout,
        reason=entry.reason,
        generation=entry.generation,
        decided_at=entry.as_json()["at"],
        n_canary_requests=entry.facts.get("n_canary_requests", 0),
    )


_EVOLVE: Mapping[Kind, Callable[[ServiceState, Entry], ServiceState]] = {
    Kind.ADOPTED: _readopted,
    Kind.STARTED: _started,
    Kind.STEPPED: _stepped,
    Kind.BAKING: _stepped,
    Kind.HELD: _held,
    Kind.RESUMED: _resumed,
    Kind.WITHDRAWN: _withdrawn,
    Kind.RESTORED: _restored,
    Kind.PROMOTED: _promoted,
    Kind.ROLLING_BACK: _rolling_back,
    Kind.ROLLED_BACK: _ended,
    Kind.ABORTED: _ended,
    Kind.FELL_BACK: _fell_back,
    Kind.QUARANTINED: _quarantined,
    Kind.UNQUARANTINED: _unquarantined,
    Kind.LENGTHENED: _unchanged,
    Kind.APPLIED: _applied,
}
