"""One component goes out and comes back inside running servers, under load, through a real gateway."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.conftest import METADATA
from tests.end_to_end.programs import until
from tests.end_to_end.stage import Stage
from tests.servers.toys import Toy

PLAN = ("--steps", "10,50,100", "--dwell", "2s", "--longest-stall", "2s", "--min-requests", "10")
BEFORE, AFTER = "acoustic-1.0.0+vocoder-1.0.0", "acoustic-1.0.0+vocoder-2.0.0"


@pytest.fixture
def toys() -> Iterator[list[Toy]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Toy()) for _ in range(3)]


def serving(toys: list[Toy]) -> set[str]:
    return {toy.client.get("/version").json()["version"] for toy in toys}


def collected(stage: Stage) -> tuple[list[str], dict[str, str]]:
    """Put three versions into the registry; return which of them a collection marks, and why it keeps the others."""
    for number in ("0.5.0", "1.0.0", "2.0.0"):
        folder = stage.folder / number
        folder.mkdir()
        (folder / "version.json").write_text(json.dumps(METADATA | {"change_note": number}), encoding="utf-8")
        pushed = stage.penstock("push", "tts/vocoder", str(folder), "--state", str(stage.state_dir))
        assert pushed.code == 0, pushed.err
    said = stage.penstock("gc", "--keep-last", "0", "--state", str(stage.state_dir)).last
    return said["marked"], {kept["version"].partition("@")[2]: kept["why"] for kept in said["kept"]}


def test_a_component_is_promoted_and_rolled_back_and_nobody_notices(stage: Stage, toys: list[Toy]) -> None:
    stage.up(*(toy.endpoint.url for toy in toys))
    with stage.users(path="/synthesize") as load:
        released = stage.penstock("release", "tts/vocoder", "--version", "2.0.0", *PLAN, "--watch")
        assert (released.code, released.last["outcome"]) == (0, "promoted")
        assert serving(toys) == {AFTER}
        marked, kept = collected(stage)
        assert marked == ["tts/vocoder@0.5.0"]
        assert kept["2.0.0"] == "stable of tts"
        assert kept["1.0.0"] in {f"warm at {toy.endpoint.address}" for toy in toys}
        back = stage.penstock("rollback", "tts/vocoder", "--reason", "it crackles")
        assert back.code == 0
        assert back.last["versions"] == {"acoustic": "1.0.0", "vocoder": "1.0.0"}
        assert back.last["confirmed"]
        assert serving(toys) == {BEFORE}
    assert len(load.requests) > 100
    assert not [request for request in load.requests if request.status != 200]
    again = stage.penstock("release", "tts/vocoder", "--version", "2.0.0")
    assert again.code == 6


def test_a_lone_server_serves_both_arms_and_forwards_rollbacks(stage: Stage) -> None:
    with Toy() as toy:
        stage.up(toy.endpoint.url)
        with stage.users(path="/synthesize") as load:
            started = stage.penstock("release", "tts/vocoder", "--version", "2.0.0", "--steps", "50,100")
            assert started.code == 0
            stage.until_stepping(50)
            answered = toy.post("/rollback/vocoder")
            assert answered.json() == {
                "status": "success",
                "new_version": "1.0.0",
                "message": "vocoder 1.0.0 serves, as before",
            }
            stage.until_status(lambda status: status["phase"] == "idle", "idle")
        assert not [request for request in load.requests if request.status != 200]
        assert stage.status()["outcome"]["outcome"] == "rolled_back"
        assert toy.client.get("/penstock/v1/slots").json()["canary"] is None


def test_a_server_that_loads_stands_in_for_the_one_that_dies_meanwhile(stage: Stage, toys: list[Toy]) -> None:
    loading, dying, _ = toys
    stage.up(loading.endpoint.url, dying.endpoint.url)
    with stage.users(path="/synthesize") as load:
        assert stage.penstock("release", "tts/vocoder", "--version", "5.0.0").code == 0  # takes a minute
        stage.until_status(lambda status: "to load" in status["waiting_for"], "it loads")
        dying.kill()
        killed_s = time.monotonic()
        until(lambda: load.n_since(killed_s) > 100, "users ask on")
        assert load.releases(since_s=killed_s) == {BEFORE}
        assert stage.penstock("abort", "tts").code == 0
        stage.until_status(lambda status: status["phase"] == "idle", "stable serves on")
    assert load.failures() == []


def test_a_version_that_cannot_be_loaded_meets_no_user(stage: Stage, toys: list[Toy]) -> None:
    stage.up(*(toy.endpoint.url for toy in toys))
    released = stage.penstock("release", "tts/vocoder", "--version", "9.0.0", "--watch")
    assert (released.code, released.last["outcome"]) == (4, "aborted")
    assert "its file is damaged" in released.last["reason"]
    assert serving(toys) == {BEFORE}
    unknown = stage.penstock("release", "tts/emotion", "--version", "1.0.0")
    assert (unknown.code, "acoustic, vocoder" in unknown.err) == (1, True)
