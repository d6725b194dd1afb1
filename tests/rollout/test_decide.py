"""What is decided, from every phase, on every kind of evidence."""

from datetime import timedelta

import pytest

from penstock.judge.verdict import Word
from penstock.rollout.decide import Observed, decide, held, next_step, quiet_needed_s, rolling_back
from penstock.rollout.entry import Kind
from penstock.rollout.phases import Phase
from penstock.rollout.plan import OnFailure, Plan
from tests.rollout.conftest import Story, verdict


@pytest.fixture
def stepping(story: Story) -> Story:
    story.start()
    story.take(next_step(story.state, "answers"))
    return story


def calm(**others: object) -> Observed:
    return Observed(**{"verdict": verdict(), "in_phase_s": 31.0, "n_on_step": 60, **others})  # type: ignore[arg-type]


def test_nothing_is_decided_about_a_service_without_a_canary(story: Story) -> None:
    assert decide(story.state, calm(verdict=verdict(Word.HARMFUL))).kind is None


def test_a_canary_gets_its_first_users_when_a_gateway_can_reach_it(story: Story) -> None:
    state = story.start()
    assert decide(state, calm(canary_healthy=False)).kind is None
    decision = decide(state, calm())
    assert (decision.kind, decision.facts["weight_pct"]) == (Kind.STEPPED, 10)


def test_a_canary_that_never_answers_is_given_up_without_quarantine(story: Story) -> None:
    story.start()
    decision = decide(story.state, calm(canary_healthy=False, in_phase_s=61.0))
    state = story.take(decision)
    assert (state.ending, state.quarantine) == ("aborted", {})


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"in_phase_s": 29.0}, "dwelling"),
        ({"n_on_step": 49}, "49 of 50 requests"),
        ({"applied": False}, "acknowledge"),
        ({"canary_healthy": False}, "healthy"),
        ({"verdict": verdict(Word.BLIND)}, "blind"),
        ({"verdict": verdict(evidence=20.0)}, "suspicious"),
        ({"verdict": verdict(gross_s=1.0)}, "suspicious"),
        ({"verdict": verdict(holds=("labels: 'cat' 75 % against 50 %",))}, "on hold: labels"),
    ],
)
def test_a_step_is_not_left_before_everything_holds(stepping: Story, seen: dict[str, object], why: str) -> None:
    decision = decide(stepping.state, calm(**seen))
    assert decision.kind is None
    assert why in decision.reason


def test_a_calm_canary_steps_up_bakes_and_is_promoted(stepping: Story) -> None:
    kinds = []
    while stepping.state.phase is not Phase.IDLE:
        decision = decide(stepping.state, calm())
        kinds.append(decision.kind)
        stepping.take(decision)
    assert kinds == [Kind.STEPPED, Kind.BAKING, Kind.PROMOTED]
    assert stepping.state.stable.name == "2.0.0"
    assert stepping.state.warm is not None
    assert stepping.state.warm.name == "1.5.0"
    assert stepping.state.outcome is not None
    assert "not proven equal" in stepping.state.outcome.reason


@pytest.mark.parametrize("kind", [Kind.STEPPED, Kind.BAKING, Kind.WITHDRAWN, Kind.HELD])
def test_harm_rolls_back_from_every_phase(stepping: Story, kind: Kind) -> None:
    if kind is Kind.BAKING:
        stepping.take(next_step(stepping.state, "", full=True))
    elif kind is Kind.WITHDRAWN:
        stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
    elif kind is Kind.HELD:
        stepping.take(held(stepping.state, "paused", weight_pct=10.0, paused=False))
    state = stepping.take(decide(stepping.state, calm(verdict=verdict(Word.HARMFUL))))
    assert (state.phase, state.weight_pct, state.ending) == (Phase.ROLLING_BACK, 0.0, "rolled_back")
    assert [version for version, _ in state.quarantine.values()] == ["2.0.0"]
    assert decide(state, calm(applied=False)).kind is None
    ended = stepping.take(decide(state, calm()))
    assert (ended.phase, ended.canary, ended.stable.name) == (Phase.IDLE, None, "1.5.0")


def test_harm_without_a_healthy_stable_keeps_the_canary_serving(stepping: Story) -> None:
    decision = decide(stepping.state, calm(verdict=verdict(Word.HARMFUL), stable_healthy=False))
    assert decision.kind is None
    assert "stable has no healthy endpoint" in decision.reason


def test_on_failure_hold_stops_at_zero_for_a_person(story: Story) -> None:
    story.start(plan=Plan.ramp((10, 100), 30.0, on_failure=OnFailure.HOLD))
    story.take(next_step(story.state, "answers"))
    state = story.take(decide(story.state, calm(verdict=verdict(Word.HARMFUL))))
    assert (state.phase, state.weight_pct) == (Phase.HELD, 0.0)
    assert state.outcome is not None
    assert state.outcome.word == "paused"
    assert decide(state, calm(verdict=verdict(Word.HARMFUL))).kind is None


def test_an_alarm_withdraws_and_good_behaviour_restores(stepping: Story) -> None:
    state = stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
    assert (state.phase, state.weight_pct, state.n_withdrawals) == (Phase.WITHDRAWN, 0.0, 1)
    needed_s = quiet_needed_s(state)
    assert needed_s == 30.0
    early = calm(verdict=verdict(quiet_s=needed_s - 1), in_phase_s=100.0, probed=True)
    assert decide(state, early).kind is None
    late = calm(verdict=verdict(quiet_s=needed_s + 1), in_phase_s=100.0, probed=True)
    restored = stepping.take(decide(state, late))
    assert (restored.phase, restored.weight_pct) == (Phase.STEPPING, 10)


