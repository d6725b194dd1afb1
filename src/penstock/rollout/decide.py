"""What to do next. Pure: the same state and the same observation always give the same decision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.judge.verdict import Verdict, Word
from penstock.rollout.entry import Kind
from penstock.rollout.phases import Phase
from penstock.rollout.plan import OnFailure, Plan
from penstock.rollout.state import ServiceState

#: Evidence against the canary above which it may not be given more traffic, though it is not condemned.
#: Source: JUDGE section 10.6 (promote only while B < 20).
SUSPICIOUS = 20.0
#: A canary that no gateway can reach for this long, seconds, is given up before its first user.
_PREFLIGHT_S = 60.0
#: First quiet time, and longest, before a withdrawn canary gets its traffic back, as multiples of the longest stall.
#: Source: JUDGE section 10.5d (30..300 s at a longest stall of 60 s).
QUIET_FIRST, QUIET_LONGEST = 0.5, 5.0
#: The weight, percent, on which a canary comes back that could not be tested while it was withdrawn: at least this,
#: or a tenth of what it had. Source: JUDGE section 10.6.
_BLIND_PCT, _BLIND_SHARE = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known at one moment.

    Attributes:
        verdict: the judge's.
        in_phase_s: monotonic seconds since the phase, and the step, were entered and acknowledged.
        n_on_step: users' requests the canary answered since then.
        applied: whether every live gateway acknowledged the state's generation.
        stable_healthy: whether a gateway can reach an endpoint of stable.
        canary_healthy: the same for the canary.
        probed: whether every recorded request was replayed since the canary was withdrawn.
        loading: what servers that switch in place still load, in words; empty when nothing.
        refusal: why a server of the canary will not load it; empty when none said so.
    """

    verdict: Verdict
    in_phase_s: float = 0.0
    n_on_step: int = 0
    applied: bool = True
    stable_healthy: bool = True
    canary_healthy: bool = True
    probed: bool = False
    loading: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next entry, or None for its kind when there is nothing to do but wait.

    Attributes:
        kind: what is decided.
        reason: one sentence; for a waiting rollout, what it waits for.
        facts: what the entry must carry.
    """

    kind: Kind | None
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def decide(state: ServiceState, seen: Observed) -> Decision:
    """Return the next decision about a service.

    The first rule that has something to say wins: end what is being rolled back, never send traffic where nobody
    answers, obey the judge, then the phase's own rule.
    """
    if state.canary is None and state.phase is not Phase.ROLLING_BACK:
        return Decision(None, "")
    for rule in (_end, _fall_back, _condemn, _withdraw):
        if decision := rule(state, seen):
            return decision
    return _BY_PHASE[state.phase](state, seen)


def rolling_back(
    state: ServiceState, verdict: Verdict | None, reason: str, *, ending: str = "rolled_back", quarantine: bool = True
) -> Decision:
    """Return the decision that takes the canary out of traffic and lets stable serve."""
    facts: dict[str, Any] = {"to": state.stable.as_json(), "ending": ending}
    if state.canary:
        facts["from"] = state.canary.as_json()
        if quarantine:
            facts["quarantine"] = {"key": state.canary.quarantine_key, "version": state.canary.name}
    if verdict is not None:
        facts["verdict"] = verdict.as_json()
        facts["n_canary_requests"] = verdict.n_canary
    return Decision(Kind.ROLLING_BACK, reason, facts)


def held(state: ServiceState, reason: str, *, weight_pct: float, paused: bool, n_canary: int = 0) -> Decision:
    """Return the decision that stops a rollout where it is; `paused` when it cannot go on without a person."""
    facts = {"from": stage_of(state).value, "weight_pct": weight_pct, "paused": paused, "n_canary_requests": n_canary}
    return Decision(Kind.HELD, reason, facts)


def next_step(state: ServiceState, reason: str, *, full: bool = False) -> Decision:
    """Return the decision that gives the canary its next step, or with `full` everybody."""
    plan = _plan(state)
    on_trickle = 0 < state.weight_pct < state.step_weight_pct  # it came back blind, and has not had its step yet
    after = state.step if on_trickle else state.step + 1
    step = len(plan.steps) - 1 if full else min(after, len(plan.steps) - 1)
    kind = Kind.BAKING if step == len(plan.steps) - 1 else Kind.STEPPED
    return Decision(kind, reason, {"step": step, "weight_pct": plan.steps[step].weight_pct})


def stage_of(state: ServiceState) -> Phase:
    """Return where a rollout stands when holds and withdrawals are taken away: preflight, stepping or baking."""
    if state.step < 0 or state.plan is None:
        return Phase.PREFLIGHT
    return Phase.BAKING if state.step == len(state.plan.steps) - 1 else Phase.STEPPING


def quiet_needed_s(state: ServiceState) -> float:
    """Return how long a withdrawn canary must behave before it gets traffic again, seconds; doubles each time."""
    return quiet_after_s(_plan(state).longest_stall_s, state.n_withdrawals)


def quiet_after_s(longest_stall_s: float, n_withdrawals: int) -> float:
    """Return the same for a canary that was withdrawn `n_withdrawals` times, >= 1."""
    doublings = min(n_withdrawals - 1, 10)  # by then the longest is reached, and no power overflows
    return min(longest_stall_s * QUIET_FIRST * 2.0**doublings, longest_stall_s * QUIET_LONGEST)


def _end(state: ServiceState, seen: Observed) -> Decision | None:
    if state.phase is not Phase.ROLLING_BACK:
        return None
    if not seen.applied:
        return Decision(None, "waiting for gateways to acknowledge the rollback")
    kind = Kind.ABORTED if state.ending == "aborted" else Kind.ROLLED_BACK
    return Decision(kind, f"every live gateway acknowledged; {state.stable.name} serves")


def _fall_back(state: ServiceState, seen: Observed) -> Decision | None:
    if state.phase is Phase.FALLBACK or seen.stable_healthy or seen.canary_healthy:
        return None
    reason = f"neither {state.stable.name} nor {_canary_name(state)} has a healthy endpoint"
    return Decision(Kind.FELL_BACK, reason, {"from": stage_of(state).value})


def _condemn(state: ServiceState, seen: Observed) -> Decision | None:
    if seen.verdict.word is not Word.HARMFUL or state.phase is Phase.FALLBACK:
        return None
    why = _because(seen.verdict)
    if not seen.stable_healthy:
        return Decision(None, f"{_canary_name(state)} is harmful, but stable has no healthy endpoint: {why}")
    if _plan(state).on_failure is OnFailure.ROLLBACK:
        return rolling_back(state, seen.verdict, why)
    if state.phase is Phase.HELD and state.weight_pct == 0:
        return None
    return held(state, why, weight_pct=0.0, paused=True, n_canary=seen.verdict.n_canary)


def _withdraw(state: ServiceState, seen: Observed) -> Decision | None:
    if not seen.verdict.alarm or state.weight_pct == 0 or not seen.stable_healthy:
        return None
    facts = {"from": state.phase.value, "verdict": seen.verdict.as_json(), "was_pct": state.weight_pct}
    return Decision(Kind.WITHDRAWN, _because(seen.verdict), facts)


def _preflight(state: ServiceState, seen: Observed) -> Decision:
    blind = seen.verdict.word is Word.BLIND
    if seen.refusal:
        return rolling_back(state, None, seen.refusal, ending="aborted", quarantine=False)
    if seen.loading:
        return Decision(None, f"waiting for {seen.loading}")
    if seen.applied and seen.canary_healthy and not blind:
        return next_step(state, f"{_canary_name(state)} answers")
    if seen.in_phase_s > _PREFLIGHT_S:
        why = f"no endpoint of {_canary_name(state)} became healthy within {_PREFLIGHT_S:.0f} s"
        return rolling_back(state, None, why, ending="aborted", quarantine=False)
    return Decision(None, _because(seen.verdict) if blind else f"waiting for a gateway to reach {_canary_name(state)}")


def _stepping(state: ServiceState, seen: Observed) -> Decision:
    if waiting := _not_yet(state, seen) or _over_budget(state, seen.verdict):
        return Decision(None, waiting)
    proven = "" if seen.verdict.word is Word.HEALTHY else ", not proven equal"
    return next_step(state, f"{seen.n_on_step} requests in {seen.in_phase_s:.0f} s without harm{proven}")


def _baking(state: ServiceState, seen: Observed) -> Decision:
    if waiting := _not_yet(state, seen):
        return Decision(None, waiting)
    proven = "" if seen.verdict.word is Word.HEALTHY else ", not proven equal"
    if proven and _plan(state).require_proof:
        return _unproven(state, seen)
    reason = f"served everybody for {seen.in_phase_s:.0f} s without harm{proven}"
    facts = {"n_canary_requests": seen.verdict.n_canary, "verdict": seen.verdict.as_json()}
    return Decision(Kind.PROMOTED, reason, facts)


def _unproven(state: ServiceState, seen: Observed) -> Decision:
    """Wait for the proof that the plan requires; a person decides when it does not come."""
    plan, why = _plan(state), _because(seen.verdict)
    if seen.in_phase_s <= plan.prove_within_s:
        return Decision(None, f"waiting for proof: {why}")
    reason = f"inconclusive after {seen.in_phase_s:.0f} s: {why}"
    return held(state, reason, weight_pct=state.weight_pct, paused=True, n_canary=seen.verdict.n_canary)


def _over_budget(state: ServiceState, verdict: Verdict) -> str | None:
    """Return why the next step could cost too many requests, or None. Source: JUDGE section 5."""
    budget = _plan(state).budget_ratio
    weight_pct = next_step(state, "").facts["weight_pct"]
    at_risk = verdict.failure_bound_ratio * weight_pct / 100.0
    if budget is None or at_risk <= budget:
        return None
    bound = f"the canary may still fail {100 * verdict.failure_bound_ratio:.3g} % of its requests"
    return f"{bound}, at {weight_pct:g} % that is {100 * at_risk:.3g} % of all (budget {100 * budget:.3g} %)"


def _not_yet(state: ServiceState, seen: Observed) -> str | None:
    """Return what keeps the canary from more traffic, or None."""
    plan, verdict = _plan(state), seen.verdict
    dwell_s = _dwell_needed_s(state)
    checks = (
        (not seen.applied, "waiting for gateways to acknowledge"),
        (not seen.canary_healthy, f"no endpoint of {_canary_name(state)} is healthy"),
        (bool(seen.loading), f"waiting for {seen.loading}"),
        (verdict.word is Word.BLIND, f"blind: {_because(verdict)}"),
        (seen.in_phase_s < dwell_s, f"dwelling {seen.in_phase_s:.0f} of {dwell_s:.0f} s"),
        (seen.n_on_step < plan.min_requests, f"{seen.n_on_step} of {plan.min_requests} requests on this step"),
        (verdict.evidence >= SUSPICIOUS or verdict.gross_s > 0, f"suspicious: {_because(verdict)}"),
        (bool(verdict.holds), f"on hold: {'; '.join(verdict.holds)}"),
    )
    return next((why for blocked, why in checks if blocked), None)


def _dwell_needed_s(state: ServiceState) -> float:
    """Return how long the canary must hold its step. One that was withdrawn before must hold it longer.

    Before it is promoted it must go without another withdrawal for several stalls: what looked harmful once was harmful
    or a stall, and a stall does not come back that often. Source: JUDGE section 10.6 (k unchanged before promotion).
    """
    plan = _plan(state)
    dwell_s = plan.steps[state.step].dwell_s
    if state.n_withdrawals == 0:
        return dwell_s
    last = stage_of(state) is Phase.BAKING
    return max(dwell_s, plan.longest_stall_s * QUIET_LONGEST if last else quiet_needed_s(state))


def _withdrawn(state: ServiceState, seen: Observed) -> Decision:
    plan = _plan(state)
    if state.n_withdrawals > plan.max_withdrawals or seen.in_phase_s > plan.max_withdrawn_s:
        why = f"withdrawn {state.n_withdrawals} times within an hour and still not clear: {_because(seen.verdict)}"
        return held(state, why, weight_pct=0.0, paused=True, n_canary=seen.verdict.n_canary)
    back_to = state.withdrawn_from or Phase.STEPPING
    facts: dict[str, Any] = {"phase": back_to.value, "step": state.step, "weight_pct": state.step_weight_pct}
    if seen.verdict.word is Word.BLIND:
        return Decision(None, _because(seen.verdict))
    if seen.probed:
        needed_s, quiet_s = quiet_needed_s(state), min(seen.verdict.quiet_s, seen.in_phase_s)
        suspicious = seen.verdict.gross_s > 0 or seen.verdict.evidence >= SUSPICIOUS
        if not seen.canary_healthy or suspicious or quiet_s < needed_s:
            return Decision(None, f"testing again with replayed requests, quiet {quiet_s:.0f} of {needed_s:.0f} s")
        return Decision(Kind.RESTORED, f"behaved for {quiet_s:.0f} s under replayed requests", facts)
    if not seen.canary_healthy or seen.in_phase_s < plan.longest_stall_s * QUIET_LONGEST:
        return Decision(None, "testing again; not every recorded request was replayed yet")
    # What was seen before the withdrawal stands still while nothing can be replayed; only a trickle can tell more.
    trickle_pct = max(_BLIND_PCT, state.step_weight_pct * _BLIND_SHARE)
    on = Phase.HELD if back_to is Phase.HELD else Phase.STEPPING  # what a person held is not set going by this
    facts |= {"phase": on.value, "step": max(state.step - 1, 0), "weight_pct": trickle_pct}
    return Decision(Kind.RESTORED, f"blind: nothing could be replayed; back on {trickle_pct:g} %", facts)


def _stay_held(state: ServiceState, _: Observed) -> Decision:
    return Decision(None, state.reason)


def _fallback(state: ServiceState, seen: Observed) -> Decision:
    if not seen.stable_healthy and not seen.canary_healthy:
        return Decision(None, state.reason)
    back = state.stable.name if seen.stable_healthy else _canary_name(state)
    return held(state, f"{back} answers again", weight_pct=0.0, paused=True, n_canary=seen.verdict.n_canary)


def _because(verdict: Verdict) -> str:
    return "; ".join(verdict.reasons) or verdict.word.value


def _plan(state: ServiceState) -> Plan:
    assert state.plan is not None  # noqa: S101 - decide() returns before this for a service without a canary
    return state.plan


def _canary_name(state: ServiceState) -> str:
    return state.canary.name if state.canary else "the canary"


_BY_PHASE: Mapping[Phase, Callable[[ServiceState, Observed], Decision]] = {
    Phase.PREFLIGHT: _preflight,
    Phase.STEPPING: _stepping,
    Phase.BAKING: _baking,
    Phase.WITHDRAWN: _withdrawn,
    Phase.HELD: _stay_held,
    Phase.FALLBACK: _fallback,
}
