"""A rollout driven by arbitrary evidence and arbitrary people never breaks its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.judge.verdict import Word
from penstock.registry.release import Release
from penstock.rollout.decide import Decision, Observed, decide, held, next_step, rolling_back, stage_of
from penstock.rollout.entry import Kind
from penstock.rollout.phases import Phase
from penstock.rollout.state import fold
from penstock.rollout.target import rollback_candidates
from tests.rollout.conftest import Story, verdict

_SEEN = st.builds(
    Observed,
    verdict=st.builds(
        verdict,
        word=st.sampled_from(Word),
        alarm=st.booleans(),
        quiet_s=st.sampled_from([0.0, 1e4]),
        evidence=st.sampled_from([0.5, 30.0, 200.0]),
        gross_s=st.sampled_from([0.0, 0.0, 5.0]),
    ),
    in_phase_s=st.sampled_from([0.0, 31.0, 61.0, 400.0, 2000.0]),
    n_on_step=st.sampled_from([0, 50, 1000]),
    applied=st.booleans(),
    stable_healthy=st.booleans(),
    canary_healthy=st.booleans(),
    probed=st.booleans(),
)


class Rollouts(RuleBasedStateMachine):
    """Starts, observes, pauses, resumes, aborts and rolls back, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.n_versions = 0
        self.condemned: set[str] = set()

    @initialize()
    def adopt(self) -> None:
        self.story = Story()

    @precondition(lambda self: self.story.state.phase is Phase.IDLE)
    @rule()
    def start(self) -> None:
        self.n_versions += 1
        self.story.start(f"2.0.{self.n_versions}")

    @precondition(lambda self: self.story.state.phase is not Phase.IDLE)
    @rule(seen=_SEEN)
    def observe(self, seen: Observed) -> None:
        before = self.story.state
        decision = decide(before, seen)
        if decision.kind is None:
            return
        after = self.story.take(decision)
        if seen.verdict.word is Word.HARMFUL and seen.stable_healthy and before.phase is not Phase.FALLBACK:
            assert after.weight_pct == 0
        if after.weight_pct > before.weight_pct:
            assert seen.verdict.word not in (Word.HARMFUL, Word.BLIND)
            if decision.kind in (Kind.STEPPED, Kind.BAKING) and before.phase is not Phase.PREFLIGHT:
                assert seen.n_on_step >= 50
        if decision.kind is Kind.ROLLING_BACK and decision.facts.get("quarantine"):
            assert before.canary is not None
            self.condemned.add(before.canary.name)

    @precondition(lambda self: self.story.state.canary is not None and self.story.state.phase is not Phase.ROLLING_BACK)
    @rule()
    def pause(self) -> None:
        state = self.story.state
        self.story.take(held(state, "paused", weight_pct=state.weight_pct, paused=False))

    @precondition(lambda self: self.story.state.phase is Phase.HELD)
    @rule()
    def resume(self) -> None:
        state = self.story.state
        facts = {"phase": stage_of(state).value, "weight_pct": state.step_weight_pct}
        self.story.take(Decision(Kind.RESUMED, "resumed", facts))

    @precondition(lambda self: self.story.state.phase is Phase.HELD)
    @rule()
    def promote(self) -> None:
        self.story.take(next_step(self.story.state, "by a person"))

    @precondition(lambda self: self.story.state.canary is not None and self.story.state.phase is not Phase.ROLLING_BACK)
    @rule()
    def abort(self) -> None:
        self.story.take(rolling_back(self.story.state, None, "aborted", ending="aborted", quarantine=False))

    @precondition(lambda self: self.story.state.phase is Phase.IDLE)
    @rule()
    def undo(self) -> None:
        state = self.story.state
        target = next((c.release for c in rollback_candidates(state, {}) if c.against is None), None)
        if target is None:
            return
        facts = {
            "to": target.as_json(),
            "from": state.stable.as_json(),
            "ending": "rolled_back",
            "quarantine": {"key": state.stable.quarantine_key, "version": state.stable.name},
        }
        self.condemned.add(state.stable.name)
        self.story.take(Decision(Kind.ROLLING_BACK, "undone", facts))

    @invariant()
    def weight_is_the_phase(self) -> None:
        state = self.story.state
        if state.phase in (Phase.IDLE, Phase.PREFLIGHT, Phase.WITHDRAWN, Phase.ROLLING_BACK, Phase.FALLBACK):
            assert state.weight_pct == 0
        if state.phase is Phase.BAKING:
            assert state.weight_pct == 100

    @invariant()
    def a_condemned_version_never_serves(self) -> None:
        state = self.story.state
        assert state.stable.name not in self.condemned
        serving: list[Release] = [state.stable]
        if state.canary and state.weight_pct > 0:
            serving.append(state.canary)
        assert all(state.why_quarantined(r) is None for r in serving)

    @invariant()
    def the_table_can_be_served(self) -> None:
        table = self.story.state.table()
        assert (table.canary is None) == (self.story.state.canary is None)
        assert not (table.overrides and self.story.state.phase is Phase.ROLLING_BACK)

    @invariant()
    def the_journal_is_the_state(self) -> None:
        assert fold(self.story.entries)["tts"] == self.story.state


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRollouts = Rollouts.TestCase