def test_a_canary_that_was_withdrawn_must_hold_its_last_step_for_five_stalls(stepping: Story) -> None:
    stepping.take(next_step(stepping.state, "", full=True))
    stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
    stepping.take(decide(stepping.state, calm(verdict=verdict(quiet_s=1e4), in_phase_s=1e3, probed=True)))
    assert decide(stepping.state, calm(in_phase_s=299.0)).kind is None
    assert decide(stepping.state, calm(in_phase_s=301.0)).kind is Kind.PROMOTED


def test_quiet_time_doubles_up_to_five_stalls(stepping: Story) -> None:
    needed = []
    for _ in range(6):
        stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
        needed.append(quiet_needed_s(stepping.state))
        stepping.take(decide(stepping.state, calm(verdict=verdict(quiet_s=1e4), in_phase_s=1e3, probed=True)))
    assert needed == [30, 60, 120, 240, 300, 300]


def test_a_canary_that_cannot_be_tested_comes_back_on_a_trickle(stepping: Story) -> None:
    state = stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
    assert decide(state, calm(verdict=verdict(quiet_s=299.0), in_phase_s=299.0)).kind is None
    frozen = verdict(quiet_s=0.0, gross_s=4.0)  # as the judge last saw it; nothing new can be seen
    restored = stepping.take(decide(state, calm(verdict=frozen, in_phase_s=301.0)))
    assert restored.weight_pct == 1.0
    assert "blind" in restored.reason
    again = stepping.take(decide(restored, calm()))
    assert (again.step, again.weight_pct) == (0, 10)


def test_what_a_person_held_comes_back_held_on_its_trickle(stepping: Story) -> None:
    stepping.take(held(stepping.state, "lunch", weight_pct=10.0, paused=False))
    state = stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
    restored = stepping.take(decide(state, calm(in_phase_s=301.0)))
    assert (restored.phase, restored.weight_pct) == (Phase.HELD, 1.0)
    assert decide(restored, calm(in_phase_s=1e4)).kind is None


def test_too_many_withdrawals_end_with_a_person(stepping: Story) -> None:
    for _ in range(13):
        stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
        decision = decide(stepping.state, calm(verdict=verdict(quiet_s=1e4), in_phase_s=1e3, probed=True))
        stepping.take(decision)
    assert stepping.state.phase is Phase.HELD
    assert stepping.state.outcome is not None
    assert stepping.state.outcome.word == "paused"


def test_neither_healthy_falls_back_and_either_one_brings_it_back_held(stepping: Story) -> None:
    dead = calm(stable_healthy=False, canary_healthy=False)
    state = stepping.take(decide(stepping.state, dead))
    assert (state.phase, state.weight_pct) == (Phase.FALLBACK, 0.0)
    assert decide(state, dead).kind is None
    back = stepping.take(decide(state, calm(canary_healthy=False)))
    assert (back.phase, back.weight_pct) == (Phase.HELD, 0.0)
    assert "1.5.0 answers again" in back.reason


def test_a_version_without_digest_is_quarantined_by_name_and_one_with_by_digest(stepping: Story) -> None:
    by_name = stepping.take(rolling_back(stepping.state, None, "bad"))
    assert set(by_name.quarantine) == {"version:2.0.0"}
    other = Story()
    other.start(digest="sha256:abc")
    assert set(other.take(rolling_back(other.state, None, "bad")).quarantine) == {"sha256:abc"}


def baking(story: Story, **plan: object) -> Story:
    story.start(plan=Plan.ramp((50, 100), 30.0, **plan))
    story.take(next_step(story.state, "answers"))
    return story


@pytest.mark.parametrize(("bound", "steps"), [(1.0, False), (0.02, False), (0.01, True)])
def test_a_step_waits_until_it_cannot_cost_more_than_the_budget(story: Story, bound: float, *, steps: bool) -> None:
    baking(story, budget_ratio=0.01)
    decision = decide(story.state, calm(verdict=verdict(failure_bound_ratio=bound)))
    assert (decision.kind is Kind.BAKING) is steps
    if not steps:
        assert f"may still fail {100 * bound:g} % of its requests" in decision.reason
        assert "(budget 1 %)" in decision.reason


def test_without_a_budget_the_bound_is_no_rule(story: Story) -> None:
    baking(story)
    assert decide(story.state, calm(verdict=verdict(failure_bound_ratio=1.0))).kind is Kind.BAKING


def test_a_plan_that_requires_proof_bakes_until_it_comes(story: Story) -> None:
    baking(story, require_proof=True, prove_within_s=600.0)
    story.take(next_step(story.state, "behaves"))
    waiting = decide(story.state, calm())
    assert waiting.kind is None
    assert "waiting for proof" in waiting.reason
    assert decide(story.state, calm(verdict=verdict(Word.HEALTHY))).kind is Kind.PROMOTED
    late = decide(story.state, calm(in_phase_s=601.0))
    assert (late.kind, late.facts["paused"], late.facts["weight_pct"]) == (Kind.HELD, True, 100.0)
    assert "inconclusive" in late.reason


def test_withdrawals_add_up_within_an_hour_and_not_over_a_day(stepping: Story) -> None:
    """A day's bake on machines that hang a few times an hour is not left to a person."""
    counts = []
    for minutes in (0, 30, 29, 45, 120):
        stepping.now += timedelta(minutes=minutes)
        state = stepping.take(decide(stepping.state, calm(verdict=verdict(alarm=True))))
        counts.append(state.n_withdrawals)
        stepping.take(decide(state, calm(verdict=verdict(quiet_s=1e4), in_phase_s=1e3, probed=True)))
    assert counts == [1, 2, 3, 2, 1]
