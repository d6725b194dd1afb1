"""Commands against a control plane: what they print, and what they exit with."""

import json

import pytest

from tests.api.served import Served, quiet
from tests.cli.conftest import Command
from tests.control.conftest import CANARY

RELEASE = ("release", "tts", f"http://{CANARY}", "--version", "2.0.1", "--steps", "10,50,100", "--dwell", "1h")


@pytest.fixture
def stepping(served: Served, penstock: Command) -> Served:
    """A rollout that stays on its first step: nobody comes."""
    served.traffic = quiet
    assert penstock(*RELEASE).code == 0
    for _ in range(500):
        if json.loads(penstock("status", "tts", "-o", "json").out)["phase"] == "stepping":
            return served
    raise AssertionError("the rollout never began to step")


def test_status_has_the_fields_that_scripts_rely_on(stepping: Served, penstock: Command) -> None:
    status = penstock("status", "tts", "-o", "json").last
    wanted = {"service", "phase", "generation", "gateway_url", "stable", "canary", "weight_pct", "verdict", "nodes"}
    assert wanted <= set(status)
    assert {"release", "versions", "endpoints"} <= set(status["stable"])
    assert {"id", "generation", "live"} <= set(status["nodes"][0])
    assert (status["phase"], status["weight_pct"], status["canary"]["release"]) == ("stepping", 10, "2.0.1")


def test_what_people_read(stepping: Served, penstock: Command) -> None:
    shown = penstock("status", "tts").out
    for word in ("stepping", "2.0.1", "[10] 50 100 %", "dwelling", "no digest known"):
        assert word in shown
    assert "tts" in penstock("list").out
    assert "no digest known" in penstock("get", "tts").out
    assert "adopted" in penstock("history", "tts").out
    explained = penstock("explain", "tts").out
    for word in ("longest_stall", "at most 1 %", "verdict now"):
        assert word in explained
    assert penstock("doctor").code == 0


def test_a_person_leads_a_rollout(stepping: Served, penstock: Command) -> None:
    assert penstock("pause", "tts", "--reason", "lunch", "-o", "json").last["reason"] == "lunch"
    assert penstock("resume", "tts", "-o", "json").last["phase"] == "stepping"
    assert penstock("promote", "tts", "-o", "json").last["weight_pct"] == 50
    assert penstock("promote", "tts", "--full", "-o", "json").last["phase"] == "baking"
    assert penstock("promote", "tts", "--actor", "zo\u00eb", "-o", "json").last["stable"]["release"] == "2.0.1"
    assert penstock("history", "tts", "-o", "json").last[-2]["actor"] == "zo\u00eb"
    planned = penstock("rollback", "tts", "--dry-run", "-o", "json")
    assert (planned.code, planned.last["target"]) == (0, "1.5.0")
    done = penstock("rollback", "tts/model", "--no-quarantine", "--reason", "hoarse", "-o", "json")
    assert done.code == 0
    assert set(done.last) == {"generation", "decided_at", "applied_at", "acknowledged", "nodes", "release"} | {
        "versions",
        "confirmed",
        "changed",
    }
    assert (done.last["release"], done.last["acknowledged"], done.last["nodes"]) == ("1.5.0", 1, 1)
    assert penstock("status", "tts", "-o", "json").last["quarantined"] == []


def test_a_rollback_that_a_gateway_does_not_acknowledge_is_not_called_done(stepping: Served, penstock: Command) -> None:
    stepping.world.gateway.fleet["node-1"].silent = True
    done = penstock("rollback", "tts")
    assert done.code == 1
    assert "not every live gateway" in done.err


def test_quarantine_and_back(served: Served, penstock: Command) -> None:
    assert "by version, no digest known" in penstock("quarantine", "tts", "9.9", "--reason", "known bad").out
    refused = penstock("release", "tts", f"http://{CANARY}", "-o", "json")
    assert refused.code == 0  # another version
    assert penstock("unquarantine", "tts", "9.9", "--reason", "mended", "-o", "json").last["quarantined"] is False
    assert penstock("quarantine", "tts", "9.9").code == 2
    assert penstock("unquarantine", "tts", "9.9", "--reason", "twice").code == 1


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("status", "sts"), 1, "There is no service 'sts'"),
        (("pause", "tts"), 1, "no rollout that could be paused"),
        (("rollback", "tts"), 7, "no earlier healthy release"),
        (("rollback", "tts", "--to", "0.9"), 1, "never ran a release '0.9'"),
        (("rollback", "tts/vocoder"), 1, "no component 'vocoder'"),
        (("rollback", "tts/"), 2, "names no component"),
        (("release", "tts", "http://127.0.0.1:6006"), 2, "already used by tts 1.5.0"),
        (("release", "tts", f"http://{CANARY}", "--version", "3.0.0"), 7, "serves version 2.0.1, not 3.0.0"),
        (("release", "tts", f"http://{CANARY}", f"http://{CANARY}"), 2, "already used by the same release"),
        (("release", "tts", "http://h:1/path"), 2, "more than a scheme"),
        (("release", "tts", f"http://{CANARY}", "--steps", "50,101"), 2, "last step must be 100"),
        (("release", "tts", f"http://{CANARY}", "--timeout", "soon"), 2, "--timeout 'soon' is not a time"),
        (("release", "tts", f"http://{CANARY}", "--version", "a b"), 2, "cannot name a version"),
        (("quarantine", "tts", "1.5.0", "--reason", "x"), 7, "serving traffic"),
    ],
)
def test_wrong_input_is_one_sentence_with_a_remedy_and_changes_nothing(
    served: Served, penstock: Command, args: tuple[str, ...], code: int, says: str
) -> None:
    before = len(penstock("history", "tts", "-o", "json").last)
    done = penstock(*args)
    assert (done.code, done.out) == (code, "")
    error, remedy = done.err.splitlines()
    assert error.startswith("error: ")
    assert says in error
    assert remedy.startswith("  remedy: ")
    assert len(penstock("history", "tts", "-o", "json").last) == before


def test_a_dead_endpoint_is_unreachable(served: Served, penstock: Command) -> None:
    served.world.down.add(CANARY)
    done = penstock(*RELEASE, "-o", "json")
    assert (done.code, done.last["error"]["code"]) == (8, "endpoint-unreachable")


def test_a_second_rollout_is_a_conflict(stepping: Served, penstock: Command) -> None:
    done = penstock(*RELEASE, "-o", "json")
    assert (done.code, done.last["error"]["code"]) == (7, "rollout-in-progress")


def test_the_doctor_exits_1_when_something_is_wrong(stepping: Served, penstock: Command) -> None:
    stepping.world.gateway.fleet["node-1"].live = False
    done = penstock("doctor")
    assert done.code == 1
    assert "FAIL  tts gateways: 0 of 1" in done.out
    assert "remedy: " in done.out
