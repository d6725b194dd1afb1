"""A catalogue on a folder, and a program whose children end in the midst of work: `python -m tests.control.cataloguing WHAT`.

It reads lines `N FOLDER`, and answers each with how the child ended that was killed before its N-th call to a store.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from penstock.control.adopting import Adopted, Adopting
from penstock.control.cataloguing import Catalogue, Parts
from penstock.ports.artifacts import SAFE_ONLY, ArtifactStore, Progress, Trust, silent
from penstock.registry.manifest import Manifest
from penstock.registry.reference import Ref
from penstock.registry.retention import Policy
from penstock.registry.stage import Stage
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.artifacts.source import manifest_of
from penstock.stores.layouts import DiskLayouts
from penstock.stores.lock import alone
from penstock.stores.registry.store import SqlRegistry
from penstock.stores.safety import check_safe
from penstock.stores.signing import proving
from penstock.testing.fakes import ManualClock

FIELDS: dict[str, Any] = {
    "created": "2026-11-01",
    "author": "ann",
    "owner": "speech",
    "change_note": "less crackling",
    "training_set": None,
    "metrics": {"naturalness": {"value": 4.2, "unit": "MOS 1..5"}},
    "framework_version": "torch 2.13.0",
    "cuda_version": None,
    "sample_rate_hz": 24000,
    "languages": ["en"],
    "input_signature": "mel",
    "output_signature": "audio",
    "licence": "MIT",
}
BY = {"actor": "ann", "reason": "because"}
#: Gives up all that nothing protects, at once when it was marked before.
STRICT = Policy(keep_last=0, grace=timedelta(0))


class Look:
    """At files, as the composition root looks."""

    proving = staticmethod(proving)

    def check(self, source: Path, trust: Trust) -> None:
        assert trust == SAFE_ONLY
        check_safe(source)

    def manifest(self, source: Path) -> Manifest:
        return manifest_of(source)


def parts_of(folder: Path, artifacts: ArtifactStore | None = None) -> Parts:
    clock = ManualClock()
    artifacts = artifacts or open_artifacts(folder / "artifacts", clock)
    return Parts(SqlRegistry(folder / "registry.db"), artifacts, clock, Look(), partial(alone, folder / "lock"))


def source_of(folder: Path, version: str) -> Path:
    source = folder / version
    source.mkdir(exist_ok=True)
    (source / "weights.txt").write_text(f"weights of {version}", encoding="utf-8")
    return source


def push(catalogue: Catalogue, folder: Path, version: str, stage: Stage = Stage.REGISTERED) -> bool:
    """Push a version; return whether it is new."""
    ref = Ref.parse(f"tts/vocoder@{version}")
    return catalogue.push(ref, source_of(folder, version), FIELDS, stage=stage, **BY).is_new


def lay(tree: Path) -> None:
    """Lay a tree out in which one version does not fit, and two later ones go together."""
    written: dict[str, dict[str, Any]] = {
        "acoustic/v1.0.0": {"created": "2024-05-01"},
        "acoustic/v1.1.0": {"created": "2024-05-02", "requires": {"emotion": ">=1"}},
        "acoustic/v2.0.0": {"created": "2024-05-03", "requires": {"vocoder": ">=2"}},
        "vocoder/v2.0.0": {"created": "2024-05-04", "trained_with": {"acoustic": "2.0.0"}},
    }
    for name, fields in written.items():
        (tree / name).mkdir(parents=True)
        (tree / name / "weights.txt").write_text(f"weights of {name}", encoding="utf-8")
        (tree / name / "version.json").write_text(json.dumps({"status": "stable"} | fields), encoding="utf-8")


def adopt(catalogue: Catalogue, tree: Path, on_progress: Progress = silent) -> Adopted:
    adopting = Adopting(catalogue, DiskLayouts(), ManualClock())
    return adopting.adopt("tts", None, tree, on_progress=on_progress, **BY)


class Mortal:
    """Passes calls on; kills the process before the n-th of all."""

    def __init__(self, target: object, n_left: list[int]) -> None:
        self._target = target
        self._n_left = n_left

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self._n_left[0] -= 1
        if self._n_left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        found: Callable[..., Any] = getattr(self._target, name)
        return found


def work(what: str, folder: Path, n: int) -> None:
    """Push 2.0.0 into a stage, collect, or adopt a tree; die before call `n` to a store."""
    parts, n_left = parts_of(folder), [n]
    registry: Any = Mortal(parts.registry, n_left)
    artifacts: Any = Mortal(parts.artifacts, n_left)
    catalogue = Catalogue(Parts(registry, artifacts, parts.clock, parts.look, parts.alone))
    if what == "gc":
        catalogue.collect(STRICT, None, **BY)
    elif what == "adopt":
        adopt(catalogue, folder / "tree")
    else:
        push(catalogue, folder, "2.0.0", Stage(what))


def main(what: str) -> None:
    """Fork for each line: what is imported once need not be imported again."""
    for line in sys.stdin:
        n, folder = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            work(what, Path(folder), int(n))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
