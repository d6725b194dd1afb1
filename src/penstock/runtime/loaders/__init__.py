"""Ready-made `load` functions for slots, by the name of an entry point in the group `penstock.loaders`.

    Slot("vocoder", load=loader("torch", "models", "vocoder", build=Vocoder.from_state))

Versions lie in folders `ROOT/COMPONENT/VERSION`, with or without a `v` before the number. Every library is imported when it
is first needed: a server pays for the one it uses.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from penstock.kernel.errors import UnknownLoader

_GROUP = "penstock.loaders"


def loader(name: str, root: str | Path, component: str, **options: Any) -> Callable[[str], Any]:
    """Return what a slot takes as `load`: version -> model.

    `options` are those of the loader of that name. Raises UnknownLoader, and what the loader says against its options. A
    version whose folder is missing is refused when it is loaded.
    """
    read = reader(name, **options)
    return lambda version: read(folder_of(Path(root) / component, version))


def reader(name: str, **options: Any) -> Callable[[Path], Any]:
    """Return what a loader makes of a version's folder: folder -> model. `options` and errors are those of `loader`."""
    known = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in known:
        raise UnknownLoader(name=name, known=", ".join(sorted(known)))
    read: Callable[[Path], Any] = known[name].load()(**options)
    return read


def folder_of(component: Path, version: str) -> Path:
    """Return the folder of one version. Raises FileNotFoundError."""
    for name in (version, f"v{version}"):
        if (component / name).is_dir():
            return component / name
    raise FileNotFoundError(f"{component} has no folder {version}")


def only_file(folder: Path, *patterns: str) -> Path:
    """Return the one file that matches the first pattern that any matches. Raises FileNotFoundError."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            raise FileNotFoundError(f"{folder} has {len(found)} files {pattern}; say which with file=")
    raise FileNotFoundError(f"{folder} has no file {' or '.join(patterns)}")
