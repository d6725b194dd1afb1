"""What a store in a folder owes beyond the contract: sweeps beside pushes, a full disk, memory, places."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.kernel.errors import (
    ArtifactDamaged,
    ArtifactsUnreachable,
    ArtifactsUnwritable,
    InvalidArtifact,
    InvalidArtifactStore,
    UnknownName,
)
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import ArtifactStore
from penstock.registry.manifest import hex_of
from penstock.registry.naming import Name
from penstock.stores.artifacts.aside import Aside
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.clock import SystemClock
from penstock.testing.contracts.artifacts import contents_of, written


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_artifacts(tmp_path / "store", SystemClock())


def make_old(root: Path, what: str = "blobs") -> None:
    for path in (root / what).rglob("*"):
        os.utime(path, (0, 0))


def test_a_sweep_never_takes_what_a_push_beside_it_found(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {str(i): bytes([i]) * 100 for i in range(20)})
    n_swept = 0
    with ThreadPoolExecutor(2) as threads:
        for _ in range(40):
            store.remove(store.push(source).digest)
            make_old(tmp_path / "store")
            swept = threads.submit(store.sweep, grace_s=60)
            manifest = store.push(source)
            n_swept += swept.result().n_blobs
            assert store.verify(manifest.digest) == ()
    assert n_swept > 0


def test_a_push_makes_what_it_found_young_again(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    store.remove(store.push(source).digest)
    make_old(tmp_path / "store")
    store.remove(store.push(source).digest)
    assert store.sweep(grace_s=60).n_blobs == 0
    make_old(tmp_path / "store")
    assert store.sweep(grace_s=60).n_blobs == 1


def test_a_push_makes_the_artifact_that_it_found_young_again(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    digest = store.push(source).digest
    make_old(tmp_path / "store", "manifests")
    store.push(source)
    assert not store.remove(digest, grace_s=60)
    make_old(tmp_path / "store", "manifests")
    assert store.remove(digest, grace_s=60)
    assert not store.has(digest)


def test_a_removal_never_takes_what_a_push_beside_it_found(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    digest = store.push(source).digest
    n_removed = 0
    with ThreadPoolExecutor(2) as threads:
        for _ in range(200):
            make_old(tmp_path / "store", "manifests")
            removed = threads.submit(store.remove, digest, grace_s=60)
            store.push(source)
            n_removed += removed.result()
            assert store.verify(digest) == ()
    assert n_removed > 0


def test_files_of_somebody_else_among_the_names_are_no_names(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "names" / "tts" / "vocoder").mkdir(parents=True)
    for name in ("note", "tts/vocoder/.nfs0001", "tts/vocoder/1.x"):
        (tmp_path / "store" / "names" / name).write_bytes(b"")
    assert store.names() == frozenset()
    with pytest.raises(UnknownName, match="it has nothing of tts/vocoder"):
        store.named(Name("tts", "vocoder", SemVer(1)))


def test_a_sweep_stops_where_it_cannot_know_what_is_needed(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    digest = store.push(source).digest
    manifest = tmp_path / "store" / "manifests" / "sha256" / hex_of(digest)
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")
    with pytest.raises(ArtifactDamaged):
        store.sweep(grace_s=0)
    assert store.push(source).digest == digest  # mends it
    assert store.verify(digest) == ()


def test_what_a_dead_writer_left_goes_and_what_a_living_one_writes_stays(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    store.push(source)
    folder = tmp_path / "store" / "aside"
    (folder / ".aside-dead").write_bytes(b"half")
    with Aside(folder) as living:
        store.push(source)
        assert list(folder.iterdir()) == [living.path]
    assert list(folder.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "penstock-test", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="mounting a file system needs root")
def test_a_full_disk_says_so_and_the_next_push_finishes(small_disk: Path, tmp_path: Path) -> None:
    store = open_artifacts(small_disk / "store", SystemClock())
    source = written(tmp_path / "source", {"a": b"a" * 3_000_000, "b": os.urandom(4_000_000), "c": b"c" * 4_000_000})
    with pytest.raises(ArtifactsUnwritable, match="No space left on device") as caught:
        store.push(source)
    assert "\n" not in caught.value.message
    assert store.digests() == frozenset()
    assert list((small_disk / "store" / "aside").iterdir()) == []
    (source / "c").write_bytes(b"c")
    manifest = store.push(source)
    assert store.verify(manifest.digest) == ()
    with pytest.raises(ArtifactsUnwritable, match="No space left on device"):
        store.pull(manifest.digest, small_disk / "here")
    assert contents_of(small_disk / "here").items() <= contents_of(source).items()


def test_a_place_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_artifacts(tmp_path / "file" / "store", SystemClock())
    assert store.digests() == frozenset()
    with pytest.raises(ArtifactsUnwritable, match="Not a directory"):
        store.push(written(tmp_path / "source", {"a": b"a"}))


def test_a_store_that_cannot_be_read_is_not_taken_for_an_empty_one(store: ArtifactStore, tmp_path: Path) -> None:
    store.push(written(tmp_path / "source", {"a": b"a"}))
    manifests = tmp_path / "store" / "manifests" / "sha256"
    manifests.rename(tmp_path / "away")
    manifests.symlink_to(manifests)  # reading it fails for root too
    for ask in (store.digests, lambda: store.sweep(grace_s=0)):
        with pytest.raises(ArtifactsUnreachable, match="symbolic links"):
            ask()
    manifests.unlink()
    (tmp_path / "away").rename(manifests)
    assert [store.verify(digest) for digest in store.digests()] == [()]


def test_names_that_are_not_utf_8_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"a": b"a"})
    (source / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(InvalidArtifact, match="UTF-8") as caught:
        store.push(source)
    caught.value.message.encode()


def test_a_link_to_the_folder_itself_is_followed(store: ArtifactStore, tmp_path: Path) -> None:
    source = written(tmp_path / "v1", {"a": b"a"})
    (tmp_path / "latest").symlink_to(source)
    assert store.push(tmp_path / "latest") == store.push(source)


_PUSH = """
import sys
from pathlib import Path
def peak_kib():  # not getrusage: that one begins with the peak of the process that started us
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
from penstock.stores.artifacts.folder import FolderShelf
from penstock.stores.artifacts.store import ShelvedArtifacts
store = ShelvedArtifacts(FolderShelf(Path(sys.argv[1])))
store.push(Path(sys.argv[2]) / "small")
before = peak_kib()
manifest = store.push(Path(sys.argv[2]))
store.push(Path(sys.argv[2]))
store.pull(manifest.digest, Path(sys.argv[3]))
print(peak_kib() - before)
"""


def test_memory_does_not_grow_with_the_size_of_a_file(tmp_path: Path) -> None:
    source = written(tmp_path / "source", {"small": b"s" * 3_000_000, "big": b""})
    os.truncate(source / "big", 256 << 20)
    grown = subprocess.run(
        [sys.executable, "-c", _PUSH, tmp_path / "store", source, tmp_path / "here"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 <= int(grown.stdout) < 64 * 1024


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "empty"),
        ("gs://bucket/x", "'gs' is none of file, s3 and memory"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://key:secret@bucket/x", "names no bucket"),
        ("file://host/x", "write a folder as file:///FOLDER"),
        ("file://x", "write a folder as file:///FOLDER"),
    ],
)
def test_what_is_no_place_is_refused(place: str, why: str) -> None:
    with pytest.raises(InvalidArtifactStore) as caught:
        open_artifacts(place, SystemClock())
    assert why in caught.value.message


def test_a_place_is_a_folder_or_its_url(tmp_path: Path) -> None:
    folder = tmp_path / "a store"
    digest = open_artifacts(str(folder), SystemClock()).push(written(tmp_path / "source", {"a": b"a"})).digest
    assert open_artifacts(folder.as_uri(), SystemClock()).digests() == {digest}
    assert open_artifacts("memory://", SystemClock()).digests() == frozenset()
