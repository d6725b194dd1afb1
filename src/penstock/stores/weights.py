"""Weights by version number, for model servers: all they need is access to the store of artifacts.

The store says at each load which artifact a version is (`penstock push` told it), the node's cache fetches and checks it. No
control plane and no registry is asked. While the store is down, what it said last counts: this node loads again what it has.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from penstock.kernel.errors import (
    ArtifactDamaged,
    ArtifactsUnreachable,
    ArtifactsUnwritable,
    UnknownArtifact,
    UnknownName,
)
from penstock.kernel.names import checked_component, checked_service
from penstock.kernel.semver import SemVer
from penstock.registry.naming import Name
from penstock.stores.artifacts.aside import Aside, clear_abandoned, make_folder
from penstock.stores.artifacts.cache import CachedArtifact, NodeCache
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.clock import SystemClock
from penstock.stores.signing import check_possible, check_signature

M = TypeVar("M")

_LIMIT_BYTES = 20 * 10**9


class Weights:
    """The weights of one service. Any number of processes and threads of a machine may share one cache.

        slot = Slot("vocoder", load=Weights("tts", "s3://models/penstock").load("vocoder", read_vocoder))

    Every byte is checked against its SHA-256, when it is fetched and at each later load; what is damaged is fetched again.
    """

    def __init__(
        self,
        service: str,
        store: str | Path | None = None,
        *,
        cache: str | Path | None = None,
        limit_bytes: int = _LIMIT_BYTES,
        key: str | Path | None = None,
    ) -> None:
        """Touch nothing yet.

        `store`: a folder or a URL; without it what PENSTOCK_ARTIFACTS names, else the folder that `penstock push` uses.
        `cache`: this machine's folder for fetched files; without it what PENSTOCK_WEIGHTS_CACHE names, else
        `penstock/weights` in the user's own cache folder. `limit_bytes`: what it may take on disk; all who share it should
        say the same. `key`: the public key, in PEM, of who must have signed the files. Raises InvalidName,
        InvalidArtifactStore, and with a key UsageError where there is none, ExtraMissing without the extra `sign`.
        """
        self._service = checked_service(service)
        place = store or os.environ.get("PENSTOCK_ARTIFACTS") or _state() / "artifacts"
        folder = cache or os.environ.get("PENSTOCK_WEIGHTS_CACHE") or _home("XDG_CACHE_HOME", ".cache") / "weights"
        self._place = str(place)
        self._key = None if key is None else Path(key).expanduser().absolute()
        if self._key is not None:
            check_possible(self._key)
        self._folder = Path(folder).expanduser().absolute()
        self._store = open_artifacts(place, SystemClock())
        self._cache = NodeCache(self._folder, self._store, limit_bytes=limit_bytes)

    def load(self, component: str, read: Callable[[Path], M]) -> Callable[[str], M]:
        """Return what a slot takes as `load`: version -> what `read` makes of the folder with its files.

        The files are read-only and shared. They are kept while `read` runs: it opens all it needs, and may leave files mapped
        into memory; who needs their paths later takes `folder`. The returned function blocks, and raises InvalidSemVer,
        UnknownName, ArtifactsUnreachable, ArtifactDamaged, CacheTooSmall, ArtifactsUnwritable and, with a key,
        SignatureRefused. Raises InvalidComponent.
        """
        checked_component(component)

        def load(version: str) -> M:
            with self._leased(self._name(component, version)) as leased:
                return read(leased.path)

        return load

    def folder(self, component: str, version: str) -> Path:
        """Return the folder with a version's files, which is kept until this process ends; raises what `load` does."""
        with self._leased(self._name(component, version)) as leased:
            return self._cache.path_of(leased.manifest.digest)

    def _name(self, component: str, version: str) -> Name:
        return Name(self._service, component, SemVer.parse(version))

    def _leased(self, name: Name) -> CachedArtifact:
        """Return the files of a version, checked."""
        try:
            leased = self._cache.lease(self._digest(name), check=True)
        except UnknownArtifact:
            self._store.named(name)  # says so itself where it is not the store that it was
            why = "they were removed, and its number stays taken"
            raise UnknownName(store=self._place, name=name, why=why) from None
        try:
            if self._key is not None:
                check_signature(leased.path, self._key, called=name)
        except BaseException:
            leased.close()
            raise
        return leased

    def _digest(self, name: Name) -> str:
        """Return which artifact a version is: what the store says, or said last where it does not answer now."""
        path = self._folder / "names" / self._origin / name.path
        kept = _read(path, name)
        try:
            digest = self._store.named(name)
        except (ArtifactsUnreachable, ArtifactDamaged):
            if kept is None:
                raise
            return kept
        except UnknownName:
            if kept is None or self._store.names():  # names are never removed: one without any is a share not mounted
                raise
            return kept
        if digest != kept:
            try:
                _write(path, name.text(digest))
            except OSError as error:
                raise ArtifactsUnwritable(store=self._folder, why=error.strerror or str(error)) from error
        return digest

    @property
    def _origin(self) -> str:
        """What tells stores apart that share the cache: the same number may mean other files in each."""
        place = self._place if "://" in self._place else str(Path(self._place).absolute())
        end_point = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
        return hashlib.sha256(f"{place}\n{end_point}".encode()).hexdigest()[:16]


def _state() -> Path:
    """Return the folder that the command line keeps its state in, unless it is told another one."""
    return Path(os.environ.get("PENSTOCK_STATE") or _home("XDG_STATE_HOME", ".local/state"))


def _home(variable: str, default: str) -> Path:
    """Return our folder of that kind. Source: XDG Base Directory Specification."""
    return Path(os.environ.get(variable) or Path.home() / default) / "penstock"


def _read(path: Path, name: Name) -> str | None:
    """Return the digest that was noted for a name, or None."""
    with contextlib.suppress(OSError, ValueError):
        found, digest = Name.read(path.read_bytes())
        return digest if found == name else None
    return None


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    clear_abandoned(path.parent)
    with Aside(path.parent) as aside:
        aside.write(content)
        aside.replace(path)
