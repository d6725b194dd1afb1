"""The laws of ports/artifacts.py over a shelf: contents by their SHA-256 first, the manifest that needs them last.

blobs/sha256/ab/abcd...      one content each
manifests/sha256/ab12...     the manifest of the artifact with that digest; it is there, so the artifact is
names/tts/vocoder/1.3.0      which artifact has that name
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from penstock.kernel.errors import (
    ArtifactChanged,
    ArtifactDamaged,
    ArtifactsUnwritable,
    ConflictError,
    InvalidArtifact,
    NameTaken,
    UnknownArtifact,
    UnknownName,
    UsageError,
)
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import GRACE_S, Progress, Swept, silent
from penstock.registry.manifest import ArtifactFile, Manifest, checked_digest, hex_of
from penstock.registry.naming import Name
from penstock.stores.artifacts.aside import Aside, clear_abandoned, is_aside, make_folder
from penstock.stores.artifacts.shelf import Shelf
from penstock.stores.artifacts.source import CHUNK_BYTES, HashBeside, SourceFile, files_of

_BLOBS = "blobs/sha256/"
_MANIFESTS = "manifests/sha256/"
_NAMES = "names/"
#: A message that nobody reads to the end helps nobody.
_MAX_LISTED = 5


class ShelvedArtifacts:
    """An ArtifactStore on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        """Touch nothing yet."""
        self._shelf = shelf

    def push(self, source: Path, *, check: bool = False, on_progress: Progress = silent) -> Manifest:
        self._shelf.tidy()
        found = files_of(source)
        tally = _Tally(sum(file.size_bytes for file in found), on_progress)
        pushing = _Pushing(self._shelf, check=check)
        manifest = Manifest.of([pushing.stored(file, tally) for file in found])
        self._publish(manifest)
        # A sweep may have decided, before we touched them, that nobody needs contents that we found.
        places = {file.path: file for file in found}
        for file in manifest.files:
            if file.sha256 in pushing.found and self._shelf.size(blob_key(file.sha256)) != file.size_bytes:
                pushing.send(places[file.path], file.sha256, _Tally(0, silent))
        tally.finish()
        return manifest

    def _publish(self, manifest: Manifest) -> None:
        """Make it known: only now, when all it needs is there."""
        key = _manifest_key(manifest.digest)
        if self._shelf.create(key, manifest.text):
            return
        self._shelf.touch(key)  # before the look at it: from now on no removal with a grace time takes it
        if self._text_at(key) != manifest.text:
            self._shelf.put(
                lambda: key, [manifest.text], size_bytes=len(manifest.text)
            )  # it was damaged, or removed since

    def _text_at(self, key: str) -> bytes | None:
        try:
            return b"".join(self._shelf.read(key))
        except FileNotFoundError:
            return None

    def manifest(self, digest: str) -> Manifest:
        try:
            text = b"".join(self._shelf.read(_manifest_key(digest)))
        except FileNotFoundError:
            raise UnknownArtifact(digest=digest, store=self._shelf.name) from None
        try:
            return Manifest.parse(text, digest=digest)
        except InvalidArtifact as error:
            raise ArtifactDamaged(what=f"artifact {digest}", store=self._shelf.name, why=error.message) from error

    def has(self, digest: str) -> bool:
        return self._shelf.size(_manifest_key(digest)) is not None

    def publish(self, name: Name, digest: str) -> None:
        if not self.has(checked_digest(digest)):
            raise UnknownArtifact(digest=digest, store=self._shelf.name)
        text = name.text(digest)
        if self._shelf.create(_NAMES + name.path, text):
            return
        try:
            found, taken = self._name_at(name)
        except ArtifactDamaged:  # who has the right digest mends it
            self._shelf.put(lambda: _NAMES + name.path, [text], size_bytes=len(text))
            return
        if (found, taken) != (name, digest):
            raise NameTaken(name=name, taken=taken, digest=digest)

    def named(self, name: Name) -> str:
        try:
            found, digest = self._name_at(name)
        except FileNotFoundError:
            found, digest = None, ""
        if found != name:  # file systems that take capital and small letters for equal mix up 1.0.0-RC and 1.0.0-rc
            raise UnknownName(name=name, store=self._shelf.name, why=self._why_unknown(name))
        return digest

    def _name_at(self, name: Name) -> tuple[Name, str]:
        try:
            return Name.read(b"".join(self._shelf.read(_NAMES + name.path)))
        except ValueError as error:
            raise ArtifactDamaged(what=f"the name {name}", store=self._shelf.name, why=error) from None

    def _why_unknown(self, name: Name) -> str:
        of = f"{name.service}/{name.component}"
        found = sorted((found.version for found in self._names_below(f"{of}/")), reverse=True)
        more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
        return f"it has {', '.join(map(str, found[:_MAX_LISTED]))}{more}" if found else f"it has nothing of {of}"

    def names(self) -> frozenset[Name]:
        return frozenset(self._names_below(""))

    def _names_below(self, folder: str) -> Iterator[Name]:
        for key, _ in self._shelf.items(_NAMES + folder):
            with contextlib.suppress(UsageError, ValueError):  # a folder may hold files of somebody else's
                service, component, version = key.removeprefix(_NAMES).split("/")
                yield Name(service, component, SemVer.parse(version))

    def digests(self) -> frozenset[str]:
        return frozenset("sha256:" + key.rpartition("/")[2] for key, _ in self._shelf.items(_MANIFESTS))

    def pull(self, digest: str, into: Path, *, on_progress: Progress = silent) -> Manifest:
        manifest = self.manifest(digest)
        tally = _Tally(manifest.size_bytes, on_progress)
        try:
            _check_no_others(into, manifest)
            for folder in {(into / file.path).parent for file in manifest.files}:
                clear_abandoned(folder)
            for file in manifest.files:
                self._pull_file(file, into, tally)
        except OSError as error:
            raise ArtifactsUnwritable(store=into, why=error.strerror or str(error)) from error
        tally.finish()
        return manifest

    def _pull_file(self, file: ArtifactFile, into: Path, tally: "_Tally") -> None:
        target = into / file.path
        make_folder(target.parent)
        if not target.parent.resolve().is_relative_to(into.resolve()):
            raise InvalidArtifact(source=file.path, why=f"a link in {into} leads out of it")
        if _is_there(target, file):
            tally.add(file.size_bytes)
            return
        with Aside(target.parent) as aside:
            for chunk in self.read(file.sha256):
                aside.write(chunk)
                tally.add(len(chunk))
            aside.replace(target)

    def read(self, sha256: str) -> Iterator[bytes]:
        what, store = f"content {sha256}", self._shelf.name
        with HashBeside() as digest:
            try:
                for chunk in self._shelf.read(blob_key(sha256)):
                    digest.update(chunk)
                    yield chunk
            except FileNotFoundError:
                raise ArtifactDamaged(what=what, store=store, why="it is missing") from None
            if (found := digest.hexdigest()) != sha256:
                raise ArtifactDamaged(what=what, store=store, why=f"its SHA-256 is {found}")

    def verify(self, digest: str, *, on_progress: Progress = silent) -> tuple[str, ...]:
        manifest = self.manifest(digest)
        tally = _Tally(sum(manifest.blobs.values()), on_progress)
        damaged = {sha256 for sha256 in manifest.blobs if not self._is_sound(sha256, tally)}
        tally.finish()
        return tuple(file.path for file in manifest.files if file.sha256 in damaged)

    def _is_sound(self, sha256: str, tally: "_Tally") -> bool:
        try:
            for chunk in self.read(sha256):
                tally.add(len(chunk))
        except ArtifactDamaged:
            return False
        return True

    def remove(self, digest: str, *, grace_s: float = 0.0) -> bool:
        key = _manifest_key(digest)
        return self._shelf.delete_old(key, grace_s=grace_s) if grace_s else self._shelf.delete(key)

    def sweep(self, *, grace_s: float = GRACE_S) -> Swept:
        self._shelf.tidy()
        contents = list(
            self._shelf.items(_BLOBS)
        )  # before the manifests: what comes later is younger than any look at it
        needed = {blob_key(sha256) for digest in self.digests() for sha256 in self._blobs_of(digest)}
        swept = [size for key, size in contents if key not in needed and self._shelf.delete_old(key, grace_s=grace_s)]
        return Swept(len(swept), sum(swept))

    def _blobs_of(self, digest: str) -> Iterable[str]:
        """Return what an artifact needs; nothing where it was removed meanwhile. A damaged manifest stops the sweep."""
        try:
            return self.manifest(digest).blobs
        except UnknownArtifact:
            return ()


