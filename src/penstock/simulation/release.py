"""One simulated release: drawn traffic, the real judge, the real decisions, no gateway and no control plane.

It is wired as control/service.py does it: what the judge says after a tick is decided on, what is decided is in force from
the next tick on. Left out: rounds of replays, which need requests with a content, so a fault that follows the request is
condemned later here than in service; and the milliseconds until gateways acknowledge.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from penstock.judge.judge import Judge
from penstock.judge.limits import MetricKind
from penstock.judge.verdict import Verdict, Word
from penstock.registry.release import WHOLE, Endpoint, Release
from penstock.rollout.decide import Decision, Observed, decide
from penstock.rollout.entry import Entry, Kind
from penstock.rollout.phases import ROUTING_KINDS, Phase
from penstock.rollout.plan import Plan
from penstock.rollout.state import ServiceState, evolve
from penstock.routing.bucket import TOTAL
from penstock.simulation.arrivals import Arrivals
from penstock.simulation.traffic import HEALTHY, Fault, Traffic

#: A release that is not over after this many times the plan's own time (an hour at least) is not waited for any longer.
_PATIENCE, _PATIENCE_S = 3.0, 3600.0

#: A tick while something has just changed. Source: the control plane's.
FINE_S = 1.0
#: ... and for how long it stays so fine: after every decision, and after the fault began.
_FRESH_S = 30.0
#: A tick after that, at least. The gross rule looks back over 10 s, so a withdrawn canary is seen no more coarsely.
_CALM_S = 5.0
#: A plan is cut into so many ticks at least, so that a day costs no more than some minutes do ...
_N_TICKS = 1800
#: ... but a pod block, which is one longest stall, is never less than two ticks.
_TICKS_PER_BLOCK = 2.0

#: Nothing reads a clock here, and no entry is kept.
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """How one simulated release went. Times and counts begin with the fault (for a healthy version with the release).

    Attributes:
        outcome: `promoted`, `rolled_back`, `paused` (a person has to look), or `unfinished`.
        withdrawn_s: until traffic was first taken away, seconds; None where it never was.
        rolled_back_s: until it was rolled back, seconds; None where it was not, or before the fault.
        full_s: from the start of the release until the canary first served everybody, seconds; None where it never did.
        promoted_s: from the start of the release until it was promoted, seconds; None where it was not.
        n_at_withdrawal: users' requests the canary had answered by `withdrawn_s`; None as there.
        n_canary: users' requests the canary answered.
        n_failed: of these, failed because of the fault; slow ones do not count as failed.
        n_users: distinct users whom the canary answered.
        away_s: how long it was withdrawn in all, seconds.
    """

    outcome: str
    withdrawn_s: float | None
    rolled_back_s: float | None
    full_s: float | None
    promoted_s: float | None
    n_at_withdrawal: int | None
    n_canary: int
    n_failed: int
    n_users: int
    away_s: float


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        traffic: what is true of the service.
        plan: how the canary is metered in.
        fault: what is wrong with it.
    """

    traffic: Traffic
    plan: Plan
    fault: Fault = HEALTHY

    @property
    def planned_s(self) -> float:
        """How long the plan takes when nothing has to be waited for, seconds."""
        return sum(step.dwell_s for step in self.plan.steps)

    @property
    def begins_s(self) -> float:
        """When the fault begins, seconds after the release."""
        return self.fault.from_ratio * self.planned_s

    @property
    def longest_s(self) -> float:
        """When a release that is not over is given up, seconds."""
        return max(_PATIENCE_S, _PATIENCE * self.planned_s)

    @property
    def tick_s(self) -> float:
        """How long a tick is while nothing happens, seconds; see `_tick_s`."""
        block_s = self.plan.longest_stall_s / _TICKS_PER_BLOCK
        return max(FINE_S, min(max(self.planned_s / _N_TICKS, _CALM_S), block_s))

    @cached_property
    def started(self) -> ServiceState:
        """The service when the release has just been started."""
        canary = _release(2, "canary", self.traffic.n_canary_pods)
        identity = {"header": "x-user-id", "cookie": "penstock_uid", "use_address": False}
        adopted = {"release": _release(1, "stable", self.traffic.n_stable_pods).as_json(), "identity": identity}
        state = evolve(None, _entry(Kind.ADOPTED, 1, adopted | {"listen": "127.0.0.1:8500"}))
        return evolve(state, _entry(Kind.STARTED, 2, {"release": canary.as_json(), "plan": self.plan.as_json()}))


