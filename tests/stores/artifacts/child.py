"""What a child process does with artifacts: `python child.py WHAT ARGUMENTS`, a JSON object. Its exit status is the answer."""

import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.kernel.errors import CacheTooSmall, PenstockError
from penstock.ports.artifacts import Progress
from penstock.stores.artifacts.cache import NodeCache
from penstock.stores.artifacts.places import open_artifacts


class WallClock:
    """The composition root's, without all else that it imports."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def killing(at_bytes: int) -> Progress:
    """Return a progress that kills this process once so much is done; never, below zero."""

    def tell(done: int, _total: int) -> None:
        if 0 <= at_bytes <= done:
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


def push(place: str, source: str, kill_at_bytes: int = -1) -> None:
    say("ready")
    say(open_artifacts(place, WallClock()).push(Path(source), on_progress=killing(kill_at_bytes)).digest)


def lease(place: str, cache: str, digest: str, limit_bytes: int, kill_at_bytes: int = -1) -> None:
    say("ready")
    store = open_artifacts(place, WallClock())
    with NodeCache(Path(cache), store, limit_bytes=limit_bytes).lease(digest, on_progress=killing(kill_at_bytes)):
        pass


def hold(place: str, cache: str, digest: str, limit_bytes: int) -> None:
    """Keep an artifact until standard input ends."""
    folder = NodeCache(Path(cache), open_artifacts(place, WallClock()), limit_bytes=limit_bytes).path_of(digest)
    say(str(folder))
    sys.stdin.read()


def churn(place: str, cache: str, limit_bytes: int, seed: int, rounds: int) -> None:
    """Lease artifacts in a random order; each must be whole while it is held, and the cache never above its limit."""
    store = open_artifacts(place, WallClock())
    node = NodeCache(Path(cache), store, limit_bytes=limit_bytes)
    order = random.Random(seed)
    digests = sorted(store.digests())
    n_refused = 0
    for _ in range(rounds):
        try:
            with node.lease(order.choice(digests)) as leased:
                found = {file.path: (leased.path / file.path).stat().st_size for file in leased.manifest.files}
                assert found == {file.path: file.size_bytes for file in leased.manifest.files}
                assert node.used_bytes() <= limit_bytes
        except CacheTooSmall:  # the others hold the rest just now
            n_refused += 1
    say(str(n_refused))


if __name__ == "__main__":
    what, arguments = sys.argv[1], json.loads(sys.argv[2])
    verbs: dict[str, Any] = {"push": push, "lease": lease, "hold": hold, "churn": churn}
    try:
        verbs[what](**arguments)
    except PenstockError as error:
        say(error.message)
        sys.exit(3)
