"""Trained voices on disk: one file per version and recipe, whole or not there at all, checked by its SHA-256 on loading.

A file is one line of JSON (the card) followed by a NumPy archive. It is written aside and renamed; an advisory lock makes a
second process wait for the first one's training instead of repeating it, and a killed process leaves no lock behind.
"""

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from .errors import CacheUnwritable
from .recipes import Recipe
from .training import Arrays, n_steps, train

_FOLDER = Path(__file__).parent
# What the weights follow from, besides the recipe and espeak-ng itself: a change of any of these is a new file.
_SOURCES = (
    "acoustic.py",
    "espeak.py",
    "spectra.py",
    "training.py",
    "vocoder.py",
    "sentences_en.txt",
    "sentences_zh.txt",
)


@dataclass(frozen=True, slots=True)
class Trained:
    """One version's weights. `digest` is `sha256:` over the archive, `build_time` an ISO 8601 UTC time of its training."""

    weights: Arrays
    digest: str
    build_time: str


def cache_folder() -> Path:
    """`$PENSTOCK_CACHE/speech`, else `penstock/speech` in the XDG cache folder."""
    if named := os.environ.get("PENSTOCK_CACHE"):
        return Path(named).expanduser() / "speech"
    # Source: XDG Base Directory Specification 0.8: unset or empty means ~/.cache
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "speech"


def recipe_hash(recipe: Recipe) -> str:
    """12 hexadecimal digits that change whenever the weights could."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    for name in _SOURCES:
        digest.update((_FOLDER / name).read_bytes())
    for package in ("espeakng-loader", "numpy"):
        try:
            digest.update(version(package).encode())
        except PackageNotFoundError:  # the front end says so, with the remedy
            digest.update(b"missing")
    return digest.hexdigest()[:12]


def load_or_train(recipe: Recipe) -> Trained:
    """The cached voice, or a new one, shown by a progress bar on stderr. Damaged files are trained again.

    Raises CacheUnwritable.
    """
    path = cache_folder() / f"{recipe.version}-{recipe_hash(recipe)}.voice"
    try:
        if found := _load(path):
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            # Another process may have finished while this one waited for the lock.
            return _load(path) or _train_into(path, recipe)
    except OSError as error:
        raise CacheUnwritable(str(path.parent), error.strerror or str(error)) from error


def _load(path: Path) -> Trained | None:
    """None when the file is not there, or is not whole."""
    try:
        first, _, archive = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        card = json.loads(first)
        digest, build_time = str(card["digest"]), str(card["build_time"])
    except (ValueError, KeyError, TypeError):
        return None
    if digest != _digest(archive):
        return None
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        return Trained(dict(arrays), digest, build_time)


def _train_into(path: Path, recipe: Recipe) -> Trained:
    from rich.console import Console  # noqa: PLC0415 - a cached start has no progress to show
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(f"training speech {recipe.version} (first start only)", total=n_steps(recipe))
        weights = train(recipe, lambda: progress.advance(task))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **weights)
    archive = buffer.getvalue()
    trained = Trained(weights, _digest(archive), datetime.now(UTC).isoformat(timespec="seconds"))
    card = json.dumps({"version": recipe.version, "digest": trained.digest, "build_time": trained.build_time})
    aside = path.with_suffix(".partial")  # one name: the lock is held, and a killed process's rest is overwritten
    with aside.open("wb") as file:
        file.write(card.encode() + b"\n" + archive)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return trained


def _digest(archive: bytes) -> str:
    return "sha256:" + hashlib.sha256(archive).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go when the file is closed, also by kill -9
        yield
