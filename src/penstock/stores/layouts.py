"""Trees of versions on disk: folders of components, or what TensorFlow Serving and Triton serve from.

ROOT/vocoder/v1.3.0/           a component's folder, a version's folder: weights, and `version.json` where there is one
ROOT/3/saved_model.pb          one model's folder with numbers (TensorFlow Serving); or with versions
ROOT/ranker/3/model.onnx       models' folders with numbers (Triton), with `ROOT/ranker/config.pbtxt`
"""

import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.kernel.chain import canonical_json
from penstock.kernel.errors import InvalidArtifact, InvalidMetadata, InvalidSemVer, UsageError
from penstock.kernel.semver import SemVer
from penstock.ports.layouts import Laid, Tree
from penstock.stores.artifacts.source import files_of

#: What says something about a version, beside its weights.
_VERSION_FILE = "version.json"
#: What Triton is told about a model, beside its versions.
_MODEL_FILE = "config.pbtxt"


class DiskLayouts:
    """See ports/layouts.py."""

    def read(self, root: Path) -> Tree:
        entries = _entries(root)
        found = list(_of_component(entries, None)) or [
            laid for folder in entries if _is_folder(folder) for laid in _of_component(_listed(folder), folder.name)
        ]
        if not found:
            raise UsageError(
                detail=f"{root} holds no versions: neither COMPONENT/VERSION/ nor VERSION/ is in it, "
                "where VERSION is 1.3.0, v1.3.0 or a bare number."
            )
        found.sort(key=lambda laid: (laid.component or "", laid.version.key, laid.folder.name))
        return Tree(root, tuple(found), tuple(sorted(_left_alone(root, entries, found))))

    def fields(self, laid: Laid) -> Mapping[str, Any]:
        """What Triton is told about the model comes as the field `config.pbtxt`."""
        config = laid.folder.parent / _MODEL_FILE
        try:
            fields = dict(_written(laid.folder / _VERSION_FILE))
            if config.is_file() and not config.is_symlink():
                fields.setdefault(_MODEL_FILE, config.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            name = Path(error.filename or config).name
            raise InvalidMetadata(field=name, why=f"it cannot be read: {error.strerror}") from None
        return fields


def _of_component(entries: list[Path], component: str | None) -> Iterator[Laid]:
    """Yield the versions among the entries of a component's folder. An empty folder is none: ensembles of Triton have such."""
    for folder in entries:
        version = _version(folder.name)
        if version is not None and _is_folder(folder) and _has_entries(folder):
            is_numbered = folder.name.isdigit() and _VERSION_FILE not in {entry.name for entry in _listed(folder)}
            yield Laid(component, version, folder, _size_bytes(folder), is_numbered)


def _left_alone(root: Path, entries: list[Path], found: list[Laid]) -> Iterator[str]:
    folders = {laid.folder for laid in found}
    components = {laid.folder.parent for laid in found} - {root}
    inner = [entry for folder in components for entry in _listed(folder)]
    for entry in [*entries, *inner]:
        if entry not in folders | components and entry.name != _MODEL_FILE:
            yield str(entry.relative_to(root))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(detail=f"{folder} cannot be read as a folder: {error.strerror}.") from None


def _listed(folder: Path) -> list[Path]:
    """Return the entries of a folder within the tree; one that cannot be read keeps nothing else from coming in."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _has_entries(folder: Path) -> bool:
    """Whether something is in a folder; one that cannot be read is refused when it is to be stored."""
    try:
        return any(folder.iterdir())
    except OSError:
        return True


def _is_folder(entry: Path) -> bool:
    try:
        return stat.S_ISDIR(entry.lstat().st_mode)
    except OSError:  # in a folder that can be listed, and not entered
        return False


def _version(name: str) -> SemVer | None:
    try:
        return SemVer.parse(name)
    except InvalidSemVer:
        return None


def _size_bytes(folder: Path) -> int:
    try:
        return sum(file.size_bytes for file in files_of(folder))
    except InvalidArtifact:  # said when it is to be stored
        return 0


def _written(file: Path) -> dict[str, Any]:
    if not file.exists() and not file.is_symlink():
        return {}
    if not stat.S_ISREG(file.lstat().st_mode):
        raise InvalidMetadata(field=file.name, why="it is not a plain file")
    try:
        # NaN is no number in JSON and none to us; as a word it is at least kept.
        content = json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=str)
        canonical_json(content)
    except (ValueError, RecursionError) as error:
        raise InvalidMetadata(field=file.name, why=f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidMetadata(field=file.name, why="it holds no fields")
    return content
