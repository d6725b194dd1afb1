"""Keeping the files of model versions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.registry.manifest import Manifest
from penstock.registry.naming import Name

#: Is told (bytes done, bytes in all) now and then, and once at the end; may be called from any thread.
Progress = Callable[[int, int], None]

#: How long a sweep leaves alone what no manifest needs: longer than any push takes. Source: a choice, as git's gc does it.
GRACE_S = 24 * 3600.0


def silent(_done_bytes: int, _total_bytes: int, /) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What of files is believed before they are stored.

    Attributes:
        pickles: those that use harmless names only are accepted.
        names: what pickles may use besides, as `module.name`; naming any accepts pickles.
        key: who must have signed the files; None for nobody.
    """

    pickles: bool = False
    names: tuple[str, ...] = ()
    key: Path | None = None


#: Only what is safe by itself, from anybody.
SAFE_ONLY = Trust()


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed: contents that no artifact needed any more.

    Attributes:
        n_blobs: how many.
        size_bytes: together.
    """

    n_blobs: int = 0
    size_bytes: int = 0


class ArtifactStore(Protocol):
    """Artifacts by digest. Many processes and machines may use one store at once.

    The methods block: what they do is reading, hashing and writing files, and all of that leaves the interpreter to other
    threads. A caller with an event loop takes `asyncio.to_thread`.

    Laws:
    - An artifact is there whole or not at all: `has`, `digests`, `manifest` and `pull` never see one whose push has not
      returned, also when the pushing process was killed at any point; and what push returned survives a power cut.
    - `push` sends no content that is there already: equal files are stored once, whichever artifact has them; a push that
      was cut short is finished by pushing again. Pushing the same files twice, or at the same time, is no mistake.
    - What comes out is what went in: every byte that `pull` writes was checked against its SHA-256, else ArtifactDamaged,
      and nothing of that file is left. A file that changes while it is pushed raises ArtifactChanged.
    - `remove` takes the artifact away at once, with a grace time only one that no push wrote or found meanwhile; its contents
      go with `sweep`, unless another artifact needs them. `sweep` never takes what a push under way relies on, provided that
      the push takes less than the grace time.
    - A name, once published, means the same artifact for ever, also when that is removed: of several who publish at once
      one wins. A killed `publish` leaves no name or the right one.
    - What cannot be an artifact (a link, a device, a name that leads elsewhere) raises InvalidArtifact, a full or
      read-only medium ArtifactsUnwritable, a store that does not answer ArtifactsUnreachable; each loses nothing, and
      leaves nothing behind that the next push or sweep does not clear away.
    """

    def push(self, source: Path, *, check: bool = False, on_progress: Progress = silent) -> Manifest:
        """Store a folder, or one file under its own name.

        With `check`, contents that are there already are read back and, where damaged, sent again.
        """
        ...

    def manifest(self, digest: str) -> Manifest:
        """Return the files of an artifact; UnknownArtifact where there is none."""
        ...

    def has(self, digest: str) -> bool: ...

    def publish(self, name: Name, digest: str) -> None:
        """Give an artifact a name; again is no mistake. Raises NameTaken where it means another one, UnknownArtifact."""
        ...

    def named(self, name: Name) -> str:
        """Return the digest of what has this name, which may have been removed; UnknownName says which versions have one."""
        ...

    def names(self) -> frozenset[Name]:
        """Return every name there is, without build metadata."""
        ...

    def digests(self) -> frozenset[str]:
        """Return every artifact there is."""
        ...

    def pull(self, digest: str, into: Path, *, on_progress: Progress = silent) -> Manifest:
        """Write an artifact's files below `into`, which is made; files that are there with the right content are kept.

        A folder that holds files which are not the artifact's raises ConflictError, and nothing is written.
        """
        ...

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield one content in pieces; ArtifactDamaged at the end where they were not the right ones, or it is missing."""
        ...

    def verify(self, digest: str, *, on_progress: Progress = silent) -> tuple[str, ...]:
        """Read every byte of an artifact back; return the paths that are damaged or missing, sorted."""
        ...

    def remove(self, digest: str, *, grace_s: float = 0.0) -> bool:
        """Take an artifact away unless a push wrote or found it within `grace_s` seconds; return whether it was taken."""
        ...

    def sweep(self, *, grace_s: float = GRACE_S) -> Swept:
        """Remove contents that no artifact needs and that no push touched for `grace_s` seconds."""
        ...
