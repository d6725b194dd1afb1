"""A shelf in a folder, on a local disk or a file share.

obstore's LocalStore is not used for writing: it flushes nothing before the rename, so a power cut could leave an object
that has its name and not its content; and what it wrote aside stays for ever when it is killed.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstock.kernel.errors import ArtifactsUnreachable, ArtifactsUnwritable
from penstock.stores.artifacts.aside import Aside, clear_abandoned, make_folder
from penstock.stores.artifacts.source import CHUNK_BYTES


class FolderShelf:
    """Objects are files below the folder, read-only, each named by its key."""

    is_near = True

    def __init__(self, root: Path) -> None:
        """Touch nothing yet: the folder is made when something is written."""
        self.root = root.absolute()

    @property
    def name(self) -> str:
        return str(self.root)

    def put(self, key: Callable[[], str], chunks: Iterable[bytes], *, size_bytes: int) -> None:
        with self._writing(), Aside(self._aside()) as aside:
            _check_room(aside.path.parent, size_bytes)
            for chunk in chunks:
                aside.write(chunk)
            aside.replace(self._place(key()))

    def create(self, key: str, content: bytes) -> bool:
        with self._writing(), Aside(self._aside()) as aside:
            aside.write(content)
            return aside.place(self._place(key))

    def read(self, key: str) -> Iterator[bytes]:
        with self._reading(), self._path(key).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def size(self, key: str) -> int | None:
        try:
            with self._reading():
                return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def touch(self, key: str) -> int | None:
        with self._writing(), self._alone():
            if (size := self.size(key)) is not None:
                os.utime(self._path(key))
            return size

    def items(self, prefix: str) -> Iterator[tuple[str, int]]:
        # Not os.walk: it takes a folder that cannot be read for an empty one, and a sweep would believe it.
        with self._reading():
            yield from _sizes_below(self._path(prefix), prefix)

    def delete(self, key: str) -> bool:
        with self._writing():
            try:
                self._path(key).unlink()
            except FileNotFoundError:
                return False
            return True

    def delete_old(self, key: str, *, grace_s: float) -> bool:
        with self._writing(), self._alone() as now_s:  # so that no touch comes between the look and the removal
            try:
                if now_s - self._path(key).stat().st_mtime < grace_s:
                    return False
            except FileNotFoundError:
                return False
            return self.delete(key)

    def tidy(self) -> None:
        clear_abandoned(self.root / "aside")

    def _path(self, key: str) -> Path:
        return self.root / key

    def _place(self, key: str) -> Path:
        path = self._path(key)
        make_folder(path.parent)
        return path

    def _aside(self) -> Path:
        folder = self.root / "aside"
        make_folder(folder)
        return folder

    @contextlib.contextmanager
    def _alone(self) -> Iterator[float]:
        """Keep other processes from touching and removing meanwhile; yield the time by the file system's own clock."""
        make_folder(self.root)
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.utime(fd)
            yield os.fstat(fd).st_mtime
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except NotADirectoryError:
            raise FileNotFoundError from None
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ArtifactsUnreachable(store=self.name, why=error.strerror or str(error)) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactsUnwritable(store=self.name, why=error.strerror or str(error)) from error


def _sizes_below(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes_below(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    yield prefix + entry.name, entry.stat().st_size


def _check_room(folder: Path, size_bytes: int) -> None:
    """Say now, not after an hour, that the disk is too full."""
    found = os.statvfs(folder)
    if size_bytes > found.f_bavail * found.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
