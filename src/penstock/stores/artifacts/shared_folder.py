"""The folder of a node's cache: its layout, its locks and its room. Several processes work in it at once.

    contents/<sha256>        each content once, read-only
    artifacts/<hex>/         an artifact; it is there, so it is whole: manifest.json, and below files/ hard links to contents
    making/<hex>/            one that is being made
    trash/                   what is being removed: gone from its place in one step
    locks/use-<hex>          held (shared) while somebody uses the artifact; its time says when it was used last
    locks/make-<hex>         held while somebody makes or mends the artifact
    lock                     held for the short while in which files are linked, removed or given room

All locks are the operating system's: they end with their process, however that ends. Whoever holds `lock` never waits
for another one.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from penstock.kernel.errors import CacheTooSmall
from penstock.registry.manifest import ArtifactFile
from penstock.stores.artifacts.aside import Aside, clear_abandoned, is_at, make_folder

#: Every content carries this time, 1980-01-01 (the oldest that archives can write), so that a write to it shows at a glance.
_MTIME_NS = 315_532_800 * 10**9


class SharedFolder:
    """Files and locks of the cache in one folder."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Touch nothing yet."""
        self.root = root.absolute()
        self.limit_bytes = limit_bytes

    def artifact(self, hex_digest: str) -> Path:
        return self.root / "artifacts" / hex_digest

    def making(self, hex_digest: str) -> Path:
        return self.root / "making" / hex_digest

    def content(self, sha256: str) -> Path:
        return self.root / "contents" / sha256

    def hold_for_use(self, hex_digest: str) -> int:
        """Keep an artifact from being removed until the returned descriptor is closed; note that it is used now."""
        fd = _locked(self._lock_path("use", hex_digest), fcntl.LOCK_SH)
        os.utime(fd)
        return fd

    @contextlib.contextmanager
    def being_made(self, hex_digest: str) -> Iterator[None]:
        """Be the one who makes an artifact; wait while somebody else is."""
        path = self._lock_path("make", hex_digest)
        fd = _locked(path, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def used_bytes(self) -> int:
        """Return what the contents take, those that are being fetched in full."""
        with self._alone():
            return self._used_bytes()

    def take_room(self, tree: Path, files: Collection[ArtifactFile], damaged: Collection[str]) -> dict[str, Aside]:
        """Link what is here into a tree; return a file in the making, of full size, for each content that is not.

        Contents in `damaged` are fetched anew. Raises CacheTooSmall where no room can be made; then nothing is taken.
        """
        sizes = {file.sha256: file.size_bytes for file in files}
        self._check_limit(sum(sizes.values()), used_bytes=0)
        with self._alone():
            self._clear()
            for sha256, size_bytes in sizes.items():
                if sha256 in damaged or not looks_sound(self.content(sha256), size_bytes):
                    self.content(sha256).unlink(missing_ok=True)
            missing = {sha256: size for sha256, size in sizes.items() if not self.content(sha256).exists()}
            self._link_all(tree, [file for file in files if file.sha256 not in missing])
            self._make_room(sum(missing.values()))
            return self._reserve(missing)

    def settle(self, aside: Aside, sha256: str, tree: Path, files: Collection[ArtifactFile]) -> None:
        """Make a fetched file the content it is, and link it into a tree."""
        aside.settle()
        with self._alone():
            os.utime(aside.fd, ns=(_MTIME_NS, _MTIME_NS))
            aside.place(self.content(sha256))
            self._link_all(tree, [file for file in files if file.sha256 == sha256])

    def _link_all(self, tree: Path, files: Collection[ArtifactFile]) -> None:
        for file in files:
            target, aside = tree / "files" / file.path, tree / f"link-{secrets.token_hex(8)}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.content(file.sha256), aside)
            aside.replace(target)
            aside.unlink(missing_ok=True)  # renaming one link of a file to another one leaves both

    def _reserve(self, missing: Mapping[str, int]) -> dict[str, Aside]:
        asides: dict[str, Aside] = {}
        try:
            for sha256, size_bytes in missing.items():
                asides[sha256] = Aside(self.root / "contents")
                os.ftruncate(asides[sha256].fd, size_bytes)
        except BaseException:
            for aside in asides.values():
                aside.close()
            raise
        return asides

    def _clear(self) -> None:
        """Clear away what processes that died were removing, fetching or making."""
        clear_abandoned(self.root / "contents")
        for folder in _children(self.root / "trash"):
            shutil.rmtree(folder)
        for folder in _children(self.root / "making"):
            self._remove(folder, "make", folder.name)

    def _used_bytes(self) -> int:
        # One that is just being put in place has two names.
        return sum({found.st_ino: found.st_size for _, found in _stats(self.root / "contents")}.values())

    def _make_room(self, need_bytes: int) -> None:
        """Remove what nobody uses until there is room: contents that no artifact needs, then what was used longest ago."""
        for victim in (None, *self._longest_unused()):
            if victim is not None and self._used_bytes() + need_bytes > self.limit_bytes:
                self._remove(victim, "use", victim.name)
            self._remove_unlinked(need_bytes)
        self._check_limit(need_bytes, used_bytes=self._used_bytes())

    def _check_limit(self, need_bytes: int, *, used_bytes: int) -> None:
        limit_bytes = self.limit_bytes
        if used_bytes + need_bytes > limit_bytes:
            raise CacheTooSmall(path=self.root, need_bytes=need_bytes, limit_bytes=limit_bytes, used_bytes=used_bytes)

    def _remove_unlinked(self, need_bytes: int) -> None:
        excess_bytes = self._used_bytes() + need_bytes - self.limit_bytes
        for path, found in _stats(self.root / "contents"):
            if excess_bytes > 0 and found.st_nlink == 1 and found.st_mtime_ns == _MTIME_NS:
                path.unlink()
                excess_bytes -= found.st_size

    def _longest_unused(self) -> list[Path]:
        used = {path.name.removeprefix("use-"): found.st_mtime_ns for path, found in _stats(self.root / "locks")}
        return sorted(_children(self.root / "artifacts"), key=lambda path: used.get(path.name, 0))

    def _remove(self, folder: Path, kind: str, hex_digest: str) -> None:
        """Remove a folder unless somebody holds its lock."""
        path = self._lock_path(kind, hex_digest)
        try:
            fd = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            trash = self.root / "trash" / secrets.token_hex(8)
            make_folder(trash.parent)
            with contextlib.suppress(FileNotFoundError):  # finished and moved to its place since we saw it
                folder.rename(trash)
                shutil.rmtree(trash)
            path.unlink(missing_ok=True)
        finally:
            os.close(fd)

    def _lock_path(self, kind: str, hex_digest: str) -> Path:
        return self.root / "locks" / f"{kind}-{hex_digest}"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        make_folder(self.root / "contents")
        fd = _locked(self.root / "lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(fd)


def looks_sound(path: Path, size_bytes: int) -> bool:
    """Whether a cached file has its size, and nobody wrote to it since it was checked."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return found.st_size == size_bytes and found.st_mtime_ns == _MTIME_NS


def _locked(path: Path, kind: int) -> int:
    """Open and lock a file, made where it is not there; BlockingIOError where that was asked for and another holds it."""
    make_folder(path.parent)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, kind)
        except BaseException:
            os.close(fd)
            raise
        if is_at(fd, path):  # the last holder may have removed it
            return fd
        os.close(fd)


def _children(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in _children(folder):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            yield path, path.lstat()
