"""What a collection learns of a control plane: what serves, and what its servers keep warm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.exit_codes import ExitCode
from tests.api.served import Served
from tests.cli.conftest import Command, Make, Result
from tests.control.conftest import CANARY
from tests.control.test_components import BEFORE, NODES, Fleet

FIRST, SECOND = NODES[:2]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Two servers that switch in place; the second one has vocoder 0.9.0 in memory besides."""
    served = Served()
    fleet = Fleet(FIRST, SECOND)
    fleet.servers.processes[SECOND].ready["vocoder"].add("0.9.0")
    served.world = fleet
    monkeypatch.setenv("PENSTOCK_URL", served.url)
    yield served
    served.stop()


def collected(penstock: Command) -> Result:
    said = penstock("gc", "--keep-last", "0", "-o", "json")
    assert said.code == ExitCode.OK, said.err
    return said


def kept(said: Result) -> dict[str, str]:
    """Return version -> why it stays."""
    return {one["version"].partition("@")[2]: one["why"] for one in said.last["kept"]}


def test_what_a_server_keeps_warm_stays(penstock: Command, state: Path, make: Make, served: Served) -> None:
    for number in (BEFORE["vocoder"], "0.9.0", "0.8.0"):
        penstock("push", "tts/vocoder", str(make(f"v{number}")))
    served.start()
    said = collected(penstock)
    assert said.last["marked"] == ["tts/vocoder@0.8.0"]
    assert kept(said) == {"1.1.0": "stable of tts", "0.9.0": f"warm at {SECOND}"}
    assert said.err == ""


def test_what_was_marked_and_is_warm_now_is_not_removed(
    penstock: Command, state: Path, make: Make, served: Served
) -> None:
    penstock("push", "tts/vocoder", str(make("v0.9.0")))
    assert collected(penstock).last["marked"] == ["tts/vocoder@0.9.0"]
    served.start()
    assert penstock("gc", "--keep-last", "0", "--grace", "0", "-o", "json").last["unmarked"] == ["tts/vocoder@0.9.0"]
    assert penstock("pull", "tts/vocoder@0.9.0", str(state / "out")).code == ExitCode.OK


def test_a_server_that_does_not_answer_is_named(penstock: Command, state: Path, make: Make, served: Served) -> None:
    penstock("push", "tts/vocoder", str(make("v1.1.0")))
    served.world.servers.processes[SECOND].down = True
    served.start()
    said = collected(penstock)
    assert kept(said) == {"1.1.0": "stable of tts"}
    assert said.err == f"http://{SECOND} does not answer: what it alone keeps warm is not known\n"


def test_the_release_that_stands_by_stays(
    penstock: Command, state: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served()
    monkeypatch.setenv("PENSTOCK_URL", served.url)
    served.start()
    try:
        plan = ("--steps", "50,100", "--dwell", "1s", "--longest-stall", "1s")
        released = penstock("release", "tts", f"http://{CANARY}", "--version", "2.0.1", *plan, "--watch", "-q")
        assert released.code == ExitCode.OK, released.err
        for number in ("2.0.1", "1.5.0"):
            penstock("push", "tts", str(make(f"v{number}")))
        said = collected(penstock)
    finally:
        served.stop()
    assert kept(said) == {"2.0.1": "stable of tts", "1.5.0": "warm of tts"}
