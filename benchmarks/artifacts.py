"""The artifact store in a folder: a push against `cp`, fsync and one SHA-256 pass; pull, deduplication, memory, kills.

Copy and push run in turns, in processes of their own, on the same disk; the ratio is taken pair by pair.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import Row, options, report, row
from penstock.stores.artifacts.folder import FolderShelf
from penstock.stores.artifacts.store import ShelvedArtifacts

_MIB = 1 << 20
_MEASURED = """
import sys, time
from pathlib import Path
def peak_kib():  # not getrusage: that one begins with the peak of the process that started us
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
from penstock.stores.artifacts.folder import FolderShelf
from penstock.stores.artifacts.store import ShelvedArtifacts
what, root, warm, source = sys.argv[1:]
store = ShelvedArtifacts(FolderShelf(Path(root)))
small = store.push(Path(warm))
before_kib = peak_kib()
begun_s = time.perf_counter()
if what == "push":
    store.push(Path(source))
else:
    digest, = store.digests() - {small.digest}
    store.pull(digest, Path(source))
took_s = time.perf_counter() - begun_s
print(took_s, (peak_kib() - before_kib) / 1024)
"""
_KILLED = """
import os, signal, sys
from pathlib import Path
from penstock.stores.artifacts.folder import FolderShelf
from penstock.stores.artifacts.store import ShelvedArtifacts
at_bytes = int(sys.argv[3])
def tell(done, total):
    if done >= at_bytes:
        os.kill(os.getpid(), signal.SIGKILL)
print(flush=True)
ShelvedArtifacts(FolderShelf(Path(sys.argv[1]))).push(Path(sys.argv[2]), on_progress=tell)
"""


def _file(path: Path, size_mib: int) -> Path:
    """Write random bytes: nothing on the way can compress or skip them."""
    chance = np.random.default_rng(size_mib)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(chance.bytes(_MIB))
    return path


def _measured(what: str, *paths: Path) -> tuple[float, float]:
    ran = subprocess.run([sys.executable, "-c", _MEASURED, what, *paths], check=True, stdout=subprocess.PIPE, text=True)
    took_s, grown_mib = map(float, ran.stdout.split())
    return took_s, grown_mib


def _copied_s(source: Path, target: Path) -> float:
    """Time what a person would do by hand, with the fastest SHA-256 of this machine (hashlib's; sha256sum is slower)."""
    begun_s = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    took_s = time.perf_counter() - begun_s
    target.unlink()
    return took_s


def _speed(folder: Path, size_mib: int, n_runs: int) -> list[Row]:
    warm, source = _file(folder / "warm" / "w", 4).parent, _file(folder / "source" / "m", size_mib).parent
    copies: list[float] = []
    pushes: list[float] = []
    again: list[float] = []
    pulls: list[float] = []
    grown: list[float] = []

    def measured(what: str, place: Path) -> float:
        took_s, grown_mib = _measured(what, folder / "store", warm, place)
        grown.append(grown_mib)
        return took_s

    for i in range(n_runs):
        steps = [
            lambda: copies.append(_copied_s(source / "m", folder / "copy")),
            lambda: pushes.append(measured("push", source)),
        ]
        for step in steps if i % 2 else reversed(steps):  # a disk gives more to who comes first after a pause
            os.sync()
            step()
        again.append(measured("push", source))
        os.sync()
        pulls.append(measured("pull", folder / "here"))
        shutil.rmtree(folder / "store")
        shutil.rmtree(folder / "here")
    return [
        row(f"cp, fsync and SHA-256 of {size_mib} MiB", copies, "s"),
        row("push", pushes, "s"),
        row(
            "speed of push to cp, fsync and SHA-256",
            [c / p for c, p in zip(copies, pushes, strict=True)],
            "ratio",
            ">= 0.7",
        ),
        row("push of what is there already", again, "s"),
        row("pull", pulls, "s"),
        row("growth of memory", grown, "MiB", "<= 64", of="max"),
    ]


def _kills(folder: Path, n_kills: int) -> list[Row]:
    """Kill pushes at random points, half of them by the clock, into one store; count what is not as it must be."""
    chance = np.random.default_rng(7)
    store = ShelvedArtifacts(FolderShelf(folder / "store"))
    n_killed, n_half, n_lost = 0, 0, 0
    kept = store.push(_file(folder / "kept" / "m", 1).parent).digest
    while n_killed < n_kills:  # some are done before their time comes
        source = _file(folder / "source" / "a", 3).parent
        (source / "b").write_bytes(chance.bytes(5 * _MIB + 7))
        is_timed = bool(chance.integers(2))
        at_bytes = 1 << 40 if is_timed else int(chance.integers(8 * _MIB))
        command = [sys.executable, "-c", _KILLED, folder / "store", source, str(at_bytes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            if is_timed:
                time.sleep(float(chance.uniform(0, 0.06)))
                child.kill()
        n_killed += child.returncode == -signal.SIGKILL
        n_half += any(store.verify(digest) for digest in store.digests())
        store.remove(store.push(source).digest)
        n_half += len(list((folder / "store" / "aside").iterdir()))
        n_lost += kept not in store.digests()
        store.sweep(grace_s=0)
        shutil.rmtree(source)
    return [
        row("pushes killed", [n_killed], ""),
        row("half-written artifacts or files left", [n_half], "", "== 0"),
        row("artifacts lost", [n_lost], "", "== 0"),
    ]


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="penstock-artifacts-") as folder:
        rows = _speed(Path(folder, "speed"), 256 if asked.quick else 2048, 3 if asked.quick else 5)
        rows += _kills(Path(folder, "kills"), 20 if asked.quick else 200)
    return report("artifacts", rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
