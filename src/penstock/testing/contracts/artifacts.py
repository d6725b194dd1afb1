"""The laws of ports/artifacts.py."""

import hashlib
import os
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from penstock.kernel.errors import (
    ArtifactChanged,
    ArtifactDamaged,
    ArtifactsUnreachable,
    ArtifactsUnwritable,
    ConflictError,
    InvalidArtifact,
    InvalidDigest,
    NameTaken,
    UnknownArtifact,
    UnknownName,
)
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import ArtifactStore, Swept
from penstock.registry.naming import Name

#: More than a part of an upload, and no multiple of any size of chunk.
_BIG_BYTES = 17 * 1024 * 1024 + 11
_FILES = {
    "config.json": b"{}",
    "empty": b"",
    "weights/model.safetensors": b"w" * 70_000,
    "weights/语音 (1).bin": b"v" * 10,
    "zz/copy.safetensors": b"w" * 70_000,
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def name_of(version: str, *, component: str = "vocoder") -> Name:
    return Name("tts", component, SemVer.parse(version))


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class ArtifactsContract:
    """Hooks: `open_store`, `damage`, `damage_name`, `lose`, `n_blobs`, `out_of_order`. Give the instance its place in an autouse fixture."""

    @abstractmethod
    def open_store(self) -> ArtifactStore:
        """Open this test's store; again, when called again."""

    @abstractmethod
    def damage(self, sha256: str) -> None:
        """Change a stored content, its size kept, behind the store's back."""

    @abstractmethod
    def damage_name(self, name: Name) -> None:
        """Cut off what is stored of a name, behind the store's back."""

    @abstractmethod
    def lose(self, sha256: str) -> None:
        """Remove a stored content behind the store's back."""

    @abstractmethod
    def n_blobs(self) -> int:
        """Return how many contents are stored, those that no artifact needs included."""

    @abstractmethod
    def out_of_order(self) -> AbstractContextManager[None]:
        """Let the medium refuse to be written, or not answer, meanwhile."""

    @pytest.fixture
    def store(self) -> ArtifactStore:
        return self.open_store()

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return written(tmp_path / "source", _FILES)

    def test_a_new_store_is_empty(self, store: ArtifactStore) -> None:
        assert store.digests() == frozenset()
        assert store.sweep() == Swept()
        digest = "sha256:" + "0" * 64
        assert not store.has(digest)
        assert not store.remove(digest)
        for ask in (store.manifest, store.verify, lambda digest: store.pull(digest, Path("never-made"))):
            with pytest.raises(UnknownArtifact):
                ask(digest)

    def test_what_is_no_digest_is_refused(self, store: ArtifactStore) -> None:
        for ask in (store.has, store.manifest, store.remove, store.verify):
            with pytest.raises(InvalidDigest):
                ask("sha256:../../etc/passwd")

    def test_what_was_pushed_is_pulled(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        manifest = store.push(source)
        assert {file.path: (file.sha256, file.size_bytes) for file in manifest.files} == {
            path: (sha256_of(content), len(content)) for path, content in _FILES.items()
        }
        again = self.open_store()
        assert again.digests() == {manifest.digest}
        assert again.has(manifest.digest)
        assert again.manifest(manifest.digest) == manifest
        assert again.verify(manifest.digest) == ()
        assert again.pull(manifest.digest, tmp_path / "here" / "new") == manifest
        assert contents_of(tmp_path / "here" / "new") == _FILES

    def test_one_file_is_an_artifact_of_that_name(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        manifest = store.push(source / "weights" / "model.safetensors")
        store.pull(manifest.digest, tmp_path / "here")
        assert contents_of(tmp_path / "here") == {"model.safetensors": _FILES["weights/model.safetensors"]}

    def test_big_files_come_back_in_order(self, store: ArtifactStore, tmp_path: Path) -> None:
        content = os.urandom(1 << 16) * (_BIG_BYTES >> 16) + os.urandom(_BIG_BYTES % (1 << 16))
        told: list[tuple[int, int]] = []
        source = written(tmp_path / "big", {"a": content, "b": content})
        manifest = store.push(source, on_progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (2 * _BIG_BYTES, 2 * _BIG_BYTES)
        assert told == sorted(told)
        assert len(told) > 10
        assert self.n_blobs() == 1
        told.clear()
        store.pull(manifest.digest, tmp_path / "here", on_progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (2 * _BIG_BYTES, 2 * _BIG_BYTES)
        assert told == sorted(told)
        assert (tmp_path / "here" / "b").read_bytes() == content

    def test_equal_contents_are_stored_once(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        store.push(source)
        assert self.n_blobs() == 4
        other = store.push(written(tmp_path / "other", {"model.safetensors": b"w" * 70_000, "new.txt": b"new"}))
        assert self.n_blobs() == 5
        assert store.push(source) in map(store.manifest, store.digests())
        assert len(store.digests()) == 2
        store.pull(other.digest, tmp_path / "here")
        assert contents_of(tmp_path / "here") == {"model.safetensors": b"w" * 70_000, "new.txt": b"new"}

    def test_pushing_the_same_at_the_same_time_is_no_mistake(self, source: Path) -> None:
        with ThreadPoolExecutor(4) as threads:
            manifests = set(threads.map(lambda _: self.open_store().push(source).digest, range(8)))
        (digest,) = manifests
        store = self.open_store()
        assert store.verify(digest) == ()
        assert self.n_blobs() == 4

    def test_a_removed_artifact_is_gone_and_what_others_need_stays(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        first = store.push(source)
        second = store.push(written(tmp_path / "other", {"model.safetensors": b"w" * 70_000}))
        assert store.remove(first.digest)
        assert not store.remove(first.digest)
        assert store.digests() == {second.digest}
        assert store.sweep() == Swept()  # all is younger than the grace time
        swept = store.sweep(grace_s=0)
        assert swept == Swept(3, len(b"{}") + 10)
        assert store.verify(second.digest) == ()
        assert self.n_blobs() == 1
        assert store.sweep(grace_s=0) == Swept()
        assert store.push(source) == first
        assert store.verify(first.digest) == ()

    def test_a_removal_with_a_grace_time_spares_what_is_young(self, store: ArtifactStore, source: Path) -> None:
        digest = store.push(source).digest
        assert not store.remove(digest, grace_s=3600)
        assert store.verify(digest) == ()
        assert store.remove(digest)
        assert not store.remove(digest, grace_s=3600)
        assert store.push(source).digest == digest
        assert store.verify(digest) == ()

    def test_a_push_that_found_contents_made_them_young(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        store.remove(store.push(source).digest)
        store.push(written(tmp_path / "other", {"a": b"v" * 10}))
        store.remove(store.push(tmp_path / "other").digest)
        assert store.sweep(grace_s=3600) == Swept()

    def test_damage_is_found_and_a_checked_push_mends_it(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        manifest = store.push(source)
        self.damage(sha256_of(b"w" * 70_000))
        self.lose(sha256_of(b"{}"))
        assert store.verify(manifest.digest) == ("config.json", "weights/model.safetensors", "zz/copy.safetensors")
        with pytest.raises(ArtifactDamaged):
            list(store.read(sha256_of(b"w" * 70_000)))
        with pytest.raises(ArtifactDamaged, match="missing"):
            store.pull(manifest.digest, tmp_path / "here")
        store.push(source, check=True)
        assert store.verify(manifest.digest) == ()
        store.pull(manifest.digest, tmp_path / "here")
        assert contents_of(tmp_path / "here") == _FILES

    def test_a_damaged_file_is_not_left_in_the_folder(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        manifest = store.push(source)
        self.damage(sha256_of(b"w" * 70_000))
        with pytest.raises(ArtifactDamaged):
            store.pull(manifest.digest, tmp_path / "here")
        assert contents_of(tmp_path / "here") == {"config.json": b"{}", "empty": b""}

    def test_a_pull_is_finished_by_pulling_again(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        manifest = store.push(source)
        here = written(
            tmp_path / "here", {"config.json": b"{}", "empty": b"not empty", "zz/copy.safetensors": b"W" * 70_000}
        )
        before = (here / "config.json").stat()
        store.pull(manifest.digest, here)
        assert contents_of(here) == _FILES
        assert (here / "config.json").stat().st_ino == before.st_ino

    def test_a_pull_leaves_a_folder_with_other_files_alone(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        manifest = store.push(source)
        here = written(tmp_path / "here", {"of/another": b"version"})
        with pytest.raises(ConflictError, match="holds of/another"):
            store.pull(manifest.digest, here)
        assert contents_of(here) == {"of/another": b"version"}

    def test_a_pull_does_not_follow_a_link_out_of_its_folder(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        manifest = store.push(source)
        elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
        elsewhere.mkdir()
        here.mkdir()
        (here / "weights").symlink_to(elsewhere)
        with pytest.raises(InvalidArtifact, match="leads out of it"):
            store.pull(manifest.digest, here)
        assert contents_of(elsewhere) == {}

    def test_a_name_means_the_same_artifact_for_ever(self, store: ArtifactStore, source: Path, tmp_path: Path) -> None:
        digest = store.push(source).digest
        other = store.push(written(tmp_path / "other", {"a": b"a"})).digest
        for _ in range(2):
            store.publish(name_of("1.3.0-rc.1+cu12"), digest)
        store = self.open_store()
        assert store.named(name_of("1.3.0-rc.1")) == digest  # build metadata does not count
        with pytest.raises(NameTaken, match=f"tts/vocoder@1.3.0-rc.1 .*{digest}, not {other}"):
            store.publish(name_of("1.3.0-rc.1"), other)
        store.remove(digest)
        store.sweep(grace_s=0)
        assert store.named(name_of("1.3.0-rc.1")) == digest
        with pytest.raises(NameTaken):
            store.publish(name_of("1.3.0-rc.1"), other)
        assert store.digests() == {other}

    def test_a_name_is_unknown_until_it_is_published(self, store: ArtifactStore, source: Path) -> None:
        assert store.names() == frozenset()
        with pytest.raises(UnknownName, match=r"tts/vocoder@1\.0\.0: it has nothing of tts/vocoder\."):
            store.named(name_of("1.0.0"))
        with pytest.raises(UnknownArtifact):
            store.publish(name_of("1.0.0"), "sha256:" + "0" * 64)
        with pytest.raises(InvalidDigest):
            store.publish(name_of("1.0.0"), "sha256:../../etc/passwd")
        digest = store.push(source).digest
        versions = ("1.10.0", "1.9.0", "1.2.0-rc.1", "1.1.0", "1.0.0", "0.9.0", "0.8.0")
        names = {*map(name_of, versions), name_of("3.0.0", component="vocoder2")}
        for name in names:
            store.publish(name, digest)
        assert store.names() == names
        with pytest.raises(UnknownName, match=r"it has 1\.10\.0, 1\.9\.0, 1\.2\.0-rc\.1, 1\.1\.0, 1\.0\.0 and 2 more"):
            store.named(name_of("2.0.0"))

    def test_of_several_who_publish_one_name_at_once_one_wins(self, store: ArtifactStore, tmp_path: Path) -> None:
        digests = [store.push(written(tmp_path / str(n), {"a": b"%d" % n})).digest for n in range(4)]

        def publish(digest: str) -> bool:
            try:
                self.open_store().publish(name_of("1.0.0"), digest)
            except NameTaken:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            won = [digest for digest, is_mine in zip(digests, threads.map(publish, digests), strict=True) if is_mine]
        assert won == [store.named(name_of("1.0.0"))]

    def test_a_damaged_name_is_found_and_mended_by_who_has_the_digest(self, store: ArtifactStore, source: Path) -> None:
        digest = store.push(source).digest
        store.publish(name_of("1.0.0"), digest)
        self.damage_name(name_of("1.0.0"))
        with pytest.raises(ArtifactDamaged, match=r"the name tts/vocoder@1\.0\.0 in .* is damaged: it cannot"):
            store.named(name_of("1.0.0"))
        store.publish(name_of("1.0.0"), digest)
        assert store.named(name_of("1.0.0")) == digest

    def test_what_cannot_be_an_artifact_is_refused_by_name(self, store: ArtifactStore, tmp_path: Path) -> None:
        source = written(tmp_path / "source", {"a": b"a"})
        (source / "link").symlink_to("/etc/passwd")
        with pytest.raises(InvalidArtifact, match="link cannot be stored as an artifact: it is a symbolic link"):
            store.push(source)
        (source / "link").unlink()
        os.mkfifo(source / "pipe")
        with pytest.raises(InvalidArtifact, match="pipe cannot be stored as an artifact: it is a pipe"):
            store.push(source)
        (source / "pipe").unlink()
        (source / "bad\nname").write_bytes(b"")
        with pytest.raises(InvalidArtifact, match="control character"):
            store.push(source)
        for nothing in (tmp_path / "nothing", tmp_path / "not" / "there"):
            with pytest.raises(InvalidArtifact, match="no such file"):
                store.push(nothing)
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidArtifact, match="no file"):
            store.push(tmp_path / "empty")
        assert store.digests() == frozenset()

    def test_a_file_that_changes_meanwhile_is_not_published(self, store: ArtifactStore, tmp_path: Path) -> None:
        source = written(tmp_path / "source", {"a": b"a" * _BIG_BYTES})

        def write_to_it(_done: int, _total: int) -> None:
            with (source / "a").open("r+b") as file:
                file.seek(_BIG_BYTES - 1)
                file.write(b"b")

        with pytest.raises(ArtifactChanged):
            store.push(source, on_progress=write_to_it)
        assert store.digests() == frozenset()
        assert self.n_blobs() == 0

    def test_a_push_that_is_broken_off_publishes_nothing_and_is_finished_later(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        source = written(tmp_path / "source", {"a": b"a", "b": b"b" * _BIG_BYTES, "c": b"c"})

        def break_off(done: int, total: int) -> None:
            if done > total // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.push(source, on_progress=break_off)
        assert store.digests() == frozenset()
        assert self.n_blobs() == 1
        manifest = store.push(source)
        assert store.verify(manifest.digest) == ()

    def test_a_medium_that_refuses_says_so_and_loses_nothing(
        self, store: ArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        kept = store.push(source)
        other = written(tmp_path / "other", {"a": b"a" * 10_000})
        with self.out_of_order(), pytest.raises((ArtifactsUnreachable, ArtifactsUnwritable)) as caught:
            self.open_store().push(other)
        assert "\n" not in caught.value.message
        store = self.open_store()
        assert store.digests() == {kept.digest}
        assert store.verify(kept.digest) == ()
        assert store.verify(store.push(other).digest) == ()
