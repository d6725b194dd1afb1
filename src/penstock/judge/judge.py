"""The judge of one release: ticks and rounds go in, a verdict comes out. No clock of its own: time comes with the ticks.

HEALTHY is never said by this version: it can prove harm, not yet the absence of it.

What may do what. Single requests may only raise the alarm (withdraw the canary, cheap and reversible): a stall makes them
fail together, and in a world with stalls most healthy releases raise it. To condemn takes evidence that a stall cannot
fake: pod blocks and rounds (pooled as one weighted average of e-values, wealth 1 / .8 %), or gross failure for longer than
stalls last (.2 %). Source: JUDGE.md 0.4, 10.6, 10.7; the split is in limits.py.
"""

import math
from collections import Counter

from penstock.judge.answers import Answers, Reader, Reading, cleaned
from penstock.judge.betting import planned_starts
from penstock.judge.counts import Round, Tick
from penstock.judge.gross import GrossRule, PodAnswers
from penstock.judge.latency import PROBES_MIN_ANSWERS, LatencyScale
from penstock.judge.limits import BLOCKS_SHARE, ROUNDS_SHARE, Limits
from penstock.judge.metric import Metric
from penstock.judge.pairs import slower_in_pair
from penstock.judge.reasons import after_words, condemned_words, metric_words
from penstock.judge.rounds import RoundEvidence
from penstock.judge.verdict import Verdict, Word

#: Evidence from single requests that raises the alarm. Source: JUDGE.md 10.1.12 (false alarm 0-.8 % on independent data).
ALARM_EVIDENCE = 20.0

#: An alarm that nobody answered with `restart_alarm` is shown this long. Source: a control loop looks several times in it.
ALARM_SHOWN_S = 10.0

#: Pod blocks' share of the pooled evidence; rounds have the rest.
_BLOCKS_WEIGHT = BLOCKS_SHARE / (BLOCKS_SHARE + ROUNDS_SHARE)


def block_length_s(longest_stall_s: float, *, n_canary_pods: int, n_stable_pods: int) -> float:
    """Return the length of a pod block: the longest stall for one pod against one, else half of it; never below 1 s.

    Source: JUDGE.md 10.2b (at least the longest stall, or three times the mean), 10.6 (60 s for 1+1 pods, else 30 s).
    """
    alone = n_canary_pods <= 1 and n_stable_pods <= 1
    return max(1.0, longest_stall_s if alone else longest_stall_s / 2.0)