class _Pushing:
    """What one push knows.

    Attributes:
        found: the contents that were there already, which it relies on.
    """

    def __init__(self, shelf: Shelf, *, check: bool) -> None:
        self._shelf = shelf
        self._check = check
        self.found: set[str] = set()

    @cached_property
    def _known_sizes(self) -> set[int]:
        return {size for _, size in self._shelf.items(_BLOBS)}

    def stored(self, file: SourceFile, tally: "_Tally") -> ArtifactFile:
        """See to it that a file's content is on the shelf."""
        if self._is_surely_new(file):
            return ArtifactFile(file.path, self.send(file, None, tally), file.size_bytes)
        sha256 = file.sha256()
        if self._is_there(sha256, file.size_bytes):
            self.found.add(sha256)
            tally.add(file.size_bytes)
        else:
            self.send(file, sha256, tally)
        return ArtifactFile(file.path, sha256, file.size_bytes)

    def _is_surely_new(self, file: SourceFile) -> bool:
        """Whether it can be hashed while it is written, in one pass: no content of its size is there.

        Small files come from the machine's memory the second time, so that looking for their size costs more.
        """
        return self._shelf.is_near and file.size_bytes > CHUNK_BYTES and file.size_bytes not in self._known_sizes

    def _is_there(self, sha256: str, size_bytes: int) -> bool:
        key = blob_key(sha256)
        if self._shelf.touch(key) != size_bytes:
            return False
        return not self._check or _sha256_of(self._shelf.read(key)) == sha256

    def send(self, file: SourceFile, sha256: str | None, tally: "_Tally") -> str:
        """Write a file's content, which must have this SHA-256 where one is given; return the SHA-256."""
        with HashBeside() as digest:

            def chunks() -> Iterator[bytes]:
                for chunk in file.chunks():
                    digest.update(chunk)
                    tally.add(len(chunk))
                    yield chunk
                if sha256 not in {None, digest.hexdigest()}:
                    raise ArtifactChanged(path=file.place)

            self._shelf.put(lambda: blob_key(sha256 or digest.hexdigest()), chunks(), size_bytes=file.size_bytes)
            if sha256 is None:
                self._known_sizes.add(file.size_bytes)
            return digest.hexdigest()


