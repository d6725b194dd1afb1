"""Archives of somebody else's: what is in them, and unpacking them so that no path escapes and no bomb goes off."""

import contextlib
import os
import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from penstock.kernel.errors import ArtifactsUnwritable, InvalidArtifact, UnsafeArtifact
from penstock.registry.manifest import why_unfit

#: What an archive may unpack to. Source: a choice; larger models are pushed as folders.
LIMIT_BYTES = 64 << 30
#: How much smaller an archive may be than what is in it. Source: deflate cannot pass 1032:1 (zlib's documentation); weights
#: stay below 10:1, and the zeros of a freshly made model are not worth storing.
_MAX_RATIO = 200
_FREE_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_TAR_ENDINGS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
#: What a broken archive makes the libraries raise.
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        path: as the archive says, without a leading `./`.
        size_bytes: unpacked, as the archive says; reading it yields no more.
        why_refused: why it must not be unpacked, or None.
        open: opens it for reading.
    """

    path: str
    size_bytes: int
    why_refused: str | None
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """Whether a file is meant to be unpacked, by its name."""
    return name.lower().endswith((".zip", *_TAR_ENDINGS))


def is_tar(name: str) -> bool:
    return name.lower().endswith(_TAR_ENDINGS)


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files of a zip; one of BROKEN where it is none."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() or why_unfit(entry.filename.rstrip("/")):
                yield Member(
                    entry.filename,
                    entry.file_size,
                    _why_unfit_entry(entry),
                    lambda entry=entry: archive.open(entry),  # type: ignore[misc] # bound now, not at the call
                )


def _why_unfit_entry(entry: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "it is a link or a device"
    if entry.flag_bits & 1:
        return "it is encrypted"
    return why_unfit(entry.orig_filename.rstrip("/"))


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files of a tar, compressed or not; one of BROKEN where it is none."""
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for entry in archive:
            path = entry.name.removeprefix("./")
            why = why_unfit(path) if entry.isreg() or entry.isdir() else "it is a link or a device"
            if entry.isdir() and (not why or path in {".", ""}):
                continue
            yield Member(path, entry.size, why, lambda entry=entry: _of_tar(archive, entry))  # type: ignore[misc] # as above


def _of_tar(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(entry)
    if file is None:
        raise tarfile.TarError(f"{entry.name} cannot be read")
    return file


def members(path: Path) -> Iterator[Member]:
    """Yield the files of an archive on disk, and stop it before it grows out of bounds.

    Raises UnsafeArtifact where it unpacks to more than LIMIT_BYTES or to implausibly much, InvalidArtifact where it is broken.
    """
    total_bytes = 0
    limit_bytes = min(LIMIT_BYTES, path.stat().st_size * _MAX_RATIO + _FREE_BYTES)
    try:
        with path.open("rb") as file:
            for member in tar_members(file) if is_tar(path.name) else zip_members(file):
                total_bytes += member.size_bytes
                if total_bytes > limit_bytes:
                    raise UnsafeArtifact(source=path.name, findings=f"it unpacks to more than {limit_bytes} bytes")
                yield member
    except BROKEN as error:
        raise InvalidArtifact(source=path.name, why=f"it is no archive that can be read: {error}") from error


def unpack(archive: Path, into: Path) -> None:
    """Unpack a .zip or .tar* into a new folder, whole or not at all.

    Raises UnsafeArtifact, which names the member, for one that leads elsewhere, and for what unpacks to too much;
    InvalidArtifact for a broken archive or a folder that is there already; ArtifactsUnwritable for a full disk.
    """
    if into.exists():
        raise InvalidArtifact(source=archive.name, why=f"{into} is there already")
    aside = into.with_name(f".unpacking-{secrets.token_hex(8)}")
    try:
        for member in members(archive):
            if member.why_refused:
                raise UnsafeArtifact(source=archive.name, findings=f"{member.path!a}: {member.why_refused}")
            _write(member, aside, archive)
        with _writing(into):
            aside.mkdir(exist_ok=True)  # an archive may be empty
            aside.rename(into)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(member: Member, aside: Path, archive: Path) -> None:
    target = aside / member.path
    with member.open() as packed, _writing(aside.parent):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise InvalidArtifact(source=archive.name, why=f"{member.path!a} is in it twice") from None
        with file:
            for chunk in _chunks(packed, archive):
                file.write(chunk)
            os.fchmod(file.fileno(), 0o644)


def _chunks(packed: IO[bytes], archive: Path) -> Iterator[bytes]:
    try:
        while chunk := packed.read(_CHUNK_BYTES):
            yield chunk
    except BROKEN as error:
        raise InvalidArtifact(source=archive.name, why=f"it is no archive that can be read: {error}") from error


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactsUnwritable(store=place, why=error.strerror or str(error)) from error
