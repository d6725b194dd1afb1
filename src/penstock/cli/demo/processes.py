"""Processes of the demo. Each runs in a session of its own: Ctrl-C reaches the demo alone, which then ends them in order."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.kernel.errors import DemoFailed

_PATIENCE_S = 10.0
_LAST_LINES = 3


class Child:
    """A process whose output is read line by line and kept in a log.

    Args:
        name: what people call it.
        command: program and arguments.
        log: gets everything it prints.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        # A daemon: what it started and left behind may keep the pipe open, and must not keep the demo from ending.
        self._reader = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, pattern: str, patience_s: float, hear: Callable[[str], None] | None = None) -> re.Match[str]:
        """Wait for a line that matches; raise DemoFailed when the process ends before, or takes too long.

        `hear` gets the lines before it.
        """
        with self._news:
            self._news.wait_for(lambda: self._ended or self._found(pattern) is not None, patience_s)
            found, ended, lines = self._found(pattern), self._ended, list(self._lines)
        if found is None:
            what = "ended before it was ready" if ended else f"was not ready after {patience_s:.0f} s"
            last = " | ".join(lines[-_LAST_LINES:]) or "it printed nothing"
            raise DemoFailed(why=f"{self.name} {what}: {last}")
        if hear is not None:
            for line in lines[: lines.index(found.string)]:
                hear(line)
        return found

    def stop(self) -> None:
        """End it and whatever it started in its session, kindly first; returns when it is gone."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._reader.join(_PATIENCE_S)

    def _signal(self, number: signal.Signals) -> None:
        # The child leads its session's first group, and it is not reaped yet: its id cannot belong to anybody else.
        os.killpg(self._process.pid, number)

    def _found(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self._lines if (found := re.search(pattern, line))), None)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        with self._process.stdout, self._log.open("a", encoding="utf-8") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                with self._news:
                    self._lines.append(line.rstrip())
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
