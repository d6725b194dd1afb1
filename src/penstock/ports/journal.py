"""The one truth: an append-only, tamper-evident list of what happened."""

from typing import Protocol

from penstock.rollout.entry import Draft, Entry


class Journal(Protocol):
    """Laws:
    - An entry that `append` returned survives a power cut (it was flushed); one that raised is not there.
    - Entries are never changed or removed; `seq` has no gaps; each hash covers the one before.
    - `append` with an `expected_generation` that is not the service's newest raises StaleGeneration and writes nothing.
    - One writer at a time: `acquire` raises AlreadyRunning while another process holds the journal, and starts a new
      term; a writer of an older term gets FencedOff.
    - A full disk or a read-only file raises JournalUnwritable; the next append may succeed.
    """

    async def acquire(self, holder: str) -> int:
        """Become the writer and return the term, 1, 2, 3 ..."""
        ...

    async def append(self, draft: Draft, *, expected_generation: int) -> Entry:
        """Write one entry; `expected_generation` is the service's newest, 0 for a service without entries."""
        ...

    async def read(self, service: str | None = None, *, after_seq: int = 0) -> list[Entry]:
        """Return entries, oldest first."""
        ...

    async def verify(self) -> int:
        """Return how many entries there are; raise JournalDamaged where the chain breaks."""
        ...

    async def close(self) -> None:
        """Stop being the writer."""
        ...
