"""The judge of one release: ticks and rounds go in, a verdict comes out. No clock of its own: time comes with the ticks.

What may do what. Single requests may only raise the alarm (withdraw the canary, cheap and reversible): a stall makes them
fail together, and in a world with stalls most healthy releases raise it. To condemn takes evidence that a stall cannot
fake: pod blocks, in which a user whose request is known fails once, and rounds (pooled as one weighted average of e-values,
wealth 1 / .8 %), or gross failure for longer than stalls last (.2 %). HEALTHY takes a proof for every required metric that
the canary is not worse than its margin. Source: JUDGE.md 0.2, 0.4, 10.6, 10.7; the split is in limits.py.
"""

import math
from collections.abc import Iterable, Mapping

from penstock.judge.answers import cleaned, cleaned_measures
from penstock.judge.betting import planned_starts
from penstock.judge.counts import Measure, Round, Tick
from penstock.judge.edges import Edges
from penstock.judge.exposure import FailureBound
from penstock.judge.gross import GrossRule, PodAnswers
from penstock.judge.limits import BLOCKS_SHARE, ROUNDS_SHARE, Limits
from penstock.judge.panel import Panel
from penstock.judge.placebo import Placebo
from penstock.judge.reasons import after_words, condemned_words
from penstock.judge.rounds import RoundEvidence
from penstock.judge.verdict import Verdict, Word

#: Evidence from single requests that raises the alarm. Source: JUDGE.md 10.1.12 (false alarm 0-.8 % on independent data).
ALARM_EVIDENCE = 20.0

#: Evidence against the canary above which it cannot be called healthy, though it is not condemned.
#: Source: JUDGE.md 10.6 (promote only while B < 20).
SUSPICIOUS_EVIDENCE = 20.0

#: An alarm that nobody answered with `restart_alarm` is shown this long. Source: a control loop looks several times in it.
ALARM_SHOWN_S = 10.0

#: Blocks shorter than this hold too little traffic to say anything.
_SHORTEST_BLOCK_S = 1.0


def block_length_s(longest_stall_s: float) -> float:
    """Return the length of a pod block before any placebo made it longer: the longest stall, never below 1 s.

    Source: JUDGE.md 10.2b (at least the longest stall, or three times the mean): half of it was tried for more than one
    pod and condemns 2.5 % of equal versions at stalls of 5 to 60 s.
    """
    return max(_SHORTEST_BLOCK_S, longest_stall_s)


