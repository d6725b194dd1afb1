"""What a node keeps of the store: shared by all processes of the node, bounded in bytes, never half-written."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.kernel.errors import ArtifactsUnwritable, InvalidArtifact
from penstock.ports.artifacts import ArtifactStore, Progress, silent
from penstock.registry.manifest import Manifest, hex_of
from penstock.stores.artifacts.aside import Aside, make_folder
from penstock.stores.artifacts.shared_folder import SharedFolder, looks_sound
from penstock.stores.artifacts.source import SourceFile


class CachedArtifact:
    """An artifact on this node's disk, kept there until it is closed or this process ends.

    Attributes:
        path: the folder with its files. They are shared and read-only: never write to them.
        manifest: what is in it.
    """

    def __init__(self, path: Path, manifest: Manifest, use_fd: int) -> None:
        """Take over the lock that keeps the artifact."""
        self.path = path
        self.manifest = manifest
        self._use_fd = use_fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let it go: the cache may remove it when it needs room. Twice is no mistake."""
        if self._use_fd >= 0:
            os.close(self._use_fd)
            self._use_fd = -1


class NodeCache:
    """Artifacts of one store on a local disk. Any number of processes and threads may use one folder."""

    def __init__(self, folder: Path, store: ArtifactStore, *, limit_bytes: int) -> None:
        """Touch nothing yet. All who use the folder should give the same limit: each keeps to its own."""
        self._shared = SharedFolder(folder, limit_bytes)
        self._store = store
        self._kept: dict[str, CachedArtifact] = {}

    def lease(self, digest: str, *, check: bool = False, on_progress: Progress = silent) -> CachedArtifact:
        """Return an artifact, fetched first where it is not here yet.

        What is fetched is checked byte by byte. What is here is checked by size and time, with `check` byte by byte; what
        is damaged is fetched again. Of several who ask at once one fetches, the others wait. Raises CacheTooSmall where
        it does not fit beside what is in use, ArtifactsUnwritable for a full disk, and what the store raises.
        """
        try:
            use_fd = self._shared.hold_for_use(hex_of(digest))
            try:
                manifest = self._sound(digest, check=check) or self._made(digest, check=check, on_progress=on_progress)
            except BaseException:
                os.close(use_fd)
                raise
        except OSError as error:
            raise ArtifactsUnwritable(store=self._shared.root, why=error.strerror or str(error)) from error
        return CachedArtifact(self._shared.artifact(hex_of(digest)) / "files", manifest, use_fd)

    def path_of(self, digest: str, *, on_progress: Progress = silent) -> Path:
        """Return the folder with an artifact's files, kept until `let_go` or the end of this process; see `lease`."""
        leased = self.lease(digest, on_progress=on_progress)
        if self._kept.setdefault(digest, leased) is not leased:
            leased.close()
        return leased.path

    def let_go(self, digest: str) -> None:
        """Allow the cache to remove what `path_of` returned. Without it: no mistake."""
        if leased := self._kept.pop(digest, None):
            leased.close()

    def used_bytes(self) -> int:
        """Return what the cache takes on disk, what is being fetched included in full."""
        return self._shared.used_bytes()

    def _sound(self, digest: str, *, check: bool) -> Manifest | None:
        """Return the manifest of an artifact that is here and undamaged."""
        folder = self._shared.artifact(hex_of(digest))
        try:
            manifest = Manifest.parse((folder / "manifest.json").read_bytes(), digest=digest)
        except (FileNotFoundError, InvalidArtifact):
            return None
        for file in manifest.files:
            if not _is_sound(folder / "files" / file.path, file.sha256, file.size_bytes, check=check):
                return None
        return manifest

    def _made(self, digest: str, *, check: bool, on_progress: Progress) -> Manifest:
        """Make an artifact, or mend the one that is here: its path stays valid for those who use it."""
        with self._shared.being_made(hex_of(digest)):
            if manifest := self._sound(digest, check=check):  # somebody else made it meanwhile
                return manifest
            manifest = self._store.manifest(digest)
            whole = self._shared.artifact(hex_of(digest))
            tree = whole if whole.is_dir() else self._shared.making(hex_of(digest))
            self._fill(tree, manifest, check=check, on_progress=on_progress)
            if tree != whole:
                make_folder(whole.parent)
                tree.rename(whole)
            return manifest

    def _fill(self, tree: Path, manifest: Manifest, *, check: bool, on_progress: Progress) -> None:
        make_folder(tree)
        damaged = self._damaged(manifest) if check else ()
        asides = self._shared.take_room(tree, manifest.files, damaged)
        total_bytes = sum(manifest.blobs[sha256] for sha256 in asides)
        done_bytes = 0
        try:
            for sha256, aside in asides.items():
                for chunk in self._store.read(sha256):
                    aside.write(chunk)
                    done_bytes += len(chunk)
                    on_progress(done_bytes, total_bytes)
                self._shared.settle(aside, sha256, tree, manifest.files)
                aside.close()
        finally:
            for aside in asides.values():
                aside.close()
        with Aside(tree) as aside:
            aside.write(manifest.text)
            aside.replace(tree / "manifest.json")
        on_progress(total_bytes, total_bytes)

    def _damaged(self, manifest: Manifest) -> list[str]:
        return [
            sha256
            for sha256, size in manifest.blobs.items()
            if not _is_sound(self._shared.content(sha256), sha256, size, check=True)
        ]


def _is_sound(path: Path, sha256: str, size_bytes: int, *, check: bool) -> bool:
    if not looks_sound(path, size_bytes):
        return False
    return not check or SourceFile(path.name, path, size_bytes).sha256() == sha256
