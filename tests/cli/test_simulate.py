"""`penstock simulate`: answers, wrong options, pictures, Ctrl-C."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import pool
from penstock.cli.forecast import false_words, time_words
from tests.cli.conftest import Command
from tests.docs.reading import ROOT, rows, section

QUICK = ("simulate", "--releases", "4", "--dwell", "6s", "--longest-stall", "4s", "--rate", "30", "--jobs", "1")


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    """The quick run's answer, from a process of its own that shares the work with two others."""
    program = "from penstock.cli.main import main\nif __name__ == '__main__':\n    main()\n"
    args = [*QUICK[:-1], "2", "-o", "json"]
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_same_seed_gives_the_same_answer_whatever_the_number_of_processes(
    penstock: Command, answer: dict[str, Any]
) -> None:
    assert penstock(*QUICK, "-o", "json").last == answer
    assert penstock(*QUICK, "--seed", "2", "-o", "json").last != answer


def test_the_answer_says_what_was_simulated_and_what_came_of_it(answer: dict[str, Any]) -> None:
    assert (answer["releases"], answer["seed"], answer["complete"]) == (4, 1, True)
    assert answer["traffic"]["rate_hz"] == 30.0
    assert answer["plan"]["longest_stall"] == 4.0
    by_name = {row["fault"]: row for row in answer["faults"]}
    healthy, broken = by_name["healthy"], by_name["errors-100"]
    assert (healthy["n"], healthy["promoted_ratio"], healthy["failed_requests"]["mean"]) == (4, 1.0, 0.0)
    assert healthy["false_rollback"]["of"] == 4
    assert healthy["promoted_s"]["p95"] >= healthy["full_s"]["p95"] > 0.0
    assert (broken["detected_ratio"], broken["rolled_back_ratio"]) == (1.0, 1.0)
    assert broken["n_canary"]["median"] <= 15
    assert broken["false_rollback"] is None


def test_the_table_has_a_line_for_each_fault_the_healthy_one_first(penstock: Command) -> None:
    done = penstock(*QUICK, "--stalls", "5s", "--with", "day,bursts", "--on-failure", "hold")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "30 requests/s, 1+1 pods, 5000 users, errors 0.2 %, p95 450 ms, stalls 5s, bursts, day"
    assert lines[4].startswith("healthy ")
    assert "of 4)" in done.out
    assert "ended paused, for a person to decide" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--rate", "0"), "rate is 0; use a number from 0.001"),
        (("--rate", "fast"), "Invalid value for '--rate'"),
        (("--pods", "2"), "not canary+stable, e.g. 2+4"),
        (("--pods", "0+1"), "pods is 0"),
        (("--errors", "0.2"), "not a percentage, e.g. 0.2%"),
        (("--errors", "80%"), "errors is 0.8"),
        (("--p95", "450"), "has no unit; write 450ms"),
        (("--p95", "soon"), "is not a time above zero"),
        (("--stalls", "long"), "there are none, 5s, geo10, geo20, u60"),
        (("--with", "snow"), "there are day, bursts, bad-users, warm-up"),
        (("--releases", "0"), "use a number from 1 to 100000"),
        (("--jobs", "0"), "--jobs 0 is out of range"),
        (("--seed", "-1"), "--seed -1 is out of range"),
        (("--steps", "50,10"), "its last step must be 100"),
        (("--plan", "nowhere.yaml"), "cannot be read"),
        (("--plot", "picture.gif"), "end it in .png or .svg"),
        (("--plot", "/nowhere/picture.png"), "make it first"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(penstock: Command, args: tuple[str, ...], says: str) -> None:
    done = penstock("simulate", *args)
    assert (done.code, done.out) == (2, "")
    first, second, *rest = done.err.splitlines()
    assert says in first
    assert second.startswith("  remedy: ")
    assert rest == []


def test_the_picture_is_one(penstock: Command, tmp_path: Path) -> None:
    png, svg = tmp_path / "picture.png", tmp_path / "picture.svg"
    done = penstock(*QUICK[:1], "--releases", "2", *QUICK[3:], "--plot", str(png))
    assert (done.code, done.err) == (0, f"plot: {png}\n")
    written = png.read_bytes()
    assert written.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", written[16:24])
    assert (width, height) == (1650, 1230)
    assert penstock(*QUICK[:1], "--releases", "2", *QUICK[3:], "--plot", str(svg), "--quiet").err == ""
    text = svg.read_text()
    assert text.lstrip().startswith("<?xml")
    assert "</svg>" in text


def test_a_picture_that_cannot_be_written_is_said_after_the_answer(penstock: Command, tmp_path: Path) -> None:
    folder = tmp_path / "picture.png"
    folder.mkdir()
    done = penstock(*QUICK[:1], "--releases", "1", *QUICK[3:], "--plot", str(folder))
    assert done.code == 2
    assert "healthy" in done.out
    assert "cannot be written: Is a directory" in done.err


def test_a_picture_needs_matplotlib(penstock: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = penstock("simulate", "--plot", str(tmp_path / "picture.png"))
    assert done.code == 1
    assert "--plot needs matplotlib, which is not installed." in done.err
    assert "pip install 'penstock[report]'" in done.err


def test_an_interrupt_prints_what_is_known(penstock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    simulated = pool.simulated

    def interrupted(job: pool.Job) -> list[pool.Told]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(job)
        return simulated(job)

    monkeypatch.setattr(pool, "simulated", interrupted)
    done = penstock(*QUICK, "-o", "json")
    assert done.code == 130
    assert "this is what is known so far" in done.err
    assert done.last["complete"] is False
    assert [row["fault"] for row in done.last["faults"]] == ["healthy", "errors-slight", "errors-7"]


def test_ctrl_c_ends_every_process() -> None:
    program = "from penstock.cli.main import main\nif __name__ == '__main__':\n    main()\n"
    args = [sys.executable, "-c", program, "simulate", "--releases", "4000", "--jobs", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(args, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as running:
        time.sleep(3.0)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err


def test_progress_is_shown_to_a_person(penstock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    done = penstock("simulate", "--releases", "1", *QUICK[3:])
    assert done.code == 0
    assert "simulated releases" in done.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.0, "3 s"), (90.0, "1.5 min"), (120.0, "2 min"), (900.0, "15 min"), (5400.0, "1.5 h"), (86_400.0, "1 d")],
)
def test_times_are_short(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_none_of_many_is_an_upper_bound() -> None:
    assert false_words({"n": 0, "of": 400, "upper_95": 0.00746}) == "<= 0.75 % (0 of 400)"


def test_every_field_of_the_answer_is_documented(answer: dict[str, Any]) -> None:
    page = ROOT / "docs" / "reference" / "simulation.md"
    for heading, documented in (("Answer", answer), ("Traffic", answer["traffic"]), ("Fault", answer["faults"][0])):
        assert list(rows(section(page, heading))) == list(documented)
