"""A pushing or fetching process dies at any point: nothing half-written is seen, and the next one finishes the work."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from penstock.ports.artifacts import Swept
from penstock.stores.artifacts.cache import NodeCache
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.clock import SystemClock
from penstock.testing.contracts.artifacts import contents_of, written

CHILD = Path(__file__).with_name("child.py")
MIB = 1 << 20
FILES = {"a.json": b"{}", "weights/1": b"1" * (3 * MIB), "weights/2": b"2" * (2 * MIB + 7), "z": b"z" * 5_000}
TOTAL = sum(map(len, FILES.values()))


def start(what: str, **arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, CHILD, what, json.dumps(arguments)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def run_and_kill(child: "subprocess.Popen[str]", *, after_s: float) -> None:
    """Kill a child so long after it began its work; it may have killed itself, or be done, by then."""
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        child.kill()
    child.communicate()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return written(tmp_path / "source", FILES)


def check_the_store(place: str, source: Path) -> None:
    """Whatever is there is whole; and the next push finishes what was begun."""
    store = open_artifacts(place, SystemClock())
    assert [digest for digest in store.digests() if store.verify(digest)] == []
    manifest = store.push(source)
    assert store.verify(manifest.digest) == ()
    assert store.sweep(grace_s=0) == Swept()  # it used what the killed one had sent


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_push_into_a_folder(seed: int, source: Path, tmp_path: Path) -> None:
    chance = Random(seed)
    for i in range(10):
        root = tmp_path / f"store-{i}"
        is_timed = bool(chance.getrandbits(1))  # also between the steps that tell of progress
        at_bytes = -1 if is_timed else chance.randrange(TOTAL + 1)
        child = start("push", place=str(root), source=str(source), kill_at_bytes=at_bytes)
        run_and_kill(child, after_s=chance.uniform(0, 0.03) if is_timed else 60)
        check_the_store(str(root), source)
        assert list((root / "aside").iterdir()) == []


def test_a_killed_push_into_a_bucket(source: Path, new_bucket: Callable[[], str]) -> None:
    chance = Random(5)
    for _ in range(8):
        place = f"s3://{new_bucket()}/x"
        child = start("push", place=place, source=str(source), kill_at_bytes=chance.randrange(TOTAL + 1))
        run_and_kill(child, after_s=60)
        check_the_store(place, source)


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_fetch_into_the_cache(seed: int, source: Path, tmp_path: Path) -> None:
    chance = Random(100 + seed)
    store = open_artifacts(tmp_path / "store", SystemClock())
    digest = store.push(source).digest
    for i in range(10):
        folder = tmp_path / f"cache-{i}"
        is_timed = bool(chance.getrandbits(1))
        child = start(
            "lease",
            place=str(tmp_path / "store"),
            cache=str(folder),
            digest=digest,
            limit_bytes=TOTAL,
            kill_at_bytes=-1 if is_timed else chance.randrange(TOTAL + 1),
        )
        run_and_kill(child, after_s=chance.uniform(0, 0.03) if is_timed else 60)
        cache = NodeCache(folder, store, limit_bytes=TOTAL)  # no room for anything the killed one left behind
        with cache.lease(digest, check=True) as leased:
            assert contents_of(leased.path) == FILES
        assert cache.used_bytes() == TOTAL
        assert list((folder / "contents").glob(".*")) == list((folder / "making").glob("*")) == []
