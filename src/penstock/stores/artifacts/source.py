"""Reading what is to be stored: a folder or a file of somebody else's, that may be odd and may change meanwhile."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from penstock.kernel.errors import ArtifactChanged, InvalidArtifact
from penstock.registry.manifest import ArtifactFile, Manifest, why_unfit

#: How much is read, hashed and written at once. Source: measured, benchmarks/artifacts.py; larger ones are not faster.
CHUNK_BYTES = 1 << 20

_KINDS = (
    (stat.S_ISLNK, "it is a symbolic link"),
    (stat.S_ISFIFO, "it is a pipe"),
    (stat.S_ISSOCK, "it is a socket"),
    (stat.S_ISBLK, "it is a device"),
    (stat.S_ISCHR, "it is a device"),
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be stored.

    Attributes:
        path: where it will be in the artifact.
        place: where it is now.
        size_bytes: when it was found.
    """

    path: str
    place: Path
    size_bytes: int

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes; ArtifactChanged at the end when somebody wrote to it meanwhile, also when nobody asks for more."""
        with _opened(self.place) as file:
            before = os.fstat(file.fileno())
            n_bytes = 0
            while chunk := _read(file, self.place):
                n_bytes += len(chunk)
                yield chunk
            if _identity(os.fstat(file.fileno())) != _identity(before) or n_bytes != self.size_bytes:
                raise ArtifactChanged(path=self.place)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


def files_of(source: Path) -> list[SourceFile]:
    """Return the files below a folder, or the one file, sorted by path; InvalidArtifact names what cannot be stored."""
    try:
        if stat.S_ISDIR(
            source.stat().st_mode
        ):  # a link to the folder is fine; what lies in it is not the link's owner's
            return sorted(_walk(source, ""), key=lambda file: file.path)
        return [_checked(source.resolve(), source.name)]
    except OSError as error:
        raise InvalidArtifact(source=error.filename or source, why=(error.strerror or str(error)).lower()) from None


def manifest_of(source: Path) -> Manifest:
    """Return the artifact that a folder or a file would be; every byte is read. Raises InvalidArtifact, ArtifactChanged."""
    return Manifest.of(ArtifactFile(file.path, file.sha256(), file.size_bytes) for file in files_of(source))


def _walk(folder: Path, prefix: str) -> Iterator[SourceFile]:
    for entry in sorted(folder.iterdir()):
        path = prefix + entry.name
        if stat.S_ISDIR(entry.lstat().st_mode):
            yield from _walk(entry, path + "/")
        else:
            yield _checked(entry, path)


def _checked(place: Path, path: str) -> SourceFile:
    found = place.lstat()
    if why := why_unfit(path):
        raise InvalidArtifact(source=ascii(path), why=why)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArtifact(
            source=path, why=next((w for is_kind, w in _KINDS if is_kind(found.st_mode)), "not a file")
        )
    return SourceFile(path, place, found.st_size)


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[BinaryIO]:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ArtifactChanged(path=place) from None
    except OSError as error:
        raise InvalidArtifact(source=place, why=(error.strerror or str(error)).lower()) from None
    with os.fdopen(fd, "rb", buffering=0) as file:
        yield file  # unbuffered, so that no byte is copied twice


def _read(file: BinaryIO, place: Path) -> bytes:
    try:
        return file.read(CHUNK_BYTES)
    except OSError as error:
        raise InvalidArtifact(source=place, why=(error.strerror or str(error)).lower()) from None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class HashBeside:
    """SHA-256 computed in a thread of its own, while the caller writes the same bytes."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-sha256")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._thread.shutdown()

    def update(self, chunk: bytes) -> None:
        """Take a chunk once the one before is done: no more than two are held."""
        self._wait()
        self._under_way = self._thread.submit(self._digest.update, chunk)

    def hexdigest(self) -> str:
        self._wait()
        return self._digest.hexdigest()

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
