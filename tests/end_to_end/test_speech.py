"""Real speech on a real gateway: the three bad versions are rolled back, the good one is promoted and undone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.load import Load
from tests.end_to_end.programs import SpeechServer
from tests.end_to_end.stage import SERVICE, Stage

PLAN = ("--steps", "25,50,100", "--dwell", "3s", "--longest-stall", "2s", "--min-requests", "20")
#: Slowness takes more answers to prove than failure does.
PATIENT = ("--steps", "50,100", "--dwell", "90s", "--longest-stall", "2s")
STABLE = "1.5.0"
ANNOUNCEMENT = json.dumps(
    {"text": "The next train to the airport leaves from platform four, please stand back."}
).encode()
_TEXTS = Path(__file__).parents[2] / "examples" / "speech" / "requests.txt"
BODIES = [json.dumps({"text": line}).encode() for line in _TEXTS.read_text("utf-8").splitlines() if line[0] != "#"]


@pytest.fixture
def users(stage: Stage) -> Iterator[Load]:
    """Users of two synthesisers of 1.5.0."""
    stage.up(*stage.speech(STABLE, STABLE))
    with stage.users(bodies=BODIES, rate_hz=16, users=150) as load:
        yield load


def meter_in(
    stage: Stage, version: str, plan: tuple[str, ...] = PLAN
) -> tuple[int, dict[str, object], list[SpeechServer]]:
    servers = stage.speech(version, version)
    result = stage.release(*servers, version=version, plan=plan, watch=True)
    return result.code, result.last, servers


def serves(stage: Stage) -> str:
    return str(stage.status()["stable"]["release"])


def test_a_voice_that_fails_on_long_texts_is_rolled_back_and_quarantined(stage: Stage, users: Load) -> None:
    code, outcome, servers = meter_in(stage, "2.0.1")
    assert (code, outcome["outcome"]) == (3, "rolled_back"), outcome
    assert (serves(stage), stage.status()["phase"]) == (STABLE, "idle")
    assert {r.release for r in users.failures()} <= {"2.0.1"}
    again = stage.penstock("release", SERVICE, *servers, "--version", "2.0.1", *PLAN)
    assert (again.code, again.last["error"]["code"]) == (6, "quarantined")
    assert stage.penstock("unquarantine", SERVICE, "2.0.1", "--reason", "longer table").code == 0
    assert stage.release(*servers, version="2.0.1", plan=PLAN).code == 0
    assert stage.penstock("abort", SERVICE).code == 0


def test_a_silent_voice_is_rolled_back(stage: Stage, users: Load) -> None:
    code, outcome, _ = meter_in(stage, "2.0.2")
    assert (code, outcome["outcome"]) == (3, "rolled_back"), outcome
    assert serves(stage) == STABLE
    assert not users.failures()


def test_a_slow_voice_is_rolled_back(stage: Stage) -> None:
    stage.up(*stage.speech(STABLE, STABLE))
    # One text: the p95 of texts of all lengths says little about a few hundred answers.
    with stage.users(bodies=[ANNOUNCEMENT], rate_hz=24, users=150) as users:
        code, outcome, _ = meter_in(stage, "2.0.0", PATIENT)
    assert (code, outcome["outcome"]) == (3, "rolled_back"), outcome
    assert "p95" in str(outcome["reason"])
    assert not users.failures()


def test_a_version_that_takes_three_times_as_long_is_rolled_back(stage: Stage) -> None:
    stage.up(stage.server(STABLE, latency_ms=30), stage.server(STABLE, latency_ms=30))
    slow = stage.server("2.0.0", latency_ms=90), stage.server("2.0.0", latency_ms=90)
    with stage.users(rate_hz=60) as users:
        result = stage.release(*slow, version="2.0.0", plan=PATIENT, watch=True)
    assert (result.code, result.last["outcome"]) == (3, "rolled_back"), result.last
    assert "p95" in result.last["reason"]
    assert not users.failures()


def test_a_good_voice_is_promoted_and_can_be_undone(stage: Stage, users: Load) -> None:
    code, outcome, _ = meter_in(stage, "1.6.0")
    assert (code, outcome["outcome"]) == (0, "promoted"), outcome
    assert serves(stage) == "1.6.0"
    undone = stage.penstock("rollback", SERVICE, "--reason", "the old one was warmer")
    assert (undone.code, undone.last["release"]) == (0, STABLE)
    stage.until_status(lambda s: s["phase"] == "idle" and s["stable"]["release"] == STABLE, "1.5.0 serves")
    assert not users.failures()
