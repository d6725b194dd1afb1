"""One writer at a time, by a lock of the operating system: it ends with the process, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from penstock.kernel.errors import AlreadyRunning


class WriterLock:
    """The lock on `<journal>.lock`, which holds the writer's process id.

    The file stays when the lock ends: removing it would let two processes lock two files of one name. Programs that we
    start do not inherit the lock; a child that was forked without exec does.
    """

    def __init__(self, journal: Path) -> None:
        """Take the lock; AlreadyRunning where another journal, of this process or another, holds it."""
        self._fd = os.open(journal.with_name(journal.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise AlreadyRunning(pid=pid, path=journal.parent) from None
        # The id is for people: a disk too full to hold it must not cost us the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait for the lock on a file, which is made, and hold it."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
