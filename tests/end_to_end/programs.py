"""Programs that a test starts: each writes to a log, is waited for by what it says there, and is ended by its pid."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

#: The program as it is installed beside this Python.
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
#: The example's folder.
SPEECH = Path(__file__).parents[2] / "examples" / "speech"
_BACKEND = Path(__file__).with_name("backend.py")
#: Machines are busy; what has not happened by then will not happen.
PATIENCE_S = 60.0
_TRAINING_S = 180.0
_STOP_S = 20.0


def until(condition: Callable[[], _T], what: str, patience_s: float = PATIENCE_S) -> _T:
    """Wait for a condition; return its first true value, or fail saying what was waited for and its last value."""
    deadline_s = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {patience_s:.0f} s: {what}; it was {value!r}"
        time.sleep(0.05)
    return value


class Program:
    """A child process in a session of its own.

    Attributes:
        pid: its process id.
        log: everything it prints.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def expect(self, pattern: str, patience_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until it has said something that matches."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.said, re.MULTILINE)
            assert match or self.running, f"{self.log.name} ended with {self._process.returncode}: {self.said}"
            return match

        match = until(found, f"{pattern!r} in {self.log.name}", patience_s)
        assert match
        return match

    def send(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once, without a word of warning."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.terminate()
        return self._process.wait(_STOP_S)

    def stop(self) -> None:
        """End it, kindly first; also when it has ended already."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()


class Server(Program):
    """A model server that misbehaves on demand, see backend.py.

    Attributes:
        url: where it answers.
    """

    def __init__(self, version: str, log: Path, *, port: int = 0) -> None:
        super().__init__([sys.executable, str(_BACKEND), str(port), version], log)
        self.url = self.expect(r"^ready on (\S+)")[1]

    def behave(self, **behaviour: object) -> None:
        """Answer from now on as `backend.Behaviour` says; nothing given is a healthy server."""
        n_done = self.said.count("done")
        self.send(json.dumps(behaviour))
        until(lambda: self.said.count("done") > n_done, "the server changes its behaviour")


class SpeechServer(Program):
    """A real synthesiser, as its arguments say; it trains its voice where none is cached. `url` waits until it is ready."""

    def __init__(self, log: Path, *arguments: str) -> None:
        super().__init__([sys.executable, str(SPEECH), *arguments, "--port", "0"], log)

    @property
    def url(self) -> str:
        return self.expect(r"ready on (\S+)", _TRAINING_S)[1]


def processes_of(folder: Path) -> list[int]:
    """Return the pids of all programs that have a path in `folder` on their command line: its Envoy, above all."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def end(pid: int) -> None:
    """Kill a process that need not be our child, and wait until it has gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), f"process {pid} ends")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
