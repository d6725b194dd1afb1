"""Envoy and model servers are killed under load."""

import os
import signal
import time

from tests.end_to_end.load import ask_everybody, everybody
from tests.end_to_end.programs import until
from tests.end_to_end.stage import SERVICE, Stage

PLAN = ("--longest-stall", "2s", "--min-requests", "0")
STABLE, CANARY = "1.5.0", "1.6.0"


def test_a_killed_envoy_is_back_within_seconds_with_the_same_split_and_the_rollout_goes_on(stage: Stage) -> None:
    users = everybody(300)
    stage.up(stage.server(STABLE))
    stage.release(stage.server(CANARY), version=CANARY, plan=("--steps", "50,100", "--dwell", "6s", *PLAN))
    stage.until_stepping(50)
    before = stage.served(users)
    assert set(before.values()) == {STABLE, CANARY}
    (envoy,) = stage.envoys()
    with stage.users(users=users) as load:
        until(lambda: load.requests, "users ask")
        generation = stage.status()["generation"]
        os.kill(envoy, signal.SIGKILL)
        killed_s = time.monotonic()
        answered = until(lambda: [r for r in load.requests if r.at_s > killed_s and r.status == 200], "answers")
        assert answered[0].done_s - killed_s < 10
        back_s = answered[0].done_s
        until(lambda: load.n_since(back_s) > 100, "users go on asking")
        after = [r for r in load.requests if r.at_s > back_s]
        assert not [r for r in after if r.failed]
        if stage.status()["generation"] == generation:  # a busy machine may have taken the next step meanwhile
            assert all(before[r.user] == r.release for r in after)
        stage.until_status(lambda s: s["outcome"] and s["outcome"]["outcome"] == "promoted", "the rollout goes on")
        assert load.failures(since_s=back_s) == []
    (restarted,) = stage.envoys()
    assert restarted != envoy


def test_users_do_not_notice_a_killed_canary_which_is_rolled_back(stage: Stage) -> None:
    stage.up(stage.server(STABLE))
    canary = stage.server(CANARY)
    stage.release(canary, version=CANARY, plan=("--steps", "50,100", "--dwell", "10m", *PLAN))
    stage.until_stepping(50)
    with stage.users() as load:
        until(lambda: CANARY in load.releases(), "the canary serves users")
        canary.kill()
        killed_s = time.monotonic()
        withdrawn = stage.until_status(lambda s: s["weight_pct"] == 0, "the canary has lost its traffic")
        assert withdrawn["phase"] in {"withdrawn", "rolling_back", "idle"}
        stage.until_status(lambda s: s["outcome"] and s["outcome"]["outcome"] == "rolled_back", "it is rolled back")
        until(lambda: load.n_since(killed_s) > 200, "users go on asking")
    assert load.failures() == []


def test_nothing_happens_when_one_of_two_stable_servers_is_killed(stage: Stage) -> None:
    victim = stage.server(STABLE)
    stage.up(victim, stage.server(STABLE))
    stage.release(stage.server(CANARY), version=CANARY, plan=("--steps", "50,100", "--dwell", "6s", *PLAN))
    stage.until_stepping(50)
    with stage.users() as load:
        until(lambda: load.n_since(0) > 100, "users ask")
        victim.kill()
        stage.until_status(lambda s: s["phase"] == "idle", "the rollout goes on")
        assert stage.status()["outcome"]["outcome"] == "promoted"
    assert load.failures() == []


def test_the_canary_serves_everybody_while_stable_is_dead_and_the_status_tells(stage: Stage) -> None:
    stable = stage.server(STABLE)
    stage.up(stable)
    stage.release(stage.server(CANARY), version=CANARY, plan=("--steps", "50,100", "--dwell", "10m", *PLAN))
    stage.until_stepping(50)
    with stage.users() as load:
        until(lambda: load.releases() == {STABLE, CANARY}, "both serve users")
        stable.kill()
        killed_s = time.monotonic()
        status = stage.until_status(lambda s: any(STABLE in w for w in s["warnings"]), "the status warns")
        assert status["weight_pct"] == 50
        refused = stage.penstock("rollback", SERVICE)
        assert refused.code == 6
        assert STABLE in refused.err
        until(lambda: load.n_since(killed_s + 3) > 200, "users go on asking")
        assert load.releases(since_s=killed_s + 1) == {CANARY}
        assert load.failures(since_s=killed_s + 1) == []


def test_without_any_server_the_phase_is_fallback_until_one_is_back(stage: Stage) -> None:
    stable, canary = stage.server(STABLE), stage.server(CANARY)
    stage.up(stable)
    stage.release(canary, version=CANARY, plan=("--steps", "50,100", "--dwell", "10m", *PLAN))
    stage.until_stepping(50)
    canary.kill()
    assert set(stage.served(everybody(30)).values()) == {STABLE}
    stable.kill()
    status = stage.until_status(lambda s: s["phase"] == "fallback", "neither is healthy")
    assert [w.rpartition(": ")[2] for w in status["warnings"] if "answers" in w] == ["nobody is served"] * 2
    assert {r.status for r in ask_everybody(stage.gateway_url, everybody(10))} == {503}
    stage.server(STABLE, port=int(stable.url.rpartition(":")[2]))
    status = stage.until_status(lambda s: s["phase"] == "held", "stable is back")
    assert (status["weight_pct"], status["reason"]) == (0, f"{STABLE} answers again")
    assert set(stage.served(everybody(30)).values()) == {STABLE}
    assert stage.penstock("abort", SERVICE).code == 0
    stage.until_status(lambda s: s["phase"] == "idle" and not s["warnings"], "it is over")
