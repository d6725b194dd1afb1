"""What servers that switch versions in place are asked for, phase by phase."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.registry.release import Endpoint, Release
from penstock.rollout.decide import held, next_step, rolling_back
from penstock.rollout.entry import Kind
from penstock.rollout.fleet import Wanted, wanted
from penstock.rollout.plan import Plan
from penstock.rollout.state import ServiceState
from tests.rollout.conftest import Story

NODES = tuple(Endpoint("http", "10.0.0.1", port) for port in (1, 2, 3))
BEFORE = {"acoustic": "1.2.0", "vocoder": "1.1.0"}
AFTER = {"acoustic": "1.2.0", "vocoder": "1.3.0"}
STABLE = Release("tts", 1, "first", BEFORE, NODES, swapped=True)


class Fleet(Story):
    """The story of a service whose servers switch in place."""

    def __init__(self, nodes: tuple[Endpoint, ...] = NODES) -> None:
        super().__init__()
        stable = replace(STABLE, endpoints=nodes)
        self.state = replace(self.state, stable=stable, promoted=(stable,))

    def switch(self, *nodes: Endpoint) -> ServiceState:
        canary = Release("tts", self.state.n_releases + 1, "vocoder-1.3.0", AFTER, nodes, swapped=True)
        plan = Plan.ramp((10, 100), 30.0).as_json()
        return self.add(Kind.STARTED, "started", release=canary.as_json(), plan=plan, in_place=True)

    def bake(self) -> ServiceState:
        return self.take(next_step(self.state, "", full=True))


def test_servers_that_do_not_switch_are_asked_for_nothing(story: Story) -> None:
    story.start("2.0.0")
    assert wanted(story.state) == {}


def test_the_canarys_servers_leave_stable_and_come_back_with_a_rollback() -> None:
    story = Fleet()
    state = story.switch(NODES[0])
    assert state.stable.endpoints == NODES[1:]
    assert not state.split_inside
    as_before = Wanted("first", BEFORE)
    switched = Wanted("vocoder-1.3.0", AFTER)
    assert wanted(state) == {NODES[0]: switched, NODES[1]: as_before, NODES[2]: as_before}
    state = story.take(rolling_back(state, None, "bad"))
    assert wanted(state) == dict.fromkeys(NODES, as_before), "they stand in where stable's own servers die meanwhile"
    state = story.add(Kind.ROLLED_BACK, "done")
    assert set(state.stable.endpoints) == set(NODES)
    assert wanted(state) == dict.fromkeys(NODES, as_before)
    assert not state.in_place


def test_the_rest_load_the_canary_while_it_bakes_and_switch_with_its_promotion() -> None:
    story = Fleet()
    story.switch(NODES[0])
    state = story.bake()
    assert wanted(state)[NODES[1]] == Wanted("first", BEFORE, ahead={"vocoder": "1.3.0"})
    story.take(held(state, "wait", weight_pct=100.0, paused=False))
    assert wanted(story.state)[NODES[1]].ahead == {"vocoder": "1.3.0"}, "a hold does not throw the load away"
    state = story.add(Kind.RESUMED, "go on", phase="baking", weight_pct=100.0)
    state = story.add(Kind.PROMOTED, "good")
    assert set(state.stable.endpoints) == set(NODES)
    assert state.promoted[-1] == state.stable
    assert state.warm is None, "the same servers keep it warm"
    assert wanted(state) == dict.fromkeys(NODES, Wanted("vocoder-1.3.0", AFTER))
    state = story.add(Kind.ROLLING_BACK, "worse", to=STABLE.as_json(), ending="rolled_back")
    assert wanted(state) == dict.fromkeys(NODES, Wanted("first", BEFORE))


def test_a_lone_server_serves_both_arms() -> None:
    story = Fleet(NODES[:1])
    state = story.switch(NODES[0])
    assert state.split_inside
    both = Wanted("first", BEFORE, canary=AFTER, canary_release="vocoder-1.3.0")
    assert wanted(state) == {NODES[0]: both}
    assert wanted(story.take(held(state, "wait", weight_pct=0.0, paused=True))) == {NODES[0]: both}
    state = story.take(rolling_back(state, None, "bad"))
    assert wanted(state) == {NODES[0]: Wanted("first", BEFORE)}
    state = story.add(Kind.ROLLED_BACK, "done")
    assert state.stable.endpoints == NODES[:1]


def test_a_lone_server_promotes_inside() -> None:
    story = Fleet(NODES[:1])
    story.switch(NODES[0])
    assert wanted(story.bake())[NODES[0]].ahead == {}
    state = story.add(Kind.PROMOTED, "good")
    assert wanted(state) == {NODES[0]: Wanted("vocoder-1.3.0", AFTER)}


def test_leaving_for_an_earlier_release_keeps_the_canarys_servers_apart() -> None:
    story = Fleet()
    story.switch(NODES[0])
    target = replace(STABLE, number=7, name="composed")
    state = story.add(Kind.ROLLING_BACK, "bad", to=target.as_json(), ending="rolled_back")
    assert state.stable.endpoints == NODES[1:]
    assert state.n_releases == 7
    assert set(story.add(Kind.ROLLED_BACK, "done").stable.endpoints) == set(NODES)


@pytest.mark.parametrize("on_other_servers", [{"in_place": False}, {}])
def test_a_release_on_servers_of_its_own_moves_no_server(on_other_servers: dict[str, Any]) -> None:
    story = Fleet()
    own = Endpoint("http", "10.0.0.9", 9)
    canary = Release("tts", 2, "whole", AFTER, (own,), swapped=True)
    plan = Plan.ramp((10, 100), 30.0).as_json()
    state = story.add(Kind.STARTED, "started", release=canary.as_json(), plan=plan, **on_other_servers)
    assert state.stable.endpoints == NODES
    assert wanted(state)[own] == Wanted("whole", AFTER)
    story.bake()
    state = story.add(Kind.PROMOTED, "good")
    assert state.stable.endpoints == (own,)
    assert state.warm is not None
