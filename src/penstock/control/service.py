"""One service under control: its state, its judge, and the step from a decision to what the gateways serve."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from penstock.control.drivers import Ports
from penstock.control.judging import Judging, counts_of
from penstock.control.nodes import Nodes
from penstock.control.probing import Prober
from penstock.control.traffic import Traffic
from penstock.judge.counts import Round, Tick
from penstock.judge.verdict import Verdict, Word
from penstock.kernel.errors import (
    ConflictError,
    FencedOff,
    GatewayFailed,
    GatewayRefused,
    GatewaySilent,
    JournalDamaged,
    JournalUnwritable,
    PortTaken,
    StaleGeneration,
)
from penstock.ports.telemetry import ServiceReading
from penstock.registry.release import Endpoint, Release
from penstock.rollout.decide import Decision, Observed, decide, held
from penstock.rollout.entry import Draft, Entry, Kind, unwritten
from penstock.rollout.fleet import wanted
from penstock.rollout.phases import ROUTING_KINDS, Phase
from penstock.rollout.state import ServiceState, evolve
from penstock.routing.bucket import TOTAL
from penstock.routing.table import RouteTable

_log = logging.getLogger("penstock.control")

#: Recorded requests per second, so that a withdrawn canary can be tested at once.
_SAMPLES_HZ = 2.0
#: The journal took nothing: what cannot be written may not be in force, and the next try may succeed.
NOT_WRITTEN = (JournalUnwritable, JournalDamaged)
#: The gateways do not serve what they should; the next try may succeed.
_NOT_APPLIED = (GatewaySilent, GatewayRefused, GatewayFailed, PortTaken)
#: First and longest pause before gateways are asked again, seconds; a command is not kept waiting behind retries then.
_RETRY_S, _LONGEST_RETRY_S = 0.5, 5.0


class ServiceControl:
    """Drives one service. Decisions are journalled first, then applied, then read back; never the other way round.

    Attributes:
        state: what the journal says.
        verdict: the judge's last word; only of use while there is a canary.
        waiting: what the rollout waits for, one sentence.
        trouble: what went wrong lately and is being retried, or None.
        dead: releases in use of which no gateway can reach any endpoint.
        traffic: what users asked for.
        nodes: its servers, where they switch versions in place.
        n_on_step: users' requests the canary answered since its step was in force.
        lock: held while a decision is made and applied; commands take it too.
    """

    def __init__(self, state: ServiceState, ports: Ports, on_entry: Callable[[Entry], None]) -> None:
        self.state = state
        self.verdict = Verdict(Word.UNDECIDED)
        self.waiting = ""
        self.trouble: str | None = None
        self.dead: tuple[Release, ...] = ()
        self.lock = asyncio.Lock()
        self.n_on_step = 0
        self.nodes = Nodes(state.service, ports.servers, ports.api_url)
        self._ports = ports
        self._on_entry = on_entry
        self._judging = Judging(state.service, ports.memory, ports.clock)
        self._prober: Prober | None = None
        self._probing: asyncio.Task[None] | None = None
        self._entered_s = ports.clock.monotonic_s()
        self.traffic = Traffic(self._entered_s)
        self._suspended: str | None = None
        self._fenced: FencedOff | None = None
        self._left = False
        self._n_not_applied = 0
        self._retry_at_s = 0.0
        self._share = 0.0
        self._on_reserve = False
        self._in_force: RouteTable | None = None
        self._prepare()

    def table(self) -> RouteTable:
        """Return what the gateways should serve now.

        It is the state's table, less servers that serve something else, and less the canary while nothing can be written.
        """
        table = self.nodes.rotated(self.state.table())
        return replace(table, weight=0, overrides=False) if self._suspended and table.canary else table

    async def tick(self, reading: ServiceReading | None, health: Mapping[str, bool]) -> None:
        """Judge what was counted since the last tick (None: telemetry failed), decide, and make it so.

        Raises FencedOff once another process took over, StaleGeneration, JournalUnwritable, JournalDamaged.
        """
        if self._fenced is not None:
            raise self._fenced
        self._observe(reading)
        self.dead = self._dead(health)
        self._mind_prober()
        async with self.lock:
            await self._move_on(health)
        await self._tune_sampling()
        await self._judging.keep()

    async def _move_on(self, health: Mapping[str, bool]) -> None:
        if self._suspended and not await self._unsuspend():
            return
        await self._write_news()
        decision = decide(self.state, self._seen(health))
        self.waiting = decision.reason
        if decision.kind is not None:
            await self.commit(decision, actor="judge" if decision.kind in _JUDGED else "controller")
        elif self.nodes.due and self._may_switch():
            await self.nodes.switch()
        elif self._must_apply() and self._ports.clock.monotonic_s() >= self._retry_at_s:
            await self.apply()

    async def _write_news(self) -> None:
        """Write down that pod blocks got longer."""
        for news in self._judging.news:
            facts = {"block_length_s": news.length_s}
            await self._append(Kind.LENGTHENED, "judge", news.reason, self.state.generation, facts)
            self._judging.wrote(news)

    def _must_apply(self) -> bool:
        behind = self.state.applied_generation != self.state.generation or self._in_force != self.table()
        return self.trouble is not None or behind

    def _may_switch(self) -> bool:
        """A server switches to the canary once no gateway sends it stable's requests, and stable can do without it.

        Back it switches at once: the sooner may it stand in for stable's own.
        """
        if self.state.phase is not Phase.PREFLIGHT:
            return True
        needed = self._on_reserve and not self.state.split_inside
        return self.state.applied_generation == self.state.generation and not needed

    async def commit(self, decision: Decision, *, actor: str) -> Entry:
        """Journal a decision, then apply it.

        Raises IllegalTransition for what the phase does not allow, ConflictError once this process is leaving: then
        nothing has changed. Raises JournalUnwritable, JournalDamaged: then the canary has lost its traffic.
        """
        assert decision.kind is not None  # noqa: S101 - callers commit decisions, not waits
        if self._left:
            raise ConflictError(detail="the control plane is stopping; repeat the command when it is back.")
        routes = decision.kind in ROUTING_KINDS
        generation = self.state.generation + 1 if routes else self.state.generation
        entry = await self._append(decision.kind, actor, decision.reason, generation, decision.facts)
        if routes:
            if self.state.weight_pct == 0:
                self._suspended = None  # it can be written again, and nothing has to be held back
            self._enter(decision.kind)
            await self.apply()
        return entry

    async def apply(self) -> bool:
        """Make the gateways serve the state; return whether every live one acknowledged. What failed is retried."""
        generation = self.state.generation
        try:
            await self._bring_into_force()
        except _NOT_APPLIED as error:
            self.trouble = error.message
            pause_s = min(_RETRY_S * 2.0**self._n_not_applied, _LONGEST_RETRY_S)
            self._n_not_applied += 1
            self._retry_at_s = self._ports.clock.monotonic_s() + pause_s
            return False
        self._n_not_applied, self._retry_at_s = 0, 0.0
        self.trouble = self._suspended
        self._entered_s = self._ports.clock.monotonic_s()
        self.n_on_step = 0
        if self._suspended is None:
            nodes = [node.id for node in self._ports.gateway.nodes(self.state.service) if node.live]
            facts = {"applied": generation, "nodes": nodes}
            reason = f"{len(nodes)} of {len(nodes)} gateways serve generation {generation}"
            await self._append(Kind.APPLIED, "controller", reason, generation, facts)
        return True

    async def _bring_into_force(self) -> None:
        """Program the gateways, while servers that are ready switch; who then is not confirmed leaves the rotation."""
        table = self.table()
        switching = asyncio.ensure_future(self.nodes.switch()) if self._may_switch() else None
        try:
            await self._ports.gateway.apply(table)
        finally:
            if switching is not None:
                await switching
        if self.table() != table:
            table = self.table()
            await self._ports.gateway.apply(table)
        self._in_force = table

    async def note_restart(self) -> None:
        """Write down that a rollout under way is held at 0 % now; the gateways are told afterwards."""
        state = self.state
        recalled = await self._judging.recall(state)
        if state.canary is None or state.phase in (Phase.ROLLING_BACK, Phase.FALLBACK):
            return
        if state.phase is Phase.HELD and state.weight_pct == 0:
            return
        evidence = "the evidence goes on where it stopped" if recalled else "the evidence begins anew"
        decision = held(state, f"the control plane was restarted; {evidence}", weight_pct=0.0, paused=True)
        await self._write(Kind.HELD, "controller", decision.reason, state.generation + 1, decision.facts)
        self._enter(Kind.HELD)

    async def leave(self, reason: str) -> None:
        """Take the canary's traffic away, acknowledged, and decide nothing any more. Raises FencedOff."""
        async with self.lock:
            await self._stop_probing()
            try:
                if self.state.weight_pct > 0:
                    with contextlib.suppress(*NOT_WRITTEN):  # the canary has lost its traffic all the same
                        await self._hold_at_zero(reason)
                await self._judging.keep(at_once=True)
                await self.nodes.close()
            finally:
                self._left = True

    async def _hold_at_zero(self, reason: str) -> None:
        """Take the canary's traffic away and wait for a person."""
        decision = held(self.state, reason, weight_pct=0.0, paused=True, n_canary=self.verdict.n_canary)
        await self.commit(decision, actor="controller")

    async def _append(self, kind: Kind, actor: str, reason: str, generation: int, facts: Mapping[str, object]) -> Entry:
        try:
            return await self._write(kind, actor, reason, generation, facts)
        except NOT_WRITTEN as error:
            await self._suspend(error.message)
            raise

    async def _write(self, kind: Kind, actor: str, reason: str, generation: int, facts: Mapping[str, object]) -> Entry:
        """Journal an entry. What the state cannot take is refused before: nobody could read such a journal again."""
        draft = Draft(self.state.service, kind, actor, reason, generation, facts)
        evolve(self.state, unwritten(draft, self._ports.clock.now()))
        try:
            entry = await self._ports.journal.append(draft, expected_generation=self.state.generation)
        except FencedOff as error:
            self._fenced = error
            raise
        except StaleGeneration:
            await self._catch_up()
            raise
        self._take(entry)
        return entry

    def _take(self, entry: Entry) -> None:
        self.state = evolve(self.state, entry)
        self._on_entry(entry)

    async def _catch_up(self) -> None:
        """Learn what an append that was cut short wrote all the same; the next tick applies it."""
        for entry in await self._ports.journal.read(self.state.service, after_seq=self.state.seq):
            self._take(entry)
            self._enter(entry.kind)

    async def _suspend(self, why: str) -> None:
        """What cannot be written down may not be in force: the canary loses its traffic at once."""
        self._suspended = self.trouble = why
        if self.state.canary is not None:
            with contextlib.suppress(*_NOT_APPLIED):  # tried again by every tick
                await self._ports.gateway.apply(self.table())

    async def _unsuspend(self) -> bool:
        """Try to write again; return whether it worked."""
        try:
            if self.state.canary is None or self.state.phase is Phase.ROLLING_BACK:
                self._suspended = None
                return await self.apply()
            await self._hold_at_zero(f"decisions could not be written: {self._suspended}")
        except NOT_WRITTEN:
            return False
        return True

    def _enter(self, kind: Kind) -> None:
        """Set up what the new phase needs."""
        self._entered_s = self._ports.clock.monotonic_s()
        self.n_on_step = 0
        self._prepare()
        # Held there or baking at 100 %, stable has no traffic to compare with.
        restarts = kind in (Kind.WITHDRAWN, Kind.RESTORED)
        self._judging.enter(restarts=restarts, alone=self.state.table().weight == TOTAL)

    def _prepare(self) -> None:
        """Give a rollout its judge, and a withdrawn one its prober; take them away when it is over."""
        state = self.state
        self.nodes.want(wanted(state))
        if state.canary is None or state.plan is None:
            self._judging.end()
        elif not self._judging.is_on or state.phase is Phase.PREFLIGHT:
            self._judging.begin(state)
            self.verdict = Verdict(Word.UNDECIDED)
            self.traffic.n_in_rollout = 0
            self._ports.mirror.allow(state.service, state.plan.repeatable)
        self._switch_probing()

    def _switch_probing(self) -> None:
        if self.state.phase is Phase.WITHDRAWN and self._probing is None and self.state.canary is not None:
            ports = self._ports
            self._prober = Prober(
                ports.mirror,
                ports.clock,
                ports.rng,
                canary=self.state.canary,
                stable=self.state.stable,
                marked=self.state.split_inside,
            )
            self._probing = asyncio.get_running_loop().create_task(self._prober.run(self._on_probe, self._on_round))
        elif self.state.phase is not Phase.WITHDRAWN and self._probing is not None:
            self._probing.cancel()
            self._probing = None

    def _mind_prober(self) -> None:
        """Replace a prober that died: a canary that nobody tests must not pass for a quiet one."""
        if self._probing is not None and self._probing.done():
            if not self._probing.cancelled():
                _log.error(
                    "%s: testing failed, it begins again", self.state.service, exc_info=self._probing.exception()
                )
            self._probing = None
            self._switch_probing()

    async def _stop_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)  # `_mind_prober` told what it died of
            self._probing = None

    def _on_probe(self, tick: Tick) -> None:
        verdict = self._judging.observe_probe(tick)
        self.verdict = self.verdict if verdict is None else verdict

    def _on_round(self, outcome: Round) -> None:
        self._judging.observe_round(outcome)

    def _observe(self, reading: ServiceReading | None) -> None:
        if reading is not None:
            self.traffic.count(reading, self._ports.clock.monotonic_s())
            self.n_on_step += sum(counts.n for counts in counts_of(self.state.canary, reading))
        verdict = self._judging.observe(reading, self.state)
        self.verdict = self.verdict if verdict is None else verdict

    async def _tune_sampling(self) -> None:
        """Keep the recorder at a few requests per second whatever the traffic; nothing is recorded when idle."""
        wanted = min(1.0, _SAMPLES_HZ / max(self.traffic.rate_hz, _SAMPLES_HZ)) if self.state.canary else 0.0
        if not self._share / 2 <= wanted <= self._share * 2:
            self._share = wanted
            # Sampling is a courtesy; the next change of rate tries again.
            with contextlib.suppress(*_NOT_APPLIED):
                await self._ports.gateway.sample(self.state.service, wanted)

    def _dead(self, health: Mapping[str, bool]) -> tuple[Release, ...]:
        """Return the releases that nobody is known to serve any more; a server that is not known yet is none."""
        stable, canary = self.state.stable, self.state.canary
        self._on_reserve = not _any_alive(stable.endpoints, health)
        dead = [stable] if self._on_reserve and not _any_alive(self.table().reserve, health) else []
        return (*dead, canary) if canary and not _any_alive(canary.endpoints, health) else tuple(dead)

    def _seen(self, health: Mapping[str, bool]) -> Observed:
        state, canary = self.state, self.state.canary
        there = [e for e in canary.endpoints if self.nodes.confirmed(e)] if canary else []
        table = self.table()
        stands = bool(table.reserve) or any(self.nodes.confirmed(e) for e in state.stable.endpoints)
        return Observed(
            verdict=self.verdict,
            in_phase_s=self._ports.clock.monotonic_s() - self._entered_s,
            n_on_step=self.n_on_step,
            applied=state.applied_generation == state.generation and stands and self._in_force == table,
            stable_healthy=_any_alive((*state.stable.endpoints, *table.reserve), health),
            canary_healthy=any(health.get(e.address, False) for e in there),
            probed=self._prober is not None and self._prober.has_gone_round,
            loading=self.nodes.loading,
            refusal=self.nodes.refusal(canary) if canary else "",
        )


def _any_alive(endpoints: Iterable[Endpoint], health: Mapping[str, bool]) -> bool:
    return any(health.get(endpoint.address, True) for endpoint in endpoints)


#: Decisions that follow from a verdict; the others are the controller's own.
_JUDGED = frozenset({Kind.WITHDRAWN, Kind.RESTORED, Kind.ROLLING_BACK})
