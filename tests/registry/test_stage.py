"""The transition table is the only place that says which stage may follow which."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.kernel.errors import IllegalStage, ReasonMissing
from penstock.registry.stage import TRANSITIONS, Stage, diagram, may_become, next_stage
from penstock.testing.contracts.registry_place import AT, sample_version

_PAIRS = [(before, after) for before in Stage for after in Stage]


@pytest.mark.parametrize(("before", "after"), [pair for pair in _PAIRS if pair not in TRANSITIONS])
def test_a_pair_that_is_not_in_the_table_is_a_named_error(before: Stage, after: Stage) -> None:
    with pytest.raises(IllegalStage, match=f"x is {before} and cannot become {after}") as caught:
        next_stage(before, after, name="x", reason="Because.")
    assert may_become(before)[0].value in caught.value.remedy


@pytest.mark.parametrize(("before", "after"), list(TRANSITIONS))
def test_every_pair_in_the_table_is_legal(before: Stage, after: Stage) -> None:
    assert next_stage(before, after, name="x", reason="Because.") is after


def test_every_stage_but_quarantine_leads_into_it_and_one_leads_out() -> None:
    assert {before for before, after in TRANSITIONS if after is Stage.QUARANTINED} == set(Stage) - {Stage.QUARANTINED}
    assert may_become(Stage.QUARANTINED) == (Stage.REGISTERED,)


@pytest.mark.parametrize("pair", [(Stage.STABLE, Stage.QUARANTINED), (Stage.QUARANTINED, Stage.REGISTERED)])
def test_quarantine_needs_a_reason(pair: tuple[Stage, Stage]) -> None:
    with pytest.raises(ReasonMissing, match="quarantine of x needs a reason"):
        next_stage(*pair, name="x", reason=" ")


def test_the_documented_diagram_is_drawn_from_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "registry.md"
    assert "\n".join(diagram()) in page.read_text(encoding="utf-8")


class StageMachine(RuleBasedStateMachine):
    """A version that is pushed about: its stage and its times tell one story."""

    def __init__(self) -> None:
        super().__init__()
        self.version = sample_version("1.0.0")
        self.now = AT
        self.seen = [Stage.REGISTERED]

    @rule(stage=st.sampled_from(Stage), reason=st.sampled_from(["", "Because."]))
    def move(self, stage: Stage, reason: str) -> None:
        self.now += timedelta(minutes=1)
        legal = (self.version.stage, stage) in TRANSITIONS
        needs_reason = Stage.QUARANTINED in (self.version.stage, stage)
        try:
            after = self.version.moved(stage, at=self.now, actor="ann", reason=reason)
        except IllegalStage:
            assert not legal
        except ReasonMissing:
            assert legal
            assert needs_reason
            assert not reason
        else:
            assert legal
            assert after.staged_at == self.now
            self.seen.append(stage)
            self.version = after

    @invariant()
    def the_times_say_what_happened(self) -> None:
        assert self.version.stage is self.seen[-1]
        assert (self.version.verified_at is not None) == (Stage.VERIFIED in self.seen)
        assert (self.version.promoted_at is not None) == (Stage.STABLE in self.seen)
        assert (self.version.why_unusable is not None) == (self.version.stage is Stage.QUARANTINED)


TestStageMachine = StageMachine.TestCase
