"""Files that are written aside and then put in place, so that a half-written one is never seen under its name.

The writer holds a lock of the operating system on its file: who finds one that nobody holds knows that its writer died.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_PREFIX = ".aside-"
_READ_ONLY = 0o444


def is_aside(path: Path) -> bool:
    """Whether a file is in the making, or was when its writer died."""
    return path.name.startswith(_PREFIX)


class Aside:
    """One file in the making; leaving the `with` without putting it in place removes it.

    Attributes:
        path: where it lies meanwhile, in the folder it was given: on the file system of the final place.
        fd: open for writing.
    """

    def __init__(self, folder: Path) -> None:
        """Make and lock an empty file; OSError where the folder takes none."""
        while True:
            self.path = folder / f"{_PREFIX}{secrets.token_hex(8)}"
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if is_at(self.fd, self.path):  # a clean-up may have come between
                return
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; it is removed unless it was put in place by its own name."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self.fd)
            self.fd = -1

    def write(self, chunk: bytes) -> None:
        """Append all of it: the operating system may take less at once."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def settle(self, mode: int = _READ_ONLY) -> None:
        """Make the content read-only unless it is told otherwise, and safe from a power cut."""
        os.fchmod(self.fd, mode)
        os.fsync(self.fd)

    def replace(self, target: Path, mode: int = _READ_ONLY) -> None:
        """Put it in place, over what is there, so that this survives a power cut."""
        self.settle(mode)
        self.path.replace(target)
        fsync_folder(target.parent)

    def place(self, target: Path) -> bool:
        """Put it in place unless something is there; return whether it was."""
        self.settle()
        try:
            os.link(self.path, target)
        except FileExistsError:
            return False
        fsync_folder(target.parent)
        return True


def is_at(fd: int, path: Path) -> bool:
    """Return whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def clear_abandoned(folder: Path) -> None:
    """Remove the files whose writers died. Others are left alone, and so is what may not be removed."""
    for path in _asides(folder):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(fd)


def _asides(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from (path for path in list(folder.iterdir()) if is_aside(path))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
