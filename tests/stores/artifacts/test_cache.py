"""A node's cache: shared, bounded, checked, mended; what is in use stays."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.kernel.errors import ArtifactsUnwritable, CacheTooSmall, UnknownArtifact
from penstock.ports.artifacts import ArtifactStore
from penstock.stores.artifacts.cache import NodeCache
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.clock import SystemClock
from penstock.testing.contracts.artifacts import contents_of, sha256_of, written
from tests.stores.artifacts.test_contract import no_file_larger_than
from tests.stores.artifacts.test_kills import start

SIZE = 100_000


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_artifacts(tmp_path / "store", SystemClock())


@pytest.fixture
def digests(store: ArtifactStore, tmp_path: Path) -> list[str]:
    """Eight artifacts of two files each: one of its own, one that all share."""
    return [
        store.push(written(tmp_path / f"source-{i}", {"own/weights": bytes([i]) * SIZE, "shared": b"s" * SIZE})).digest
        for i in range(8)
    ]


def cache_in(tmp_path: Path, store: ArtifactStore, *, n_files: int) -> NodeCache:
    return NodeCache(tmp_path / "cache", store, limit_bytes=n_files * SIZE)


def test_an_artifact_is_fetched_once_and_equal_files_take_their_room_once(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=10)
    told: list[tuple[int, int]] = []
    with cache.lease(digests[0], on_progress=lambda *at: told.append(at)) as leased:
        assert contents_of(leased.path) == {"own/weights": bytes(SIZE), "shared": b"s" * SIZE}
        assert told[-1] == (2 * SIZE, 2 * SIZE)
        with cache.lease(digests[1]) as other:
            assert (other.path / "shared").samefile(leased.path / "shared")
    assert cache.used_bytes() == 3 * SIZE
    told.clear()
    with cache.lease(digests[0], on_progress=lambda *at: told.append(at)):
        assert told == []


def test_files_are_read_only(store: ArtifactStore, digests: list[str], tmp_path: Path) -> None:
    with cache_in(tmp_path, store, n_files=2).lease(digests[0]) as leased:
        assert {path.stat().st_mode & 0o222 for path in leased.path.rglob("*") if path.is_file()} == {0}


def test_what_was_used_longest_ago_goes_first_and_what_is_in_use_stays(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=4)
    for digest in digests[:3]:
        cache.lease(digest).close()
    held = cache.path_of(digests[0])
    cache.lease(digests[3]).close()  # 1 goes
    (tmp_path / "store").rename(tmp_path / "away")
    for digest in (digests[0], digests[2], digests[3]):
        cache.lease(digest, check=True).close()
    with pytest.raises(UnknownArtifact):
        cache.lease(digests[1])
    (tmp_path / "away").rename(tmp_path / "store")
    for digest in digests[4:]:
        cache.lease(digest).close()
        assert cache.used_bytes() <= 4 * SIZE
    assert (held / "own/weights").read_bytes() == bytes(SIZE)


def test_what_does_not_fit_is_refused_in_one_sentence_and_nothing_is_lost(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=3)
    held = [cache.path_of(digest) for digest in digests[:2]]
    with pytest.raises(CacheTooSmall) as caught:
        cache.lease(digests[2])
    assert caught.value.facts == {
        "path": tmp_path / "cache",
        "need_bytes": SIZE,
        "limit_bytes": 3 * SIZE,
        "used_bytes": 3 * SIZE,
    }
    assert all(len(contents_of(path)) == 2 for path in held)
    cache.let_go(digests[0])
    cache.let_go(digests[0])
    cache.lease(digests[2]).close()
    with pytest.raises(CacheTooSmall):
        cache_in(tmp_path, store, n_files=1).lease(digests[3])
    assert cache.used_bytes() == 3 * SIZE  # an artifact that never fits throws nothing out


def damage(path: Path, *, quietly: bool) -> None:
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"damaged")
    if quietly:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_was_written_to_is_found_on_load_and_mended(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=10)
    held = cache.path_of(digests[0])
    cache.lease(digests[1]).close()
    damage(held / "shared", quietly=False)
    (held / "own/weights").unlink()
    for digest in digests[:2]:  # the same file is part of both
        with cache.lease(digest) as leased:
            assert (leased.path / "shared").read_bytes() == b"s" * SIZE
    assert contents_of(held) == {"own/weights": bytes(SIZE), "shared": b"s" * SIZE}
    assert cache.used_bytes() == 3 * SIZE


def test_damage_that_does_not_show_is_found_by_a_check(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=10)
    held = cache.path_of(digests[0])
    damage(held / "shared", quietly=True)
    cache.lease(digests[0]).close()
    assert sha256_of((held / "shared").read_bytes()) != sha256_of(b"s" * SIZE)
    cache.lease(digests[0], check=True).close()
    assert (held / "shared").read_bytes() == b"s" * SIZE


def test_a_damaged_manifest_is_mended(store: ArtifactStore, digests: list[str], tmp_path: Path) -> None:
    cache = cache_in(tmp_path, store, n_files=2)
    held = cache.path_of(digests[0])
    manifest = held.parent / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(b"")
    with cache.lease(digests[0]) as leased:
        assert leased.manifest == store.manifest(digests[0])


def test_a_full_disk_says_so_and_leaves_no_litter(store: ArtifactStore, digests: list[str], tmp_path: Path) -> None:
    cache = cache_in(tmp_path, store, n_files=2)
    with no_file_larger_than(SIZE // 2), pytest.raises(ArtifactsUnwritable, match="File too large"):
        cache.lease(digests[0])
    assert cache.used_bytes() == 0
    cache.lease(digests[0], check=True).close()


def test_what_a_dead_process_held_may_go(store: ArtifactStore, digests: list[str], tmp_path: Path) -> None:
    with start(
        "hold",
        place=str(tmp_path / "store"),
        cache=str(tmp_path / "cache"),
        digest=digests[0],
        limit_bytes=2 * SIZE,
    ) as child:
        assert child.stdout is not None
        held = Path(child.stdout.readline().strip())
        cache = cache_in(tmp_path, store, n_files=2)
        with pytest.raises(CacheTooSmall):
            cache.lease(digests[1])
        assert len(contents_of(held)) == 2
        child.kill()
    cache.lease(digests[1]).close()
    assert not held.exists()


def test_threads_that_ask_at_once_get_one_whole_artifact(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    cache = cache_in(tmp_path, store, n_files=20)
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(cache.path_of, digests * 4))
    assert all(len(contents_of(path)) == 2 for path in paths)
    assert cache.used_bytes() == 9 * SIZE


def test_four_processes_never_exceed_the_limit_and_never_see_half_an_artifact(
    store: ArtifactStore, digests: list[str], tmp_path: Path
) -> None:
    children = [
        start(
            "churn",
            place=str(tmp_path / "store"),
            cache=str(tmp_path / "cache"),
            limit_bytes=5 * SIZE,
            seed=seed,
            rounds=60,
        )
        for seed in range(4)
    ]
    answers = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sum(int(out) for out, _ in answers) < 60  # a quarter: five files hold four artifacts at a time
    cache = cache_in(tmp_path, store, n_files=5)
    assert cache.used_bytes() <= 5 * SIZE
    assert list((tmp_path / "cache" / "trash").iterdir()) == []
