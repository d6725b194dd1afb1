"""What the demo starts, it hears, and it ends."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.demo.processes import Child
from penstock.kernel.errors import DemoFailed

_CHATTY = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("training", flush=True)
print("ready on http://127.0.0.1:1", grandchild.pid, flush=True)
time.sleep(600)
"""
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether no such process runs; a zombie that nobody reaped does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def child(code: str, folder: Path) -> Child:
    return Child("chatty", [sys.executable, "-c", code], folder / "log")


@pytest.fixture
def chatty(tmp_path: Path) -> Iterator[Child]:
    started = child(_CHATTY, tmp_path)
    yield started
    started.stop()


def test_it_waits_for_a_line_and_passes_on_what_came_before(chatty: Child, tmp_path: Path) -> None:
    heard: list[str] = []
    assert chatty.expect(r"ready on (http://\S+)", 30, heard.append)[1] == "http://127.0.0.1:1"
    assert heard == ["training"]
    assert "training" in (tmp_path / "log").read_text(encoding="utf-8")


def test_stopping_ends_the_whole_session(chatty: Child) -> None:
    grandchild = int(chatty.expect(r"ready on \S+ (\d+)", 30)[1])
    assert os.getsid(grandchild) != os.getsid(0)
    chatty.stop()
    deadline_s = time.monotonic() + 30
    while not gone(grandchild) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert gone(grandchild)
    chatty.stop()


def test_one_that_ends_too_early_is_quoted(tmp_path: Path) -> None:
    started = child("print('no espeak here')", tmp_path)
    with pytest.raises(DemoFailed, match="chatty ended before it was ready: no espeak here"):
        started.expect("ready", 30)
    started.stop()


def test_one_that_takes_too_long(chatty: Child) -> None:
    with pytest.raises(DemoFailed, match="was not ready after 0 s"):
        chatty.expect("never said", 0.01)


def test_one_that_will_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.cli.demo.processes._PATIENCE_S", 0.2)
    started = child(_STUBBORN, tmp_path)
    started.expect("ready", 30)
    started.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)
