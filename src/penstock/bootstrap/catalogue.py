"""The registry, the store of files, and what fills them. No control plane has to run, and none is imported."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

from penstock.bootstrap.state import make_folder
from penstock.control.adopting import Adopting
from penstock.control.cataloguing import Catalogue, Parts
from penstock.ports.artifacts import ArtifactStore, Trust
from penstock.ports.registry import RegistryStore
from penstock.registry.manifest import Manifest
from penstock.stores.artifacts.aside import Aside, clear_abandoned
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.artifacts.source import manifest_of
from penstock.stores.clock import SystemClock
from penstock.stores.layouts import DiskLayouts
from penstock.stores.lock import alone
from penstock.stores.mlflow.models import MlflowModels
from penstock.stores.registry import SqlRegistry
from penstock.stores.safety import check_safe
from penstock.stores.signing import check_signature, proving


def registry_at(state_dir: Path) -> RegistryStore:
    """Return the registry of versions of this folder, which must exist."""
    return SqlRegistry(state_dir / "registry.db")


def artifacts_at(state_dir: Path) -> ArtifactStore:
    """Return the store of files of this folder, or the one that PENSTOCK_ARTIFACTS names. Raises InvalidArtifactStore."""
    return open_artifacts(os.environ.get("PENSTOCK_ARTIFACTS") or state_dir / "artifacts", SystemClock())


#: Opens a catalogue, and closes it on leaving.
OpenCatalogue = AbstractContextManager[Catalogue]


@contextmanager
def catalogue_at(state_dir: Path) -> Iterator[Catalogue]:
    """Open the registry and the store of files of this folder, which is made; close them on leaving."""
    make_folder(state_dir)
    artifacts = artifacts_at(state_dir)
    with closing(registry_at(state_dir)) as registry:
        held = partial(alone, state_dir / "registry.files.lock")
        yield Catalogue(Parts(registry, artifacts, SystemClock(), _Look(), held))


@contextmanager
def adopting_at(state_dir: Path) -> Iterator[Adopting]:
    """Open what takes whole trees of versions into the catalogue of this folder; close it on leaving."""
    with catalogue_at(state_dir) as catalogue:
        yield Adopting(catalogue, DiskLayouts(), SystemClock())


def mlflow_at(state_dir: Path) -> MlflowModels:
    """Return the MLflow registry that its own variables name; its files lie below this folder while they are needed."""
    return MlflowModels(state_dir / "fetching")


def write_whole(file: Path, lines: Iterable[str]) -> int:
    """Write a file whole or not at all; return how many lines it has. Raises OSError."""
    n_lines = 0
    clear_abandoned(file.parent)
    with Aside(file.parent) as aside:
        for line in lines:
            aside.write(f"{line}\n".encode())
            n_lines += 1
        aside.replace(file, mode=0o644)
    return n_lines


class _Look:
    """At files that are to be stored or handed out."""

    proving = staticmethod(proving)

    def check(self, source: Path, trust: Trust) -> None:
        check_safe(source, allow_pickles=trust.pickles or bool(trust.names), allowed_names=trust.names)
        if trust.key is not None:
            check_signature(source, trust.key)

    def manifest(self, source: Path) -> Manifest:
        return manifest_of(source)
