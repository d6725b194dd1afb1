"""The laws of a store of artifacts, in a folder, in a bucket of a real S3 server, and in memory."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx2
import obstore
import pytest
from obstore.store import MemoryStore, S3Store

from penstock.ports.artifacts import ArtifactStore
from penstock.registry.manifest import hex_of
from penstock.registry.naming import Name
from penstock.stores.artifacts.bucket import BucketShelf
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.artifacts.store import ShelvedArtifacts, blob_key
from penstock.stores.clock import SystemClock
from penstock.testing.contracts import ArtifactsContract
from penstock.testing.fakes import ManualClock

if TYPE_CHECKING:
    from obstore.store import ObjectStore


@contextmanager
def no_file_larger_than(n_bytes: int) -> Iterator[None]:
    """Refuse writes as a full disk does, of this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFolder(ArtifactsContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.root = tmp_path / "store"

    def open_store(self) -> ArtifactStore:
        return open_artifacts(self.root.as_uri(), SystemClock())

    def damage(self, sha256: str) -> None:
        path = self.root / blob_key(sha256)
        path.chmod(0o644)
        path.write_bytes(b"\0" * path.stat().st_size)

    def damage_name(self, name: Name) -> None:
        path = self.root / "names" / name.path
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1])

    def lose(self, sha256: str) -> None:
        (self.root / blob_key(sha256)).unlink()

    def n_blobs(self) -> int:
        return sum(path.is_file() for path in (self.root / "blobs").rglob("*"))

    def out_of_order(self) -> AbstractContextManager[None]:
        return no_file_larger_than(5_000)

    @pytest.fixture(autouse=True)
    def leaves_no_litter(self, place: None) -> Iterator[None]:
        yield
        assert list((self.root / "aside").glob("*")) == []


class _OverObstore(ArtifactsContract):
    objects: "ObjectStore"

    def damage(self, sha256: str) -> None:
        size = obstore.head(self.objects, blob_key(sha256))["size"]
        obstore.put(self.objects, blob_key(sha256), b"\0" * size)

    def damage_name(self, name: Name) -> None:
        key = f"names/{name.path}"
        obstore.put(self.objects, key, bytes(obstore.get(self.objects, key).bytes())[:-1])

    def lose(self, sha256: str) -> None:
        obstore.delete(self.objects, blob_key(sha256))

    def n_blobs(self) -> int:
        return len(obstore.list(self.objects, "blobs").collect())


class TestBucket(_OverObstore):
    @pytest.fixture(autouse=True)
    def place(self, new_bucket: Callable[[], str], s3_url: str) -> None:
        self.bucket = new_bucket()
        self.s3_url = s3_url
        self.objects = S3Store(self.bucket, prefix="some/where", client_options={"allow_http": True})

    def open_store(self) -> ArtifactStore:
        return open_artifacts(f"s3://{self.bucket}/some/where/", SystemClock())

    @contextmanager
    def out_of_order(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            yield

    def test_nothing_is_tried_again_once_a_silent_bucket_has_cost_one_request(self) -> None:
        store = cast("ShelvedArtifacts", self.open_store())
        retries = cast("BucketShelf", store._shelf)._store.retry_config  # type: ignore[union-attr]  # it is S3's
        assert retries is not None
        assert retries["retry_timeout"] < timedelta(seconds=30)  # obstore's own limit of one request

    def test_a_push_makes_the_artifact_that_it_found_young_again(self, source: Path) -> None:
        digest = self.open_store().push(source).digest
        key = f"manifests/sha256/{hex_of(digest)}"
        an_hour = ManualClock(SystemClock().now() + timedelta(hours=1))
        later = open_artifacts(f"s3://{self.bucket}/some/where/", an_hour)
        assert not later.remove(digest, grace_s=7200)
        self.open_store().push(source)
        written, found = (obstore.head(self.objects, k)["last_modified"] for k in (key, f"touched/{key}"))
        assert found >= written
        assert later.remove(digest, grace_s=1800)
        assert obstore.list(self.objects, f"touched/{key}").collect() == []

    @pytest.fixture(autouse=True)
    def leaves_no_upload_open(self, place: None) -> Iterator[None]:
        yield
        assert "<UploadId>" not in httpx2.get(f"{self.s3_url}/{self.bucket}?uploads", timeout=60.0).text


class TestMemory(_OverObstore):
    @pytest.fixture(autouse=True)
    def place(self) -> None:
        self.objects = MemoryStore()

    def open_store(self) -> ArtifactStore:
        return ShelvedArtifacts(BucketShelf(self.objects, "memory://", SystemClock()))

    @contextmanager
    def out_of_order(self) -> Iterator[None]:
        """Put a bucket that does not answer in its place: memory itself never refuses."""
        kept, self.objects = (
            self.objects,
            S3Store("b", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}),
        )
        yield
        self.objects = kept
