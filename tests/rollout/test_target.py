"""Where a rollback goes."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from penstock.kernel.errors import NothingToRollBack, Quarantined, UnknownRelease
from penstock.registry.release import Endpoint, Release
from penstock.rollout.decide import next_step
from penstock.rollout.entry import Kind
from penstock.rollout.state import ServiceState
from penstock.rollout.target import (
    Candidate,
    choose_rollback_target,
    component_candidates,
    component_targets,
    named_target,
    rollback_candidates,
)
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


NODE = Endpoint("http", "10.0.0.1", 1)


def parts(number: int, name: str, **versions: str) -> Release:
    return Release("tts", number, name, versions, (NODE,), swapped=True)


@pytest.fixture
def swapping(story: Story) -> ServiceState:
    """Acoustic went 1 -> 2, then the vocoder 1 -> 2, then acoustic 2 -> 3."""
    promoted = (
        parts(1, "first", acoustic="1.0.0", vocoder="1.0.0"),
        parts(2, "acoustic-2.0.0", acoustic="2.0.0", vocoder="1.0.0"),
        parts(3, "vocoder-2.0.0", acoustic="2.0.0", vocoder="2.0.0"),
        parts(4, "acoustic-3.0.0", acoustic="3.0.0", vocoder="2.0.0"),
    )
    return replace(story.state, stable=promoted[-1], promoted=promoted, n_releases=4)


def candidates(
    state: ServiceState, component: str, objections: Mapping[str, str] | None = None, *, answers: bool = True
) -> list[Candidate]:
    """Rank where a rollback may lead; `objections`: names of releases -> what the registry has against them."""
    targets = component_targets(state, component)
    said = [(objections or {}).get(release.name) for release in targets]
    return component_candidates(state, targets, said, answers=answers)


def test_a_component_goes_back_alone_though_that_set_never_served(swapping: ServiceState) -> None:
    best = candidates(swapping, "vocoder")[0]
    assert best.release.versions == {"acoustic": "3.0.0", "vocoder": "1.0.0"}
    assert (best.release.number, best.release.name) == (5, "vocoder-1.0.0")


def test_a_set_that_served_goes_under_its_own_number(swapping: ServiceState) -> None:
    best, other, *_ = candidates(swapping, "acoustic")
    assert best.release == swapping.promoted[2]
    assert other.release.versions == {"acoustic": "1.0.0", "vocoder": "2.0.0"}


def test_a_component_that_does_not_fit_alone_takes_the_last_set_that_served_with_it(swapping: ServiceState) -> None:
    best, second, alone = candidates(swapping, "vocoder", {"vocoder-1.0.0": "needs acoustic <3"})
    assert (best.release.name, best.against) == ("acoustic-2.0.0", None)
    assert best.release.versions == {"acoustic": "2.0.0", "vocoder": "1.0.0"}
    assert best.release.endpoints == swapping.stable.endpoints
    assert second.release.name == "first"
    assert (alone.release.name, alone.against) == ("vocoder-1.0.0", "needs acoustic <3")


def test_what_the_registry_the_quarantine_and_dead_servers_say_against_a_version(swapping: ServiceState) -> None:
    state = replace(swapping, quarantine={"version:acoustic-2.0.0": ("acoustic-2.0.0", "it crackled")})
    said = {c.release.name: c.against for c in candidates(state, "acoustic", {"acoustic-1.0.0": "needs vocoder <2"})}
    assert said["vocoder-2.0.0"] == "is quarantined (it crackled)"
    assert said["acoustic-1.0.0"] == "needs vocoder <2"
    assert {c.against for c in candidates(swapping, "vocoder", answers=False)} == {"does not answer"}


def test_a_release_with_a_quarantined_part_is_passed_over(swapping: ServiceState) -> None:
    state = replace(swapping, quarantine={"version:vocoder-2.0.0": ("vocoder-2.0.0", "it crackled")})
    assert choose_rollback_target(state, {}).name == "acoustic-2.0.0"


def test_a_component_that_an_older_release_lacks_is_not_looked_for_there(swapping: ServiceState) -> None:
    stable = parts(5, "emotion", acoustic="3.0.0", vocoder="2.0.0", emotion="1.0.0")
    state = replace(swapping, stable=stable, promoted=(*swapping.promoted, stable), n_releases=5)
    assert component_targets(state, "emotion") == []