def _check_no_others(into: Path, manifest: Manifest) -> None:
    """Refuse a folder that holds files of something else: nobody could tell any more what is whose."""
    ours = {into / file.path for file in manifest.files}
    for file in into.rglob("*"):
        if file not in ours and not is_aside(file) and not file.is_dir():
            raise ConflictError(
                detail=f"{into} holds {file.relative_to(into)}, which is not of what is pulled; choose a new folder."
            )


class _Tally:
    """How much of the whole is done, and who is told."""

    def __init__(self, total_bytes: int, on_progress: Progress) -> None:
        self._total = total_bytes
        self._done = 0
        self._tell = on_progress

    def add(self, n_bytes: int) -> None:
        self._done = min(self._done + n_bytes, self._total)
        self._tell(self._done, self._total)

    def finish(self) -> None:
        self._tell(self._total, self._total)


def blob_key(sha256: str) -> str:
    return f"{_BLOBS}{sha256[:2]}/{sha256}"


def _manifest_key(digest: str) -> str:
    return _MANIFESTS + hex_of(digest)


def _sha256_of(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _is_there(target: Path, file: ArtifactFile) -> bool:
    """Whether a file is there with the right content: a pull that was cut short is then not begun anew."""
    if target.is_symlink() or not target.is_file() or target.stat().st_size != file.size_bytes:
        return False
    return SourceFile(file.path, target, file.size_bytes).sha256() == file.sha256
