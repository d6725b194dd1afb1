"""Which store of artifacts a URL means."""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.kernel.errors import InvalidArtifactStore
from penstock.ports.artifacts import ArtifactStore
from penstock.ports.clock import Clock
from penstock.stores.artifacts.folder import FolderShelf
from penstock.stores.artifacts.store import ShelvedArtifacts

#: No request is tried again later than this. Source: less than obstore's 30 s for one request, so that a bucket that keeps
#: silent is said after one of them; measured 30.0 s, and 181 s with obstore's own 180 s.
_RETRYING = timedelta(seconds=25)


def open_artifacts(place: str | Path, clock: Clock) -> ArtifactStore:
    """Return the store at a folder, `file:///FOLDER`, `s3://BUCKET[/PREFIX]` or, for tests, `memory://`.

    S3 takes credentials, region and end point from the usual AWS_ variables. Nothing is read or made yet.
    Raises InvalidArtifactStore for anything else.
    """
    if isinstance(place, Path) or "://" not in place:
        return _in_folder(place)
    parts = urlsplit(place)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise InvalidArtifactStore(url=place, why="write a folder as file:///FOLDER")
        return _in_folder(unquote(parts.path))
    if parts.scheme == "s3":
        return _in_bucket(place, parts.netloc, parts.path.strip("/"), clock)
    if parts.scheme == "memory":
        return in_memory(clock)
    raise InvalidArtifactStore(url=place, why=f"{parts.scheme!r} is none of file, s3 and memory")


def _in_folder(folder: str | Path) -> ArtifactStore:
    if not str(folder):
        raise InvalidArtifactStore(url="", why="it is empty")
    return ShelvedArtifacts(FolderShelf(Path(folder)))


# obstore is imported where a bucket is opened: a local store needs none of its 16 MB.


def _in_bucket(url: str, bucket: str, prefix: str, clock: Clock) -> ArtifactStore:
    from obstore.store import S3Store  # noqa: PLC0415

    from penstock.stores.artifacts.bucket import BucketShelf  # noqa: PLC0415

    if not bucket or "@" in bucket or ":" in bucket:
        raise InvalidArtifactStore(url=url, why="it names no bucket")
    is_plain = any(os.environ.get(name, "").startswith("http://") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    store = S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": is_plain},
        retry_config={"retry_timeout": _RETRYING},
    )
    return ShelvedArtifacts(BucketShelf(store, url, clock))


def in_memory(clock: Clock) -> ArtifactStore:
    """Return an empty store in this process's memory: it ends with it."""
    from obstore.store import MemoryStore  # noqa: PLC0415

    from penstock.stores.artifacts.bucket import BucketShelf  # noqa: PLC0415

    return ShelvedArtifacts(BucketShelf(MemoryStore(), "memory://", clock))
