"""What a store of artifacts asks of the medium below it: objects by key, written whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol


class Shelf(Protocol):
    """Laws: an object is seen whole or not at all, whenever its writer dies; a write that returned survives a power cut.

    Keys are parts of letters, digits, dashes, underscores and dots, divided by `/`. What is not there raises FileNotFoundError; a
    medium that refuses, ArtifactsUnwritable or ArtifactsUnreachable. What the chunks of a write raise goes through
    unchanged, and nothing is written.
    """

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether `put` can ask for the key late, because what it writes aside costs nothing to send."""
        ...

    def put(self, key: Callable[[], str], chunks: Iterable[bytes], *, size_bytes: int) -> None:
        """Write an object, replacing what is there; a near shelf asks for its key once all chunks are written."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; return whether it was written."""
        ...

    def read(self, key: str) -> Iterator[bytes]: ...

    def size(self, key: str) -> int | None:
        """Return the size in bytes, or None where there is no such object."""
        ...

    def touch(self, key: str) -> int | None:
        """Make an object young again; return its size in bytes, or None where there is no such object."""
        ...

    def items(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the key and the size in bytes of what lies below a prefix that ends with `/`."""
        ...

    def delete(self, key: str) -> bool:
        """Remove an object; return whether it was there."""
        ...

    def delete_old(self, key: str, *, grace_s: float) -> bool:
        """Remove an object unless it was written or touched within `grace_s` seconds; return whether it was removed."""
        ...

    def tidy(self) -> None:
        """Clear away what writers that died left behind."""
        ...
