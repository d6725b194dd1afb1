"""Where a rollback goes."""

import pytest

from penstock.kernel.errors import NothingToRollBack, Quarantined, UnknownRelease
from penstock.rollout.decide import next_step
from penstock.rollout.entry import Kind
from penstock.rollout.target import choose_rollback_target, named_target, rollback_candidates
from tests.rollout.conftest import Story


def promote(story: Story, name: str) -> None:
    story.start(name)
    story.take(next_step(story.state, "", full=True))
    story.add(Kind.PROMOTED, "promoted")


def undo(story: Story) -> None:
    target = choose_rollback_target(story.state, {})
    left = story.state.stable
    marked = {"key": left.quarantine_key, "version": left.name}
    story.add(Kind.ROLLING_BACK, "bad", to=target.as_json(), ending="rolled_back", quarantine=marked)
    story.add(Kind.ROLLED_BACK, "done")


def test_the_first_release_has_nothing_before_it(story: Story) -> None:
    with pytest.raises(NothingToRollBack, match="it is the first one"):
        choose_rollback_target(story.state, {})


def test_the_last_promoted_wins_and_the_unhealthy_and_quarantined_are_passed_over(story: Story) -> None:
    for name in ("1.6.0", "1.7.0", "1.8.0"):
        promote(story, name)
    assert choose_rollback_target(story.state, {}).name == "1.7.0"
    assert choose_rollback_target(story.state, {3: False}).name == "1.6.0"
    undo(story)
    assert story.state.stable.name == "1.7.0"
    assert choose_rollback_target(story.state, {}).name == "1.6.0"
    undo(story)
    assert choose_rollback_target(story.state, {}).name == "1.5.0"
    against = {c.release.name: c.against for c in rollback_candidates(story.state, {1: False})}
    assert "quarantined" in str(against["1.7.0"])
    assert against["1.5.0"] == "does not answer"
    with pytest.raises(NothingToRollBack, match="does not answer"):
        choose_rollback_target(story.state, {1: False})


def test_a_named_target_must_have_been_promoted_and_not_be_quarantined(story: Story) -> None:
    promote(story, "1.6.0")
    assert named_target(story.state, "1.5.0").number == 1
    with pytest.raises(UnknownRelease, match=r"never ran a release '9\.9'; it knows: 1\.6\.0, 1\.5\.0"):
        named_target(story.state, "9.9")
    undo(story)
    with pytest.raises(Quarantined):
        named_target(story.state, "1.6.0")
