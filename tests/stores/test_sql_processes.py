"""SqlJournal against what happens to processes and disks: kill -9, a second writer, a full or write-protected disk."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.kernel.errors import AlreadyRunning
from penstock.stores.sql import SqlJournal
from penstock.testing.fakes import ManualClock

CHILD = Path(__file__).with_name("child.py")
N_KILLS = 30


@contextmanager
def child(what: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", str(CHILD), what, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_kill_9_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    moments = random.Random(2)
    n_acknowledged = n_found = 0
    for kill in range(N_KILLS):
        with child("append_for_ever", path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            # Every other kill comes before or amid the first append, the rest amid later ones.
            acknowledgements = [process.stdout.readline()] if kill % 2 else []
            await asyncio.sleep(moments.uniform(0, 0.06))  # not a wait: the moment of the kill
            process.send_signal(signal.SIGKILL)
            # A last line without its end was not acknowledged: the kill cut it.
            acknowledgements += process.stdout.readlines()
        acknowledged = {
            int(seq): hash_ for seq, hash_ in (line.split() for line in acknowledgements if line.endswith("\n"))
        }
        journal = SqlJournal(path, ManualClock())
        assert await journal.acquire("parent"), f"kill {kill}: the lock is free again"
        entries = await journal.read()
        assert await journal.verify() == len(entries)
        assert {e.seq: e.hash for e in entries if e.seq in acknowledged} == acknowledged
        assert len(entries) - n_found - len(acknowledged) in {0, 1}, "at most one was written but not acknowledged"
        n_found, n_acknowledged = len(entries), n_acknowledged + len(acknowledged)
        await journal.close()
    assert n_acknowledged >= N_KILLS // 2


async def test_a_second_process_is_told_who_holds_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with child("hold", path) as process:
        assert process.stdout is not None
        outliving = int(process.stdout.readline())
        try:
            journal = SqlJournal(path, ManualClock())
            with pytest.raises(AlreadyRunning) as caught:
                await journal.acquire("second")
            assert caught.value.facts == {"pid": str(process.pid), "path": tmp_path}
            process.kill()
            process.wait()
            os.kill(outliving, 0)  # what the holder started still runs, and does not hold the lock
            assert await journal.acquire("second") == 2
            await journal.close()
        finally:
            os.kill(outliving, signal.SIGKILL)


@pytest.mark.parametrize("what", ["fill_disk", "acquire_on_full_disk", "write_protect"])
def test_a_disk_that_refuses(what: str) -> None:
    # Not tmp_path, whose parents only their owner may enter: one of the children gives root's rights up.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", str(CHILD), what, f"{folder}/journal.db"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
