"""The judge of one service: made for each rollout, fed with what was counted, kept across restarts. Decides nothing."""

import logging
from typing import Any

from penstock.judge.counts import PodCounts, Round, Tick
from penstock.judge.judge import Judge, block_length_s
from penstock.judge.memory import recall, remember
from penstock.judge.placebo import Lengthened, Placebo
from penstock.judge.verdict import Verdict
from penstock.ports.clock import Clock
from penstock.ports.memory import JudgeMemory
from penstock.ports.telemetry import ServiceReading
from penstock.registry.release import Release
from penstock.rollout.state import ServiceState

_log = logging.getLogger("penstock.control")

#: How often what the judge knows is kept, seconds: during a rollout, and while only the placebo learns.
_KEEP_S, _KEEP_IDLE_S = 5.0, 60.0

#: Start points are planned for at least this long, seconds, and for twice the plan's own time.
_LEAST_DURATION_S, _SLACK = 3600.0, 2.0

#: What a healthy machine may hang where no plan has said so yet, seconds. Source: Plan's default.
_USUAL_STALL_S = 60.0


class Judging:
    """What is known of one service's canary, and of its stable pods against each other.

    The judge's time goes on where it stopped when it was kept: the seconds nobody was there did not happen to it.
    """

    def __init__(self, service: str, memory: JudgeMemory, clock: Clock) -> None:
        self._service = service
        self._memory = memory
        self._clock = clock
        self._ahead_s = 0.0
        self._kept_s = clock.monotonic_s()
        self._rollout = 0
        self._judge: Judge | None = None
        self._placebo = Placebo(block_length_s(_USUAL_STALL_S))

    @property
    def at_s(self) -> float:
        """Now, on the judge's clock."""
        return self._clock.monotonic_s() + self._ahead_s

    @property
    def is_on(self) -> bool:
        return self._judge is not None

    def begin(self, state: ServiceState) -> None:
        """Make the judge of a new rollout."""
        assert state.plan is not None  # noqa: S101 - a rollout has a plan
        assert state.canary is not None  # noqa: S101 - and a canary
        plan = state.plan
        length_s = block_length_s(plan.longest_stall_s)
        if self._placebo.first_length_s != length_s:
            self._placebo = Placebo(length_s)
        self._rollout = state.rollout
        self._judge = Judge(
            plan.limits,
            n_canary_pods=len(state.canary.endpoints),
            n_stable_pods=len(state.stable.endpoints),
            max_duration_s=max(_LEAST_DURATION_S, _SLACK * sum(step.dwell_s for step in plan.steps)),
            placebo=self._placebo,
        )

    def end(self) -> None:
        self._judge = None

    def observe(self, reading: ServiceReading | None, state: ServiceState) -> Verdict | None:
        """Take what was counted into account (None: it could not be read); None without a rollout."""
        at_s = self.at_s
        if self._judge is None:
            self._feed_placebo(at_s, reading, state.stable)
            return None
        if reading is None:
            return self._judge.blind(at_s)
        return self._judge.observe(Tick(at_s, counts_of(state.canary, reading), counts_of(state.stable, reading)))

    def observe_probe(self, tick: Tick) -> Verdict | None:
        """Take a replayed pair into account; its time is now."""
        if self._judge is None:
            return None
        return self._judge.observe(Tick(self.at_s, tick.canary, tick.stable, probes=True))

    def observe_round(self, outcome: Round) -> None:
        if self._judge is not None:
            self._judge.observe_round(outcome)

    def enter(self, *, restarts: bool, alone: bool) -> None:
        """A phase began: `restarts` single requests' evidence; `alone`: the canary has everybody, stable nobody."""
        if self._judge is None:
            return
        if restarts:
            self._judge.restart_alarm()
        if alone:
            self._judge.freeze_baseline()
        else:
            self._judge.thaw_baseline()

    @property
    def news(self) -> tuple[Lengthened, ...]:
        """What the placebo changed and nobody wrote down yet."""
        return self._placebo.news

    def wrote(self, news: Lengthened) -> None:
        """It is written down."""
        self._placebo.forget(news)

    async def keep(self, *, at_once: bool = False) -> None:
        """Keep what is known, now and then, or at once."""
        now_s = self._clock.monotonic_s()
        if not at_once and now_s - self._kept_s < (_KEEP_S if self._judge else _KEEP_IDLE_S):
            return
        self._kept_s = now_s
        await self._memory.save(self._service, self._state())

    async def recall(self, state: ServiceState) -> bool:
        """Go on where the last control plane stopped; return whether this rollout's evidence was found."""
        kept = await self._memory.load(state.service)
        if kept is None:
            return False
        try:
            rollout, at_s, known = kept["rollout"], float(kept["at_s"]), recall(kept["judged"])
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("%s: the kept evidence cannot be read: %s", state.service, error)
            return False
        if not isinstance(known, (Judge, Placebo)):
            return False
        self._ahead_s = at_s - self._clock.monotonic_s()
        self._placebo = known.placebo if isinstance(known, Judge) else known
        if isinstance(known, Judge) and state.canary is not None and rollout == state.rollout:
            self._judge, self._rollout = known, rollout
            return True
        if self._judge is not None:  # it was made before anything was recalled, and must feed the placebo that is kept
            self.begin(state)
        return False

    def _state(self) -> dict[str, Any]:
        return {"rollout": self._rollout, "at_s": self.at_s, "judged": remember(self._judge or self._placebo)}

    def _feed_placebo(self, at_s: float, reading: ServiceReading | None, stable: Release) -> None:
        for counts in counts_of(stable, reading) if reading else ():
            self._placebo.add("errors", counts.pod, counts.n, min(counts.errors, counts.n))
        self._placebo.close_due(at_s)


def counts_of(release: Release | None, reading: ServiceReading) -> tuple[PodCounts, ...]:
    """Return what a release's endpoints answered."""
    return tuple(c for c in reading.counts if release is not None and c.release == release.number)