class Judge:
    """Judges one release from its first tick to its last; a new release gets a new judge.

    Args:
        limits: what is tolerated.
        n_canary_pods: endpoints of the canary, >= 1.
        n_stable_pods: endpoints of stable, >= 1.
        max_duration_s: how long the rollout may take, bake included, seconds; None when it has no end.
    """

    def __init__(self, limits: Limits, *, n_canary_pods: int, n_stable_pods: int, max_duration_s: float | None) -> None:
        if n_canary_pods < 1 or n_stable_pods < 1:
            raise ValueError(f"{n_canary_pods} canary and {n_stable_pods} stable pods; each arm needs at least one")
        self._limits = limits
        length_s = block_length_s(limits.longest_stall_s, n_canary_pods=n_canary_pods, n_stable_pods=n_stable_pods)
        n_starts = planned_starts(max_duration_s)
        self._weights = limits.declared_weights
        self._metrics = {
            name: Metric(name, limits, n_canary_pods=n_canary_pods, block_length_s=length_s, n_starts=n_starts)
            for name in self._weights
        }
        self._scale = LatencyScale(limits.latency_margin)
        # Replays reach idle pods one by one: what is slow among them is not what is slow under the users' load.
        self._probe_scale = LatencyScale(limits.latency_margin, min_answers=PROBES_MIN_ANSWERS)
        self._reader = Reader(longest_stall_s=limits.longest_stall_s, max_p95_ms=limits.max_p95_ms)
        self._gross = GrossRule(longest_stall_s=limits.longest_stall_s, n_canary_pods=n_canary_pods)
        self._rounds = RoundEvidence()
        self._faults: Counter[str] = Counter()
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

    def observe(self, tick: Tick) -> Verdict:
        """Take one tick of users' requests or of probes into account. A tick from the past counts as now."""
        at_s = self._advance(tick.at_s)
        if self._must_restart:
            self._restart_requests()
        (self._probe_scale if tick.probes else self._scale).refresh(at_s)
        answers = cleaned(tick)
        for pod in answers:
            self._count(at_s, pod, probes=tick.probes)
        if tick.probes:
            self._count_pair(at_s, answers)
        for metric in self._metrics.values():
            metric.close_due(at_s)
        failures = tuple(PodAnswers(pod.canary, pod.pod, pod.n, pod.n_failed) for pod in answers)
        if self._gross.observe(at_s, failures, needs_stable=not self._frozen):
            self._quiet_since_s = at_s
        self._look_for_alarm(at_s)
        self._look_for_harm()
        return self._verdict(at_s, blind=self._blind_reason(at_s))

    def observe_round(self, outcome: Round) -> None:
        """Take one round of replays into account; the next verdict carries it.

        The replays of a round are not also counted as a tick of probes: suspects are picked for having failed.
        """
        self._rounds.observe(outcome)
        self._look_for_harm()

    def blind(self, at_s: float) -> Verdict:
        """Return the verdict when no reading could be taken. Nothing is learnt, and no time of failure is counted."""
        return self._verdict(self._advance(at_s), blind="the gateway's counters could not be read")

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
            self._scale.freeze()
            for metric in self._metrics.values():
                metric.freeze(self._at_s or 0.0)

    def thaw_baseline(self) -> None:
        """Compare with concurrent answers of stable again. Call when stable has traffic again."""
        if self._frozen:
            self._frozen = False
            self._scale.thaw()
            self._stable_seen_s = self._at_s or 0.0
            for metric in self._metrics.values():
                metric.thaw(self._at_s or 0.0)

    def _advance(self, at_s: float) -> float:
        """Return the judge's time: it never falls, and a clock that is not a number does not move it."""
        if self._at_s is None:
            self._at_s = at_s if math.isfinite(at_s) else 0.0
            self._quiet_since_s = self._stable_seen_s = self._at_s
        if math.isfinite(at_s):
            self._at_s = max(self._at_s, at_s)
        return self._at_s

    def _count(self, at_s: float, answers: Answers, *, probes: bool) -> None:
        if answers.canary:
            self._n_users += 0 if probes else answers.n
            self._n_probes += answers.n if probes else 0
            self._faults.update(answers.faults)
            self._canary_seen_s = at_s if answers.n else self._canary_seen_s
        elif answers.n:
            self._stable_seen_s = at_s
        scale = self._probe_scale if probes else self._scale
        for name, reading in self._reader.readings(at_s, answers, scale):
            if metric := self._metrics.get(name):
                metric.count(at_s, reading, canary=answers.canary, pod=answers.pod, probes=probes)
        scale.learn(answers.latency_ms, canary=answers.canary)

    def _count_pair(self, at_s: float, answers: tuple[Answers, ...]) -> None:
        metric = self._metrics.get("latency_pairs")
        if metric and (pair := slower_in_pair(answers, self._limits.latency_margin)):
            pod, slower = pair
            metric.count(at_s, Reading(1, int(slower), True, True), canary=True, pod=pod, probes=True)

    def _restart_requests(self) -> None:
        self._must_restart = False
        for metric in self._metrics.values():
            metric.restart_alarm()

    def _look_for_alarm(self, at_s: float) -> None:
        """After an alarm the evidence starts again at the next tick, so that a canary that recovers falls quiet."""
        parts = {name: weight * self._metrics[name].request_evidence for name, weight in self._weights.items()}
        if sum(parts.values()) >= ALARM_EVIDENCE:
            self._alarm_at_s = self._quiet_since_s = at_s
            self._alarm_reasons = self._sentences(parts)
            self._must_restart = True
        elif self._alarm_at_s is not None and at_s - self._alarm_at_s > ALARM_SHOWN_S:
            self._alarm_at_s = None

    @property
    def _block_parts(self) -> dict[str, float]:
        return {name: weight * self._metrics[name].block_evidence for name, weight in self._weights.items()}

    def _evidence(self, parts: dict[str, float]) -> float:
        return _BLOCKS_WEIGHT * sum(parts.values()) + (1.0 - _BLOCKS_WEIGHT) * self._rounds.evidence

    def _look_for_harm(self) -> None:
        """Once condemned, condemned: an e-process proves by having reached its threshold at any time (Ville)."""
        parts = self._block_parts
        by_evidence = self._evidence(parts) >= self._limits.evidence_needed
        if self._condemned or not (by_evidence or self._gross.condemns):
            return
        rounds_lead = (1.0 - _BLOCKS_WEIGHT) * self._rounds.evidence >= _BLOCKS_WEIGHT * sum(parts.values())
        ranked = self._sentences(parts)
        words = condemned_words(
            list(ranked), gross=self._gross, rounds=self._rounds, by_evidence=by_evidence, rounds_lead=rounds_lead
        )
        self._condemned = tuple(words)

    def _sentences(self, parts: dict[str, float]) -> tuple[str, ...]:
        """One sentence for each metric whose evidence has grown, strongest first."""
        ranked = sorted(parts, key=lambda name: parts[name], reverse=True)
        grown = [name for name in ranked if parts[name] > 2.0 * self._weights[name]]
        timed = self._scale if self._scale.canary.n > self._probe_scale.canary.n else self._probe_scale
        return tuple(metric_words(self._metrics[name], self._limits, timed, self._faults) for name in grown)

    def _blind_reason(self, at_s: float) -> str | None:
        """Stable has been silent for a longest stall while the canary answers."""
        stall_s = self._limits.longest_stall_s
        canary_answers = self._canary_seen_s is not None and at_s - self._canary_seen_s <= stall_s
        if self._frozen or not canary_answers or at_s - self._stable_seen_s < stall_s:
            return None
        return f"stable has answered nothing for {at_s - self._stable_seen_s:.0f} s: there is nothing to compare with"

    def _verdict(self, at_s: float, *, blind: str | None) -> Verdict:
        alarm = self._alarm_at_s is not None
        parts = self._block_parts
        evidence = self._evidence(parts)
        if self._condemned:
            word, reasons = Word.HARMFUL, self._condemned
        elif blind:
            word, reasons = Word.BLIND, (blind,)
        elif alarm:
            word, reasons = Word.UNDECIDED, self._alarm_reasons
        else:
            after = after_words(self._n_users, self._n_probes)
            unproven = f"no harm proven: evidence {evidence:.3g} of {self._limits.evidence_needed:.0f}, {after}"
            word, reasons = Word.UNDECIDED, (unproven, *self._sentences(parts))
        return Verdict(
            word=word,
            alarm=alarm,
            quiet_s=at_s - self._quiet_since_s,
            evidence=evidence,
            evidence_needed=self._limits.evidence_needed,
            reasons=reasons,
            metrics={name: metric.snapshot() for name, metric in self._metrics.items()},
            n_canary=self._n_users,
            n_probes=self._n_probes,
            gross_s=self._gross.lasted_s,
            gross_needed_s=self._gross.needed_s,
        )
