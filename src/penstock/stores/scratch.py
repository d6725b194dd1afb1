"""Folders for what is needed for a while. What a process that was killed left behind, the next one removes."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from penstock.kernel.errors import ArtifactsUnwritable
from penstock.stores.artifacts.aside import is_at


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Make a folder below `parent`, which is made too; remove it on leaving. Raises ArtifactsUnwritable.

    It is locked meanwhile: one that nobody holds is left over from a process that was killed.
    """
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in list(parent.iterdir()):
            _remove_abandoned(path)
        folder, fd = _made(parent)
    except OSError as error:
        raise ArtifactsUnwritable(store=parent, why=error.strerror) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(fd)


def _remove_abandoned(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process is at it, or works there
        fd = _opened(folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(fd)


def _made(parent: Path) -> tuple[Path, int]:
    """Return an empty folder, and the lock on it."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        with contextlib.suppress(FileNotFoundError):
            fd = _opened(folder)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(fd, folder):  # another process's clean-up may have come between
                return folder, fd
            os.close(fd)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