class SimulatedRelease:
    """Runs one release to its end.

    Args:
        scenario: what is simulated.
        rng: source of chance; the same state gives the same release.
    """

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self._scenario, self._rng = scenario, rng
        self._state = scenario.started
        limits = scenario.plan.limits
        absolute = (one.limit for one in limits.metrics if one.kind is MetricKind.LATENCY and one.limit is not None)
        margins = (one.margin for one in limits.metrics if one.kind is MetricKind.PAIRS)
        self._arrivals = Arrivals(
            scenario.traffic,
            scenario.fault,
            begins_s=scenario.begins_s,
            limit_ms=min(absolute, default=None),
            pair_margin=next(margins, 0.0),
            rng=rng,
        )
        self._judge = Judge(
            limits,
            n_canary_pods=scenario.traffic.n_canary_pods,
            n_stable_pods=scenario.traffic.n_stable_pods,
            max_duration_s=None,
        )
        self._at_s = self._entered_s = self._away_s = 0.0
        self._n_on_step = self._n_canary = self._n_failed = 0
        self._withdrawn: tuple[float, int] | None = None
        self._over: Kind | None = None
        self._rolled_back_s: float | None = None
        self._full_s: float | None = None
        self._decide(Verdict(Word.UNDECIDED))

    def run(self) -> Told:
        """Return how it went."""
        begins_s = self._scenario.begins_s
        while self._over is None and self._at_s < self._scenario.longest_s:
            begun = self._at_s >= begins_s
            self._tick(self._at_s + self._tick_s())
            if not begun and (self._over or self._at_s >= begins_s):
                self._forget()
        promoted = self._over is Kind.PROMOTED
        return Told(
            outcome=_OUTCOMES[self._over] if self._over else "unfinished",
            withdrawn_s=self._withdrawn[0] if self._withdrawn else None,
            rolled_back_s=self._rolled_back_s,
            full_s=self._full_s,
            promoted_s=self._at_s if promoted else None,
            n_at_withdrawal=self._withdrawn[1] if self._withdrawn else None,
            n_canary=self._n_canary,
            n_failed=self._n_failed,
            n_users=self._arrivals.users.n_met(self._rng),
            away_s=self._away_s,
        )

    def _tick_s(self) -> float:
        """Return how long the next tick is: fine where something has just changed.

        The evidence is valid at any length; a coarse tick only sees later what happened in it.
        """
        coarse_s = min(self._scenario.tick_s, self._scenario.fault.shows_s / 2.0)
        since_fault_s = self._at_s - self._scenario.begins_s
        fresh_s = min(self._at_s - self._entered_s, since_fault_s if since_fault_s >= 0.0 else math.inf)
        if fresh_s < _FRESH_S:
            return FINE_S
        if self._state.phase is Phase.WITHDRAWN:
            return min(coarse_s, _CALM_S)
        return min(coarse_s, -since_fault_s) if since_fault_s < 0.0 else coarse_s

    def _tick(self, to_s: float) -> None:
        from_s, self._at_s = self._at_s, to_s
        state = self._state
        moment = self._arrivals.live(from_s, to_s, state.table().weight / TOTAL)
        self._n_canary += moment.n_canary
        self._n_failed += moment.n_failed
        self._n_on_step += moment.n_canary
        if state.phase is Phase.WITHDRAWN:
            self._away_s += to_s - from_s
            probes = self._arrivals.probes(from_s, to_s, state.step_weight_pct / 100.0)
            if probes.canary:
                self._judge.count(probes)
        self._judge.count(moment.tick)
        self._decide(self._judge.verdict(details=False))

    def _decide(self, verdict: Verdict) -> None:
        state = self._state
        seen = Observed(
            verdict=verdict,
            in_phase_s=self._at_s - self._entered_s,
            n_on_step=self._n_on_step,
            probed=self._arrivals.prober.has_gone_round,
        )
        decision = decide(state, seen)
        if decision.kind is not None:
            self._enter(decision.kind, decision)

    def _enter(self, kind: Kind, decision: Decision) -> None:
        """Put a decision in force: every gateway acknowledges at once."""
        generation = self._state.generation + (kind in ROUTING_KINDS)
        state = evolve(self._state, _entry(kind, generation, dict(decision.facts), decision.reason, self._at_s))
        self._state = state = evolve(state, _entry(Kind.APPLIED, generation, {"applied": generation, "nodes": []}))
        self._entered_s, self._n_on_step = self._at_s, 0
        if kind in (Kind.WITHDRAWN, Kind.RESTORED):
            self._judge.restart_alarm()
        if state.table().weight == TOTAL:
            self._judge.freeze_baseline()
        else:
            self._judge.thaw_baseline()
        if kind is Kind.WITHDRAWN:
            self._arrivals.prober.begin(self._at_s)
        if kind in (Kind.WITHDRAWN, Kind.ROLLING_BACK, Kind.HELD) and self._withdrawn is None:
            self._withdrawn = self._since_fault_s, self._n_canary
        if kind is Kind.BAKING and self._full_s is None:
            self._full_s = self._at_s
        if kind is Kind.ROLLING_BACK:
            self._rolled_back_s = self._since_fault_s
        if kind in _OUTCOMES:
            self._over = kind

    @property
    def _since_fault_s(self) -> float:
        return self._at_s - self._scenario.begins_s

    def _forget(self) -> None:
        """The fault begins, or the release was over before: what was seen until now says nothing about the fault."""
        self._withdrawn = self._rolled_back_s = None
        self._n_canary = self._n_failed = 0
        self._away_s = 0.0
        self._arrivals.users.forget()


#: What ends a simulated release. Nobody resumes what is held.
_OUTCOMES = {Kind.PROMOTED: "promoted", Kind.ROLLING_BACK: "rolled_back", Kind.HELD: "paused"}


def _release(number: int, name: str, n_pods: int) -> Release:
    endpoints = tuple(Endpoint("http", name, port) for port in range(1, n_pods + 1))
    return Release("simulated", number, name, {WHOLE: name}, endpoints)


def _entry(kind: Kind, generation: int, facts: dict[str, Any], reason: str = "", at_s: float = 0.0) -> Entry:
    at = _BEGIN + timedelta(seconds=at_s)
    return Entry(0, at, "simulated", kind, "judge", reason, generation, facts, "")
