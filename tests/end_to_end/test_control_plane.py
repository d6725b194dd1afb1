"""The control plane dies, is stopped, and comes back; a person rolls back by hand."""

import time

from tests.end_to_end.load import everybody
from tests.end_to_end.programs import alive, until
from tests.end_to_end.stage import SERVICE, Stage

SLOW = ("--steps", "50,100", "--dwell", "10m", "--longest-stall", "5s", "--min-requests", "0")
STABLE, CANARY = "1.5.0", "1.6.0"
LEASE_S = 3.0


def test_killed_in_mid_rollout_it_leaves_stable_serving_and_resumes_held_on_the_same_envoy(stage: Stage) -> None:
    stage.up(stage.server(STABLE), lease=f"{LEASE_S}s")
    stage.release(stage.server(CANARY), version=CANARY, plan=SLOW)
    stage.until_stepping(50)
    (envoy,) = stage.envoys()
    with stage.users() as load:
        until(lambda: CANARY in load.releases(), "the canary serves users")
        stage.plane.kill()
        killed_s = time.monotonic()
        until(lambda: time.monotonic() > killed_s + LEASE_S + 3, "the lease has ended")
        until(lambda: load.n_since(killed_s + LEASE_S + 2) > 50, "users go on asking")
        assert CANARY in load.releases(since_s=killed_s)
        assert load.releases(since_s=killed_s + LEASE_S + 2) == {STABLE}

        plane = stage.up(lease=f"{LEASE_S}s")
        assert "held: the control plane was restarted" in plane.said
        assert stage.envoys() == [envoy]
        status = stage.status()
        assert (status["phase"], status["weight_pct"]) == ("held", 0)
        assert "restarted" in status["reason"]
        assert (status["nodes"][0]["live"], status["nodes"][0]["generation"]) == (True, status["generation"])
        assert load.releases(since_s=killed_s + LEASE_S + 2) == {STABLE}

        assert stage.penstock("resume", SERVICE).last["weight_pct"] == 50
        resumed_s = time.monotonic()
        until(lambda: load.releases(since_s=resumed_s) == {STABLE, CANARY}, "the canary serves again")
        assert stage.penstock("promote", SERVICE).last["phase"] == "baking"
        assert stage.penstock("promote", SERVICE).last["stable"]["release"] == CANARY
        promoted_s = time.monotonic()
        until(lambda: load.n_since(promoted_s) > 50, "users go on asking")
        assert load.releases(since_s=promoted_s) == {CANARY}
    assert load.failures() == []


def test_stopped_in_mid_rollout_it_takes_the_canary_out_first_and_down_ends_the_rest(stage: Stage) -> None:
    server = stage.server(STABLE)
    plane = stage.up(server)
    stage.release(stage.server(CANARY), version=CANARY, plan=SLOW)
    stage.until_stepping(50)
    (envoy,) = stage.envoys()
    with stage.users() as load:
        until(lambda: CANARY in load.releases(), "the canary serves users")
        assert plane.terminate() == 0
        stopped_s = time.monotonic()
        assert plane.said.splitlines()[-1].endswith("stop with: penstock down")
        assert f"resume with: penstock up, then penstock resume {SERVICE}" in plane.said
        last = stage.journal()[-1]
        assert last.kind == "applied"
        assert last.generation == stage.journalled().generation  # taken out, and acknowledged
        assert stage.journalled().weight_pct == 0
        until(lambda: load.n_since(stopped_s) > 50, "users go on asking")
        assert load.releases(since_s=stopped_s) == {STABLE}

        plane = stage.up(stage.server("9.9.9"))
        assert f"the journal says that {STABLE} at {server.url} is stable; keeping that" in plane.said
        assert stage.status()["stable"]["endpoints"] == [server.url]
        assert stage.envoys() == [envoy]
    assert load.failures() == []

    down = stage.penstock("down", "--state", str(stage.state_dir))
    assert (down.code, down.last["said"]) == (0, "control plane and gateway are stopped")
    until(lambda: not plane.running and not alive(envoy), "both have ended")
    assert stage.envoys() == []
    again = stage.penstock("down", "--state", str(stage.state_dir))
    assert (again.code, again.last["said"]) == (0, f"nothing runs in {stage.state_dir}")
    stage.up()
    assert set(stage.served(everybody(20)).values()) == {STABLE}
    assert stage.status()["canary"]["release"] == CANARY


def test_a_rollback_by_hand_is_over_when_it_returns(stage: Stage) -> None:
    stage.up(stage.server(STABLE))
    stage.release(stage.server(CANARY), version=CANARY, plan=SLOW)
    stage.until_stepping(50)
    with stage.users(rate_hz=200, n_connections=16) as load:
        until(lambda: CANARY in load.releases(), "the canary serves users")
        rolled_back = stage.penstock("rollback", SERVICE, "--reason", "crackles")
        returned_s = time.monotonic()
        until(lambda: load.n_since(returned_s) > 200, "users go on asking")
        assert load.releases(since_s=returned_s) == {STABLE}
    assert load.failures() == []
    assert rolled_back.code == 0
    told = rolled_back.last
    assert (told["acknowledged"], told["nodes"], told["release"]) == (1, 1, STABLE)
    assert told["applied_at"] >= told["decided_at"]
    again = stage.penstock("rollback", SERVICE, "--to", STABLE)
    assert (again.code, again.last) == (0, {**told, "changed": False})
    status = stage.status()
    assert (status["outcome"]["outcome"], status["quarantined"]) == (
        "rolled_back",
        [{"version": CANARY, "why": "crackles"}],
    )
