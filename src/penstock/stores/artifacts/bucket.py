"""A shelf in whatever obstore reaches: a bucket that speaks S3, or this process's memory."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from penstock.kernel.errors import ArtifactsUnreachable
from penstock.ports.clock import Clock
from penstock.stores.artifacts.source import CHUNK_BYTES

if TYPE_CHECKING:  # there at the time of type checking only
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

#: Objects up to this size are sent in one request, larger ones in parts of at least this size.
_PART_BYTES = 8 << 20
#: Source: the limit of S3 is 10,000 parts to an object; a margin is left.
_MAX_PARTS = 9_000
#: Parts that are sent at the same time; with _PART_BYTES this bounds the memory.
_N_SENDING = 4
#: Objects below here are empty; they say when the object of that key was relied on again: a bucket cannot touch one.
_TOUCHED = "touched/"


class BucketShelf:
    """Objects in a bucket. An upload that was cut short is not seen; a rule of the bucket's owner clears it away."""

    is_near = False

    def __init__(self, store: "ObjectStore", name: str, clock: Clock) -> None:
        """Speak to nobody yet."""
        self._store = store
        self._clock = clock
        self.name = name

    def put(self, key: Callable[[], str], chunks: Iterable[bytes], *, size_bytes: int) -> None:
        part_bytes = max(_PART_BYTES, size_bytes // _MAX_PARTS)
        content = b"".join(chunks) if size_bytes <= _PART_BYTES else iter(chunks)
        with self._reaching():
            obstore.put(self._store, key(), content, chunk_size=part_bytes, max_concurrency=_N_SENDING)

    def create(self, key: str, content: bytes) -> bool:
        with self._reaching():
            try:
                obstore.put(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

    def read(self, key: str) -> Iterator[bytes]:
        with self._reaching():
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def size(self, key: str) -> int | None:
        found = self._head(key)
        return None if found is None else found["size"]

    def touch(self, key: str) -> int | None:
        found = self._head(key)
        if found is not None:
            with self._reaching():
                obstore.put(self._store, _TOUCHED + key, b"")
        return None if found is None else found["size"]

    def items(self, prefix: str) -> Iterator[tuple[str, int]]:
        with self._reaching():
            for batch in obstore.list(self._store, prefix.rstrip("/")):
                yield from ((found["path"], found["size"]) for found in batch)

    def delete(self, key: str) -> bool:
        was_there = self._head(key) is not None
        with self._reaching():
            obstore.delete(self._store, [key, _TOUCHED + key])
        return was_there

    def delete_old(self, key: str, *, grace_s: float) -> bool:
        found = [head["last_modified"] for head in (self._head(key), self._head(_TOUCHED + key)) if head is not None]
        # The bucket refuses who is off by more than 15 minutes, so the two clocks agree well enough for a grace time.
        if found and (self._clock.now() - max(found)).total_seconds() < grace_s:
            return False
        return self.delete(key)

    def tidy(self) -> None:
        """Leave it to the bucket's rule: parts of an upload under way cannot be told from those of a dead one."""

    def _head(self, key: str) -> "ObjectMeta | None":
        with self._reaching():
            try:
                return obstore.head(self._store, key)
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise ArtifactsUnreachable(store=self.name, why=_first_line(error)) from error


def _first_line(error: BaseError) -> str:
    """Return what a person can use: obstore's messages go on with a dump of its own structures."""
    return str(error).partition("\n")[0].strip().rstrip(".")
