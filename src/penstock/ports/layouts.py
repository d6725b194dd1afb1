"""Whole trees of versions, as others laid them out on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from penstock.kernel.semver import SemVer


@dataclass(frozen=True, slots=True)
class Laid:
    """A version as it lies on disk.

    Attributes:
        component: the name of the folder it lies in, whatever that is; None where the tree is that of one component.
        version: what its own folder's name says.
        folder: its files.
        size_bytes: of all of them, >= 0; 0 where something in it cannot be stored anyway.
        is_numbered: a model server's directory: its name is a bare number, and no `version.json` says more.
    """

    component: str | None
    version: SemVer
    folder: Path
    size_bytes: int
    is_numbered: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """What is in a tree.

    Attributes:
        root: where it is.
        versions: by component, then the lowest first.
        left_alone: paths below the root that are none of it, sorted: links, and what is neither a component nor a version.
    """

    root: Path
    versions: tuple[Laid, ...]
    left_alone: tuple[str, ...]


class Layouts(Protocol):
    """Nothing is written, and no link is followed below the root."""

    def read(self, root: Path) -> Tree:
        """Return what is in a tree. Raises UsageError for a root that is no folder, cannot be read, or holds no version."""
        ...

    def fields(self, laid: Laid) -> Mapping[str, Any]:
        """Return what is written about a version, JSON values; nothing where nothing is. Raises InvalidMetadata."""
        ...
