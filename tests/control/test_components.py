"""One component is released and rolled back inside servers that switch in place; the others are untouched."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from penstock.judge.counts import PodCounts
from penstock.kernel.errors import (
    ConflictError,
    NotFoundError,
    NothingToRollBack,
    NotSwappable,
    Quarantined,
    RolloutInProgress,
    UnhealthyTarget,
    UnknownComponent,
    UnknownRelease,
    UsageError,
    VersionTaken,
)
from penstock.rollout.plan import plan_from
from penstock.routing.table import Identity
from penstock.testing.servers import FakeProcess
from tests.control.conftest import PLAN, World, answer

NODES = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
BEFORE = {"acoustic": "1.2.0", "vocoder": "1.1.0"}
AFTER = {"acoustic": "1.2.0", "vocoder": "1.3.0"}


class Fleet(World):
    """A control plane over servers that switch in place; their answers are what they serve."""

    plan: ClassVar[dict[str, Any]] = PLAN

    def __init__(self, *nodes: str) -> None:
        super().__init__()
        self.servers.processes = {node: FakeProcess(dict(BEFORE)) for node in nodes or NODES}

    async def adopt(self) -> None:
        urls = [f"http://{node}" for node in self.servers.processes]
        await self.plane.adopt("tts", urls, listen="127.0.0.1:8500", identity=Identity(), actor="ann")
        await self.settle()

    async def switch(self, version: str = "1.3.0", component: str = "vocoder", **others: Any) -> dict[str, Any]:
        return await self.plane.release_component(
            "tts", component, version, plan_from(self.plan), actor="ann", **others
        )

    async def settle(self, seconds: float = 0.25) -> dict[str, Any]:
        """Let servers be asked and answer, and the loop act on it."""
        for _ in range(4):
            for _ in range(20):
                await asyncio.sleep(0)
            status = await self.tick(seconds=seconds)
        return status

    async def to(self, phase: str) -> dict[str, Any]:
        """Let both arms answer well until the rollout is there."""
        for _ in range(400):
            for _ in range(10):
                await asyncio.sleep(0)
            status = self.plane.status("tts")
            if status["phase"] == phase:
                return status
            await self.tick(*self.answers(status))
        raise AssertionError(f"{status['phase']}, {status['waiting_for']}")

    def answers(self, status: dict[str, Any]) -> list[PodCounts]:
        arms = [status["stable"], *([status["canary"]] if status["weight_pct"] else [])]
        return [
            answer(10, release=arm["number"], pod=url.removeprefix("http://"))
            for arm in arms
            for url in arm["endpoints"]
        ]

    @property
    def serving(self) -> dict[str, dict[str, str]]:
        return {node: process.versions for node, process in self.servers.processes.items()}

    def _page(self, pod: str, path: str) -> bytes:
        if path != "/version":
            return b"{}"
        versions = self.servers.processes[pod].versions
        parts = {component: {"version": version} for component, version in versions.items()}
        return json.dumps({"version": "set-1", "swappable": True, "components": parts}).encode()


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    await fleet.start()
    await fleet.adopt()
    yield fleet
    await fleet.loop.stop()


@pytest.fixture
async def lone() -> AsyncIterator[Fleet]:
    fleet = Fleet(NODES[0])
    await fleet.start()
    await fleet.adopt()
    yield fleet
    await fleet.loop.stop()


async def test_an_adopted_fleet_is_known_by_component_and_told_who_decides(fleet: Fleet) -> None:
    assert fleet.plane.status("tts")["stable"]["versions"] == BEFORE
    assert {p.attached_to for p in fleet.servers.processes.values()} == {"http://127.0.0.1:8600"}
    await fleet.loop.stop()
    assert {p.attached_to for p in fleet.servers.processes.values()} == {None}


async def test_half_of_the_servers_switch_out_of_stables_rotation(fleet: Fleet) -> None:
    status = await fleet.switch()
    assert (status["canary"]["release"], status["canary"]["versions"]) == ("vocoder-1.3.0", AFTER)
    assert status["canary"]["endpoints"] == [f"http://{NODES[0]}"]
    pushed = fleet.gateway.in_force("tts")
    assert pushed is not None
    assert [e.address for e in pushed.stable.endpoints] == list(NODES[1:])
    assert not pushed.overrides, "testers wait until it has switched"
    assert fleet.servers.processes[NODES[0]].versions == BEFORE, "nothing switched before the gateways let go of it"
    await fleet.to("stepping")
    assert fleet.serving == {NODES[0]: AFTER, NODES[1]: BEFORE, NODES[2]: BEFORE}
    in_force = fleet.gateway.in_force("tts")
    assert in_force is not None
    assert in_force.overrides


async def test_a_rollout_of_another_component_that_was_left_does_not_make_a_rollback_moot(fleet: Fleet) -> None:
    await fleet.switch("2.0.0", "acoustic")
    await fleet.to("baking")
    await fleet.to("idle")
    await fleet.switch()
    await fleet.settle()
    await fleet.plane.abort("tts", actor="ann")
    await fleet.to("idle")
    done = await fleet.plane.roll_back("tts", "acoustic", actor="ann", reason="it slurs")
    assert (done["versions"], done["changed"]) == (BEFORE, True)
    await fleet.to("idle")
    again = await fleet.plane.roll_back("tts", "acoustic", actor="ann", reason="it slurs")
    assert (again["versions"], again["changed"]) == (BEFORE, False)
    with pytest.raises(NothingToRollBack):
        await fleet.plane.roll_back("tts", "vocoder", actor="ann")


async def test_nobody_goes_back_to_a_version_that_nobody_knows(fleet: Fleet) -> None:
    with pytest.raises(UnknownRelease, match=r"never ran a release 'vocoder-0\.0\.1'; it knows: vocoder-1\.1\.0"):
        await fleet.plane.roll_back("tts", "vocoder", to="0.0.1", actor="ann")
    assert fleet.plane.status("tts")["phase"] == "idle"


async def test_a_rollback_that_led_nowhere_is_replaced_by_another(fleet: Fleet) -> None:
    for process in fleet.servers.processes.values():
        process.ready["vocoder"].add("0.9.0")
    await fleet.loop.control("tts").nodes.observe()
    for process in fleet.servers.processes.values():
        process.ready["vocoder"].discard("0.9.0")
        process.refuses["0.9.0"] = "its file is damaged"
    stuck = await fleet.plane.roll_back("tts", "vocoder", to="0.9.0", quarantine=False, actor="ann")
    assert not stuck["confirmed"]
    await fleet.settle()
    assert fleet.plane.status("tts")["phase"] == "rolling_back"
    back = await fleet.plane.roll_back("tts", "vocoder", to="1.1.0", actor="ann", reason="that one cannot be loaded")
    assert back["versions"] == BEFORE
    await fleet.to("idle")
    assert set(map(str, fleet.serving.values())) == {str(BEFORE)}
    assert [r.versions for r in fleet.loop.control("tts").state.promoted][-1] == BEFORE


async def test_what_serves_cannot_be_quarantined_by_any_of_its_names(fleet: Fleet) -> None:
    for name in ("acoustic-1.2.0", "vocoder-1.1.0"):
        with pytest.raises(ConflictError, match=f"rollback tts/{name.partition('-')[0]}"):
            await fleet.plane.quarantine("tts", name, actor="ann", reason="dull")


async def test_a_version_is_not_its_own_canary_under_another_spelling(fleet: Fleet) -> None:
    with pytest.raises(VersionTaken):
        await fleet.switch("v1.1.0")


async def test_what_a_server_finishes_for_stable_after_it_was_lent_to_the_canary_is_no_error(fleet: Fleet) -> None:
    stable = fleet.plane.status("tts")["stable"]["number"]
    canary = (await fleet.switch())["canary"]["number"]
    assert fleet.plane.pods_of("tts", stable) == frozenset(NODES)
    assert fleet.plane.pods_of("tts", canary) == frozenset(NODES[:1])


async def test_until_they_switch_servers_stand_in_for_stable_and_do_not_switch_while_it_needs_them(
    fleet: Fleet,
) -> None:
    others = dict.fromkeys(NODES[1:], False)
    await fleet.switch()
    fleet.gateway.health |= others
    for _ in range(3):
        await fleet.settle()
        served = fleet.gateway.route("tts")
        assert served is not None
        assert (served.name, fleet.serving[NODES[0]]) == ("set-1", BEFORE)
    assert fleet.plane.status("tts")["unhealthy"] == []
    fleet.gateway.health |= dict.fromkeys(others, True)
    await fleet.to("stepping")
    assert fleet.serving[NODES[0]] == AFTER


async def test_the_last_servers_that_answer_do_not_leave_stable(fleet: Fleet) -> None:
    fleet.gateway.health |= dict.fromkeys(NODES[1:], False)
    await fleet.settle(seconds=1.0)
    with pytest.raises(UnhealthyTarget, match=f"none of its servers but http://{NODES[0]} answers"):
        await fleet.switch()
    await fleet.switch(nodes=[f"http://{NODES[1]}"])


async def test_a_rollback_ends_though_stables_own_servers_died_meanwhile(fleet: Fleet) -> None:
    await fleet.switch()
    await fleet.to("stepping")
    await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    for node in NODES[1:]:
        fleet.servers.processes[node].down = True
    await fleet.loop.services["tts"].nodes.observe()
    await fleet.to("idle")
    await fleet.settle()
    table = fleet.gateway.in_force("tts")
    assert table is not None
    assert ([e.address for e in table.stable.endpoints], fleet.serving[NODES[0]]) == ([NODES[0]], BEFORE)


async def test_promotion_switches_the_rest_which_loaded_while_it_baked(fleet: Fleet) -> None:
    await fleet.switch(nodes=[f"http://{NODES[1]}"])
    await fleet.to("baking")
    await fleet.settle()
    assert all("1.3.0" in p.ready["vocoder"] for p in fleet.servers.processes.values())
    assert fleet.serving[NODES[0]] == BEFORE
    status = await fleet.to("idle")
    assert status["outcome"]["outcome"] == "promoted"
    await fleet.settle()
    assert fleet.serving == dict.fromkeys(NODES, AFTER)
    assert sorted(fleet.plane.status("tts")["stable"]["endpoints"]) == [f"http://{node}" for node in NODES]
    loads = [node for what, node in fleet.servers.asked if what == "prepare"]
    assert sorted(loads) == sorted(NODES), "each loaded once"


async def test_rolling_a_rollout_back_leaves_the_other_component_alone(fleet: Fleet) -> None:
    await fleet.switch()
    await fleet.to("stepping")
    done = await fleet.plane.roll_back("tts", "vocoder", actor="ann", reason="it crackles")
    assert (done["release"], done["versions"]) == ("set-1", BEFORE)
    await fleet.settle()
    assert fleet.serving == dict.fromkeys(NODES, BEFORE)
    status = fleet.plane.status("tts")
    assert sorted(status["stable"]["endpoints"]) == [f"http://{node}" for node in NODES]
    assert [each["version"] for each in status["quarantined"]] == ["vocoder-1.3.0"]
    with pytest.raises(Quarantined):
        await fleet.switch()


async def test_a_promoted_component_goes_back_alone_though_another_was_promoted_after_it(fleet: Fleet) -> None:
    for component, version in (("vocoder", "1.3.0"), ("acoustic", "2.0.0")):
        await fleet.switch(version, component)
        await fleet.to("baking")
        await fleet.to("idle")
        await fleet.settle()
    planned = await fleet.plane.rollback_plan("tts", "vocoder")
    assert planned["target"] == "vocoder-1.1.0"
    assert planned["candidates"][0]["versions"] == {"acoustic": "2.0.0", "vocoder": "1.1.0"}
    n_asked = len(fleet.servers.asked)
    done = await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    assert done["versions"] == {"acoustic": "2.0.0", "vocoder": "1.1.0"}
    assert done["confirmed"], "warm versions switch before the command returns"
    assert {what for what, _ in fleet.servers.asked[n_asked:]} == {"switch"}
    assert (await fleet.to("idle"))["stable"]["release"] == "vocoder-1.1.0"
    again = await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    assert again["generation"] == done["generation"], "asking twice changes nothing"
    with pytest.raises(Quarantined):
        await fleet.plane.roll_back("tts", "vocoder", to="1.3.0", actor="ann")
    back = await fleet.plane.roll_back("tts", "acoustic", to="1.2.0", actor="ann")
    assert back["versions"] == BEFORE


async def test_what_was_loaded_for_a_rollout_that_is_over_is_given_up(fleet: Fleet) -> None:
    await fleet.switch()
    await fleet.to("baking")
    await fleet.settle()
    waiting = [fleet.servers.processes[node] for node in NODES[1:]]
    assert all(process.prepared["vocoder"] == {"1.3.0"} for process in waiting)
    await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    await fleet.to("idle")
    await fleet.settle()
    assert all(process.ready["vocoder"] == {"1.1.0"} for process in waiting)


async def test_a_lone_server_gives_up_the_canarys_version(lone: Fleet) -> None:
    await lone.switch()
    await lone.to("stepping")
    await lone.plane.roll_back("tts", "vocoder", actor="ann")
    await lone.settle()
    assert lone.servers.processes[NODES[0]].ready["vocoder"] == {"1.1.0"}


async def test_a_component_that_never_was_another_one_cannot_go_back(fleet: Fleet) -> None:
    with pytest.raises(NothingToRollBack, match="vocoder never was another one"):
        await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    assert (await fleet.plane.rollback_plan("tts", "vocoder"))["target"] is None


async def test_a_server_that_cannot_load_it_ends_the_rollout_before_any_user(fleet: Fleet) -> None:
    fleet.servers.processes[NODES[0]].refuses["1.3.0"] = "its file is damaged"
    await fleet.switch()
    await fleet.settle()
    status = await fleet.to("idle")
    assert status["outcome"]["outcome"] == "aborted"
    assert "its file is damaged" in status["outcome"]["reason"]
    assert status["quarantined"] == []
    assert fleet.serving == dict.fromkeys(NODES, BEFORE)


async def test_a_server_that_does_not_confirm_is_named_and_out_of_rotation(fleet: Fleet) -> None:
    await fleet.switch()
    await fleet.to("baking")
    await fleet.settle()
    fleet.servers.processes[NODES[2]].down = True
    await fleet.to("idle")
    status = await fleet.settle()
    table = fleet.gateway.in_force("tts")
    assert table is not None
    assert [e.address for e in table.stable.endpoints] == list(NODES[1::-1])
    assert any(NODES[2] in warning and "out of rotation" in warning for warning in status["warnings"])
    assert status["phase"] == "idle"


async def test_a_restart_finds_what_the_servers_serve(fleet: Fleet) -> None:
    await fleet.switch()
    await fleet.to("stepping")
    await fleet.loop.stop()
    await fleet.restart()
    table = fleet.gateway.in_force("tts")
    assert table is not None
    assert table.canary is not None
    assert [e.address for e in table.canary.endpoints] == [NODES[0]]
    status = await fleet.settle()
    assert (status["phase"], status["weight_pct"]) == ("held", 0)
    await fleet.plane.resume("tts", actor="ann")
    assert (await fleet.to("baking"))["weight_pct"] == 100


async def test_a_lone_server_splits_inside_and_replays_say_which_arm(lone: Fleet) -> None:
    status = await lone.switch()
    assert status["canary"]["endpoints"] == status["stable"]["endpoints"]
    await lone.to("stepping")
    process = lone.servers.processes[NODES[0]]
    assert (process.versions, process.canary) == (BEFORE, AFTER)
    table = lone.gateway.in_force("tts")
    assert table is not None
    assert table.split_inside
    await lone.plane.roll_back("tts", "vocoder", actor="ann")
    await lone.settle()
    assert (process.versions, process.canary) == (BEFORE, None)


async def test_a_lone_server_promotes_inside(lone: Fleet) -> None:
    await lone.switch()
    await lone.to("baking")
    await lone.to("idle")
    await lone.settle()
    process = lone.servers.processes[NODES[0]]
    assert (process.versions, process.canary, process.release) == (AFTER, None, "vocoder-1.3.0")
    lone.servers.asked.clear()
    await lone.plane.roll_back("tts", "vocoder", actor="ann")
    assert process.versions == BEFORE
    assert lone.servers.asked == [("switch", NODES[0])]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"component": "emotion"}, UnknownComponent, "acoustic, vocoder"),
        ({"version": "1.1.0"}, VersionTaken, "stable already"),
        ({"nodes": ["http://10.9.9.9:1"]}, NotFoundError, "no server of tts"),
        ({"nodes": [f"http://{node}" for node in NODES]}, UsageError, "leave stable at least one"),
    ],
)
async def test_what_cannot_be_meant_changes_nothing(
    fleet: Fleet, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    n_entries = len(fleet.book.entries)
    with pytest.raises(error, match=said):
        await fleet.switch(**asked)
    assert len(fleet.book.entries) == n_entries


async def test_servers_of_whole_releases_have_no_components(world: World) -> None:
    await world.adopt()
    with pytest.raises(NotSwappable, match="cannot switch one component"):
        await world.plane.release_component("tts", "vocoder", "1.3.0", plan_from(PLAN), actor="ann")


async def test_a_rollout_of_one_component_is_not_ended_by_who_wants_another_back(fleet: Fleet) -> None:
    await fleet.switch()
    with pytest.raises(RolloutInProgress):
        await fleet.plane.roll_back("tts", "acoustic", actor="ann")
    with pytest.raises(RolloutInProgress):
        await fleet.switch("9.0.0", "acoustic")


async def test_the_status_says_what_every_server_has_in_memory(fleet: Fleet) -> None:
    assert fleet.plane.status("tts")["servers"] == [
        {"url": f"http://{node}", "in_memory": {"acoustic": ["1.2.0"], "vocoder": ["1.1.0"]}} for node in NODES
    ]
    await fleet.switch()
    canary, *others = (await fleet.settle())["servers"]
    assert canary["in_memory"]["vocoder"] == ["1.1.0", "1.3.0"]
    assert all(other["in_memory"]["vocoder"] == ["1.1.0"] for other in others)
    fleet.servers.processes[NODES[2]].down = True
    await fleet.plane._loop.control("tts").nodes.observe()
    assert [server["in_memory"] is None for server in fleet.plane.status("tts")["servers"]] == [False, False, True]