class Judge:
    """Judges one release from its first tick to its last; a new release gets a new judge.

    Args:
        limits: what is tolerated.
        n_canary_pods: endpoints of the canary, >= 1.
        n_stable_pods: endpoints of stable, >= 1.
        max_duration_s: how long the rollout may take, bake included, seconds; None when it has no end.
        placebo: stable's pods against each other, if it was kept before this release; the judge goes on feeding it.
        edges: bins of latencies by the name of their counts; two significant digits where it is not named.
        rounds: whether recorded requests can be replayed; where not, pod blocks get the rounds' share of the budget.

    Attributes:
        placebo: stable's pods against each other.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        n_canary_pods: int,
        n_stable_pods: int,
        max_duration_s: float | None,
        placebo: Placebo | None = None,
        edges: Mapping[str, Edges] | None = None,
        rounds: bool = True,
    ) -> None:
        if n_canary_pods < 1 or n_stable_pods < 1:
            raise ValueError(f"{n_canary_pods} canary and {n_stable_pods} stable pods; each arm needs at least one")
        self._limits = limits
        self.placebo = placebo or Placebo(block_length_s(limits.longest_stall_s))
        self._panel = Panel(
            limits,
            self.placebo,
            n_canary_pods=n_canary_pods,
            n_starts=planned_starts(max_duration_s),
            edges=edges or {},
        )
        self._blocks_weight = BLOCKS_SHARE / (BLOCKS_SHARE + ROUNDS_SHARE) if rounds else 1.0
        self._gross = GrossRule(longest_stall_s=limits.longest_stall_s, n_canary_pods=n_canary_pods)
        self._exposure = FailureBound()
        self._rounds = RoundEvidence()
        self._n_users = self._n_probes = 0
        self._frozen = False
        self._at_s: float | None = None
        self._quiet_since_s = 0.0
        self._alarm_at_s: float | None = None
        self._must_restart = False
        self._stable_seen_s = 0.0
        self._canary_seen_s: float | None = None
        self._alarm_reasons: tuple[str, ...] = ()
        self._condemned: tuple[str, ...] = ()

    @property
    def at_s(self) -> float | None:
        """The judge's time, seconds, never falling; None before the first tick."""
        return self._at_s

    @property
    def alarm(self) -> bool:
        """Whether the canary looks harmful on single requests right now."""
        return self._alarm_at_s is not None

    @property
    def condemned(self) -> bool:
        """Whether harm is proven. Once condemned, condemned."""
        return bool(self._condemned)

    @property
    def evidence(self) -> float:
        """The pooled e-value of pod blocks and rounds, >= 0."""
        blocks, share = self._panel.block_evidence, self._blocks_weight
        return blocks if share == 1.0 else share * blocks + (1.0 - share) * self._rounds.evidence

    @property
    def request_evidence(self) -> float:
        """The weighted e-value of single requests, >= 0; at 20 it raises the alarm."""
        return self._panel.request_evidence

    @property
    def gross_s(self) -> float:
        """Seconds of unbroken gross failure."""
        return self._gross.lasted_s

    @property
    def alarm_reasons(self) -> tuple[str, ...]:
        """Why the alarm was last raised, most important first."""
        return self._alarm_reasons

    @property
    def above_limit(self) -> tuple[str, ...]:
        """Metrics that are above their hard limit now: they raise the alarm without evidence."""
        return self._panel.withdraws

    @property
    def healthy(self) -> bool:
        """Whether every required metric is proven not worse, and nothing speaks against the canary."""
        if self._alarm_at_s is not None or self._gross.lasted_s > 0 or not self._panel.proven:
            return False
        return self.evidence < SUSPICIOUS_EVIDENCE and not self._panel.holds

    def quiet_s(self) -> float:
        """Return the seconds since the last alarm."""
        return (self._at_s or 0.0) - self._quiet_since_s

    def observe(self, tick: Tick) -> Verdict:
        """Take one tick into account and return the verdict."""
        self.count(tick)
        return self.verdict()

    def count(self, tick: Tick) -> None:
        """Take one tick of users' requests or of probes into account. A tick from the past counts as now."""
        at_s = self._advance(tick.at_s)
        if self._must_restart:
            self._restart_requests()
        probes, panel = tick.probes, self._panel
        panel.refresh(at_s, probes=probes)
        failures: list[PodAnswers] = []
        if tick.canary or tick.stable:
            pods = cleaned(tick)
            failures += panel.count_answers(at_s, pods, probes=probes)
            for pod in pods:
                self._see(at_s, pod.n, there=pod.n > 0, canary=pod.canary, probes=probes)
        if tick.measures:
            failures += self._count_measures(at_s, cleaned_measures(tick), probes=probes)
        panel.close_due(at_s)
        self._mind_failures(at_s, tuple(failures))
        self._look_for_alarm(at_s)
        self._look_for_harm()

    def observe_round(self, outcome: Round) -> None:
        """Take one round of replays into account; the next verdict carries it.

        The replays of a round are not also counted as a tick of probes: suspects are picked for having failed.
        """
        self._rounds.observe(outcome)
        self._look_for_harm()

    def blind(self, at_s: float) -> Verdict:
        """Return the verdict when no reading could be taken. Nothing is learnt, and no time of failure is counted."""
        self._advance(at_s)
        return self.verdict(blind="the gateway's counters could not be read")

    def restart_alarm(self) -> None:
        """Answer an alarm: evidence from single requests starts again at 1. Call on withdrawal and on restoring.

        What may roll back (pod blocks, rounds, gross failure) is never restarted within a release.
        """
        self._alarm_at_s = None
        self._restart_requests()

    def freeze_baseline(self) -> None:
        """Judge against what stable used to do. Call when the canary takes everything and nothing is left to compare with.

        Every share is then held against a limit of 1.25 x stable's last share + 0.1 %, latency against stable's last p95,
        and gross failure needs no stable. What this gives up: drift that would hit both versions (a slow database, a
        harder hour) is no longer cancelled, and counts against the canary.
        """
        if not self._frozen:
            self._frozen = True
            self._panel.freeze(self._at_s or 0.0)

    def thaw_baseline(self) -> None:
        """Compare with concurrent answers of stable again. Call when stable has traffic again."""
        if self._frozen:
            self._frozen = False
            self._stable_seen_s = self._at_s or 0.0
            self._panel.thaw(self._at_s or 0.0)

    def _advance(self, at_s: float) -> float:
        """Return the judge's time: it never falls, and a clock that is not a number does not move it."""
        if self._at_s is None:
            self._at_s = at_s if math.isfinite(at_s) else 0.0
            self._quiet_since_s = self._stable_seen_s = self._at_s
        elif self._at_s < at_s < math.inf:
            self._at_s = at_s
        return self._at_s

    def _count_measures(self, at_s: float, measures: list[Measure], *, probes: bool) -> Iterable[PodAnswers]:
        n_seen: dict[bool, int] = {}
        take = self._panel.take
        for measure in measures:
            n, canary = take(at_s, measure, probes=probes), measure.canary
            if n >= n_seen.get(canary, 0):
                n_seen[canary] = n
        for canary, n in n_seen.items():
            self._see(at_s, n, there=True, canary=canary, probes=probes)
        return self._panel.failed(measures)

    def _see(self, at_s: float, n: int, *, there: bool, canary: bool, probes: bool) -> None:
        """Note that an arm was `there`, with `n` answers."""
        if not there:
            return
        if not canary:
            self._stable_seen_s = at_s
            return
        self._canary_seen_s = at_s
        self._n_users += 0 if probes else n
        self._n_probes += n if probes else 0

    def _mind_failures(self, at_s: float, failures: tuple[PodAnswers, ...]) -> None:
        n_canary = bad_canary = 0
        for canary, _, n, bad in failures:
            if canary and n:
                n_canary += n
                bad_canary += bad
        if n_canary:
            self._exposure.observe(n_canary, bad_canary)
        if self._gross.observe(at_s, failures, needs_stable=not self._frozen):
            self._quiet_since_s = at_s

    def _restart_requests(self) -> None:
        self._must_restart = False
        self._panel.restart_alarm()

    def _look_for_alarm(self, at_s: float) -> None:
        """After an alarm the evidence starts again at the next tick, so that a canary that recovers falls quiet."""
        strong = self._panel.request_evidence >= ALARM_EVIDENCE
        if strong or self._panel.withdraws:
            self._alarm_at_s = self._quiet_since_s = at_s
            self._alarm_reasons = self._panel.sentences(of_blocks=False)
            self._must_restart = strong
        elif self._alarm_at_s is not None and at_s - self._alarm_at_s > ALARM_SHOWN_S:
            self._alarm_at_s = None

    def _look_for_harm(self) -> None:
        """Once condemned, condemned: an e-process proves by having reached its threshold at any time (Ville)."""
        if self._condemned:
            return
        by_evidence = self.evidence >= self._limits.evidence_needed
        if not (by_evidence or self._gross.condemns):
            return
        of_blocks = self._blocks_weight * self._panel.block_evidence
        words = condemned_words(
            list(self._panel.sentences(of_blocks=True)),
            gross=self._gross,
            rounds=self._rounds,
            by_evidence=by_evidence,
            rounds_lead=(1.0 - self._blocks_weight) * self._rounds.evidence >= of_blocks,
        )
        self._condemned = tuple(words)

    def _blind_reason(self, at_s: float) -> str | None:
        """Stable has been silent for a longest stall while the canary answers."""
        stall_s = self._limits.longest_stall_s
        canary_answers = self._canary_seen_s is not None and at_s - self._canary_seen_s <= stall_s
        if self._frozen or not canary_answers or at_s - self._stable_seen_s < stall_s:
            return None
        return f"stable has answered nothing for {at_s - self._stable_seen_s:.0f} s: there is nothing to compare with"

    def verdict(self, *, blind: str | None = None, details: bool = True) -> Verdict:
        """Return the verdict as things stand; `blind` is why nothing can be seen.

        Without `details` it has no reasons and no metrics, costs a tenth, and leads to the same decisions.
        """
        blind = blind or self._blind_reason(self._at_s or 0.0)
        word, evidence = self._word(blind), self.evidence
        return Verdict(
            word=word,
            alarm=self.alarm,
            quiet_s=self.quiet_s(),
            evidence=evidence,
            evidence_needed=self._limits.evidence_needed,
            reasons=self._reasons(word, evidence, blind) if details else (),
            holds=self._panel.holds,
            metrics=self._panel.snapshots() if details else {},
            n_canary=self._n_users,
            n_probes=self._n_probes,
            gross_s=self._gross.lasted_s,
            gross_needed_s=self._gross.needed_s,
            failure_bound_ratio=self._exposure.ratio,
        )

    def _word(self, blind: str | None) -> Word:
        if self._condemned:
            return Word.HARMFUL
        if blind:
            return Word.BLIND
        return Word.HEALTHY if self.healthy else Word.UNDECIDED

    def _reasons(self, word: Word, evidence: float, blind: str | None) -> tuple[str, ...]:
        if word is Word.HARMFUL:
            return self._condemned
        if word is Word.BLIND:
            return (blind or "",)
        if self.alarm:
            return self._alarm_reasons
        after = after_words(self._n_users, self._n_probes)
        if word is Word.HEALTHY:
            return (f"not worse in {self._panel.required}, each proven {after}",)
        unproven = f"no harm proven: evidence {evidence:.3g} of {self._limits.evidence_needed:.0f}, {after}"
        missing = (f"not yet proven equal in {self._panel.unproven}",) if self._panel.unproven else ()
        return (unproven, *self._panel.sentences(of_blocks=True), *missing, *self._panel.holds)
