"""`penstock release`: what it prints last, and what it exits with."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.served import Served, failing, quiet
from tests.cli.conftest import Command
from tests.control.conftest import CANARY

PLAN = ("--steps", "10,50,100", "--dwell", "2s", "--longest-stall", "5s")
RELEASE = ("release", "tts", f"http://{CANARY}", "--version", "2.0.1", *PLAN)
FIELDS = {"outcome", "reason", "generation", "decided_at", "applied_at", "n_canary_requests"}


def when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Do something as soon as a condition holds; tests bound the whole by their own time-outs."""

    def wait() -> None:
        waiting = threading.Event()
        for _ in range(3000):
            if condition():
                act()
                return
            waiting.wait(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def phase(served: Served) -> str:
    return str(served.world.plane.status("tts")["phase"])


def watched(served: Served) -> bool:
    """Whether the canary is on its first step and somebody looks."""
    return phase(served) == "stepping" and bool(served.world.loop._watchers)


def test_a_promotion_is_watched_to_its_end(served: Served, penstock: Command) -> None:
    done = penstock(*RELEASE, "--watch", "--timeout", "60s")
    assert done.code == 0, done.err
    assert "tts  1.5.0 -> 2.0.1   steps" in done.out
    for word in ("stepped 10 %", "stepped 50 %", "baking 100 %", "promoted", "PROMOTED, 1/1 gateways acknowledged"):
        assert word in done.out
    assert "not proven equal" in done.out
    assert penstock("list").out.splitlines()[1].split()[:3] == ["tts", "idle", "2.0.1"]


def test_json_has_the_outcome_alone_on_stdout(served: Served, penstock: Command) -> None:
    done = penstock(*RELEASE, "--watch", "-o", "json")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 1
    assert set(done.last) == FIELDS
    assert (done.last["outcome"], done.last["applied_at"] is not None) == ("promoted", True)
    assert done.last["n_canary_requests"] > 100
    assert "stepped 10 %" in done.err


def test_a_rollback_exits_3_and_says_how_to_lift_the_quarantine(served: Served, penstock: Command) -> None:
    served.traffic = failing
    watching = when(lambda: phase(served) == "withdrawn", lambda: penstock_rollback(served))
    done = penstock(*RELEASE, "--watch", "--timeout", "60s")
    watching.join()
    assert done.code == 3, done.err
    assert "withdrawn" in done.out
    assert "ROLLED BACK, 1/1 gateways acknowledged" in done.out
    assert (
        "2.0.1 (no digest known) is quarantined; lift with: penstock unquarantine tts 2.0.1 --reason TEXT" in done.out
    )
    again = penstock(*RELEASE, "-o", "json")
    assert (again.code, again.last["error"]["code"]) == (6, "quarantined")


def penstock_rollback(served: Served) -> None:
    served.call(served.world.plane.roll_back("tts", actor="ann", reason="sounds hoarse"))


def test_a_person_who_pauses_is_waited_for(served: Served, penstock: Command) -> None:
    plane = served.world.plane

    def pause_and_resume() -> None:
        served.call(plane.pause("tts", actor="ann", reason="listening first"))
        threading.Event().wait(2.5)  # the watcher hears a status about every second
        served.call(plane.resume("tts", actor="ann"))

    watching = when(lambda: phase(served) == "stepping", pause_and_resume)
    done = penstock(*RELEASE, "--watch", "--timeout", "60s")
    watching.join()
    assert done.code == 0, done.err
    assert "held: listening first; go on with: penstock resume tts" in done.out


def test_an_abort_exits_4(served: Served, penstock: Command) -> None:
    served.traffic = quiet
    watching = when(
        lambda: phase(served) == "stepping",
        lambda: served.call(served.world.plane.abort("tts", actor="ann", reason="wrong voice")),
    )
    done = penstock(*RELEASE, "--watch", "-o", "json", "--quiet")
    watching.join()
    assert (done.code, done.last["outcome"], done.last["reason"]) == (4, "aborted", "wrong voice")
    assert done.err == ""


def test_time_over_exits_5_and_the_rollout_goes_on(served: Served, penstock: Command) -> None:
    served.traffic = quiet
    done = penstock(*RELEASE, "--watch", "--timeout", "3s")
    assert done.code == 5
    assert "0 of 50 requests on this step" in done.out
    assert "the rollout goes on" in done.out
    assert phase(served) == "stepping"
    last = penstock("status", "tts", "-o", "json").last
    assert last["canary"]["release"] == "2.0.1"


def test_a_release_without_any_traffic_says_so(served: Served, penstock: Command) -> None:
    served.stop()
    served.traffic = quiet
    served.restart()
    done = penstock(*RELEASE, "--watch", "--timeout", "2s")
    assert "warning: no traffic" in done.out


def test_a_crash_of_the_control_plane_is_survived_and_said(served: Served, penstock: Command) -> None:
    served.traffic = quiet

    def crash_and_return() -> None:
        served.crash()
        threading.Event().wait(0.5)
        served.restart()

    watching = when(lambda: watched(served), crash_and_return)
    done = penstock(*RELEASE, "--watch", "--timeout", "60s", "-o", "json")
    watching.join()
    assert done.code == 4, done.err
    assert (done.last["outcome"], "restarted" in done.last["reason"]) == ("paused", True)
    assert done.last["applied_at"] is not None
    assert "the control plane does not answer; trying again" in done.err
    assert "the control plane is back" in done.err
    sequence = [line.split()[1] for line in done.err.splitlines() if line.startswith("00:")]
    assert sequence.count("started") == 1
    assert sequence.count("stepped") == 1


def test_a_stop_of_the_control_plane_leaves_the_rollout_to_a_person(served: Served, penstock: Command) -> None:
    served.traffic = quiet
    watching = when(lambda: watched(served), served.stop)
    done = penstock(*RELEASE, "--watch", "--timeout", "60s", "-o", "json")
    watching.join()
    assert done.code == 4, done.err
    assert (done.last["outcome"], "stopped" in done.last["reason"]) == ("paused", True)


def test_unwatched_it_prints_what_was_accepted(served: Served, penstock: Command) -> None:
    done = penstock(*RELEASE, "-o", "json", "--reason", "better", "--actor", "ann")
    assert done.code == 0, done.err
    assert set(done.last) >= FIELDS
    assert (done.last["outcome"], done.last["canary"]["release"]) == (None, "2.0.1")
    entries = penstock("history", "tts", "-o", "json").last
    begun = next(entry for entry in entries if entry["kind"] == "started")
    assert (begun["actor"], begun["reason"]) == ("ann", "better")


@pytest.mark.parametrize(
    ("written", "options", "kept"),
    [
        ("steps: [20, 100]\ndwell: 1m\n", (), [(20, 60), (100, 60)]),
        ("steps: [20, 100]\n", ("--dwell", "5s"), [(20, 5), (100, 5)]),
        ("steps: [{weight: 20, dwell: 1h}, 100]\n", ("--dwell", "5s"), [(20, 5), (100, 5)]),
        ("steps: 20,100\nbake: 1h\n", ("--steps", "50,100"), [(50, 30), (100, 3600)]),
        ("", ("--bake", "2m", "--steps", "100"), [(100, 120)]),
    ],
)
def test_options_override_the_plan_file(
    served: Served, penstock: Command, tmp_path: Path, written: str, options: tuple[str, ...], kept: list[object]
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(written)
    done = penstock("release", "tts", f"http://{CANARY}", "--plan", str(file), *options, "-o", "json")
    assert done.code == 0, done.err
    entries = penstock("history", "tts", "-o", "json").last
    plan = next(entry for entry in entries if entry["kind"] == "started")["plan"]
    assert [(step["weight"], step["dwell"]) for step in plan["steps"]] == kept


@pytest.mark.parametrize(
    ("name", "written", "says"),
    [
        ("plan.yaml", "stepz: 5,100", "did you mean 'steps'"),
        ("plan.yaml", "- 5\n- 100", "holds no fields"),
        ("plan.yaml", "steps: [5, 100\ndwell: 3s", "is not YAML at line 2"),
        ("plan.yaml", "dwell: soon", "dwell 'soon' is not a time"),
        ("plan.yaml", "dwell: 2026-01-01", "is not a time"),
        ("plan.json", '{"steps": "10,5,100"}', "must grow"),
        ("plan.json", "{", "is not JSON"),
        ("plan.yaml", None, "cannot be read: No such file"),
        ("plan.yaml", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_wrong_plan_file_is_one_sentence_and_changes_nothing(
    served: Served, penstock: Command, tmp_path: Path, name: str, written: str | bytes | None, says: str
) -> None:
    file = tmp_path / name
    if written is not None:
        file.write_bytes(written if isinstance(written, bytes) else written.encode())
    done = penstock("release", "tts", f"http://{CANARY}", "--plan", str(file), "-o", "json")
    assert (done.code, done.last["error"]["code"]) == (2, "invalid-plan")
    assert says in done.last["error"]["detail"]
    assert len(done.err.splitlines()) == 2
    assert phase(served) == "idle"
