"""`penstock demo`, as a newcomer runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PENSTOCK = Path(sys.executable).with_name("penstock")
_PATIENCE_S = 240


def running_in(folder: str) -> list[str]:
    """Command lines of the processes that name this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if folder in command:
            found.append(command)
    return found


def folder_in(said: str) -> str:
    found = re.search(r"--state (\S+)/state", said)
    assert found is not None, said
    return found[1]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PENSTOCK_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}
    command = [str(_PENSTOCK), "demo", "--report", str(tmp_path / "report")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as started:
        yield started
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)


@pytest.mark.timeout(_PATIENCE_S)
def test_a_bad_voice_is_rolled_back_and_a_good_one_promoted(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    said, _ = demo.communicate(timeout=_PATIENCE_S)
    assert demo.returncode == 0, said
    assert re.search(r"ROLLED BACK: 2\.0\.1 is condemned on evidence", said)
    assert re.search(r"PROMOTED: 1\.6\.0 is the stable release now\n +served everybody for .* without harm", said)
    assert re.search(r"acknowledged by \S+ after \d+ ms", said)
    assert re.search(r"2\.0\.1: \d+ users met it, [1-9]\d* of them a failure", said)
    assert re.search(r"^  0 of \d+ requests failed for another reason than 2\.0\.1$", said, re.MULTILINE)
    assert running_in(folder_in(said)) == []
    assert not Path(folder_in(said)).exists()
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert (page.count("<svg"), page.count("<audio"), page.count("<p class=error")) == (4, 10, 2)


@pytest.mark.timeout(_PATIENCE_S)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    said = ""
    assert demo.stdout is not None
    for line in demo.stdout:
        said += line
        if line.startswith("$ penstock release"):
            demo.send_signal(number)
    assert demo.wait(_PATIENCE_S) == 130
    assert "interrupted; everything that the demo started is stopped" in said
    assert "Traceback" not in said
    assert running_in(folder_in(said)) == []
    assert not Path(folder_in(said)).exists()
