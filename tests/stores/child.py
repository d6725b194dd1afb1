"""What a child process does with a journal: `python child.py WHAT PATH`. Asserts; its exit status is the answer."""

import asyncio
import itertools
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.kernel.errors import JournalUnwritable
from penstock.rollout.entry import Draft, Kind
from penstock.stores.sql import SqlJournal
from penstock.testing.fakes import ManualClock

NOBODY = 65534


def draft(generation: int, reason: str = "Because.") -> Draft:
    return Draft("tts", Kind.STEPPED, "judge", reason, generation, {"at": datetime.now(UTC).isoformat()})


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_sleeper() -> int:
    return subprocess.Popen(["sleep", "60"]).pid


async def append_for_ever(path: Path) -> None:
    """Say each entry's number and hash once the journal has acknowledged it."""
    journal = SqlJournal(path, ManualClock())
    say("ready")
    await journal.acquire("child")
    generation = max((entry.generation for entry in await journal.read()), default=0)
    for n in itertools.count(generation):
        entry = await journal.append(draft(n + 1), expected_generation=n)
        say(f"{entry.seq} {entry.hash}")


async def hold(path: Path) -> None:
    """Hold the journal, start a program that outlives us, and say its process id."""
    await SqlJournal(path, ManualClock()).acquire("child")
    say(str(start_sleeper()))
    await asyncio.sleep(60)


async def fill_disk(path: Path) -> None:
    """No file may grow beyond some size: the kernel answers EFBIG to the write, as it answers ENOSPC on a full disk."""
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("child")
    entry = await journal.append(draft(1), expected_generation=0)
    for limit_bytes in (1, 1000, 5000):  # nothing, not one page, one page
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
        for _ in range(3):
            with pytest.raises(JournalUnwritable, match=r"cannot be written: .*(disk|full)"):
                await journal.append(draft(entry.generation + 1, "x" * 20_000), expected_generation=entry.generation)
        assert (await journal.read())[-1] == entry
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        entry = await journal.append(draft(entry.generation + 1), expected_generation=entry.generation)
    assert await journal.verify() == 4
    await journal.close()


async def acquire_on_full_disk(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    journal = SqlJournal(path, ManualClock())
    with pytest.raises(JournalUnwritable):
        await journal.acquire("child")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await journal.acquire("child") == 1
    await journal.append(draft(1), expected_generation=0)
    assert await journal.verify() == 1
    await journal.close()


async def write_protect(path: Path) -> None:
    """Files without write permission bind everybody but root, so root becomes nobody first."""
    if os.geteuid() == 0:
        os.chown(path.parent, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("child")
    first = await journal.append(draft(1), expected_generation=0)
    await journal.close()
    for protected in (path, path.with_name(path.name + ".lock")):
        protected.chmod(0o400)
        journal = SqlJournal(path, ManualClock())
        with pytest.raises(JournalUnwritable, match=r"readonly|read-only|Permission"):
            await journal.acquire("child")
        protected.chmod(0o600)
        await journal.acquire("child")
        assert await journal.read() == [first]
        await journal.close()


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
