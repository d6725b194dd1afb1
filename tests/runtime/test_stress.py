"""Threads, tasks and streams under a storm of swaps: no request fails, none mixes versions, all memory comes back."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

from penstock.runtime import Parts, Pipeline
from tests.runtime.conftest import PATIENCE_S, Maker, fingerprint_of, gathered

N_SWAPS = 150
PARTS = ("acoustic", "vocoder")


class Storm:
    """A pipeline, clients that go on until the swaps are done, and what they saw."""

    def __init__(self) -> None:
        self.makers = {part: Maker(part) for part in PARTS}
        self.slots = {part: maker.slot() for part, maker in self.makers.items()}
        self.pipeline = Pipeline(self.slots)
        self.done = threading.Event()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.failures: list[BaseException] = []

    def check(self, parts: Parts, said: dict[str, str]) -> None:
        """Note an answer; the two parts are always swapped to the same version, so a mixture shows."""
        versions = {part: parts.versions[part] for part in PARTS}
        assert said == {part: fingerprint_of(part, version) for part, version in versions.items()}
        assert len(set(versions.values())) == 1, versions
        self.seen[versions["acoustic"], threading.current_thread().name.partition(" ")[0]] += 1

    def until_done(self, request: Callable[[], None]) -> None:
        try:
            while not self.done.is_set():
                request()
        except BaseException as error:  # noqa: BLE001 - the test says what it was
            self.failures.append(error)


def answers(parts: Parts, n: int) -> Iterator[dict[str, str]]:
    for _ in range(n):
        yield {part: model.say() for part, model in parts.items()}


def plain(storm: Storm) -> None:
    with storm.pipeline.lease() as parts:
        for said in answers(parts, 2):
            storm.check(parts, said)


def streamed(storm: Storm) -> None:
    lease = storm.pipeline.lease()
    with lease as parts:
        stream = lease.stream(answers(parts, 5))
    for said in stream:
        storm.check(parts, said)


def abandoned(storm: Storm) -> None:
    lease = storm.pipeline.lease()
    with lease as parts:
        stream = lease.stream(answers(parts, 5))
    storm.check(parts, next(stream))


def tasks(storm: Storm) -> None:
    asyncio.run(_tasks(storm))


async def _tasks(storm: Storm) -> None:
    async def slowly(parts: Parts) -> AsyncIterator[dict[str, str]]:
        for said in answers(parts, 3):
            yield said
            await asyncio.sleep(0)

    async def stream() -> None:
        lease = storm.pipeline.lease()
        async with lease as parts:
            chunks = lease.stream(slowly(parts))
        async for said in chunks:
            storm.check(parts, said)

    async def given_up() -> None:
        async with storm.pipeline.lease() as parts:
            async for said in slowly(parts):
                storm.check(parts, said)
                await asyncio.Event().wait()

    waiting = asyncio.create_task(given_up())
    await asyncio.gather(*(stream() for _ in range(4)))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


def test_no_request_fails_or_mixes_versions() -> None:
    storm = Storm()
    storm.pipeline.swap(dict.fromkeys(PARTS, "0"))
    kinds = (plain, plain, streamed, streamed, abandoned, abandoned, tasks, tasks)
    clients = [
        threading.Thread(target=storm.until_done, args=(lambda kind=kind: kind(storm),), name=f"{kind.__name__} client")
        for kind in kinds
    ]
    for client in clients:
        client.start()
    try:
        for n in range(1, N_SWAPS):
            _swap(storm, n)
    finally:
        storm.done.set()
        for client in clients:
            client.join(PATIENCE_S)
    assert storm.failures == []
    assert {kind for _, kind in storm.seen} == {kind.__name__ for kind in kinds}
    for maker in storm.makers.values():
        assert gathered(lambda maker=maker: sum(ref() is not None for ref in maker.alive) == 2)
        assert max(Counter(maker.unloads).values()) == 1
        assert len(maker.unloads) == len(maker.loads) - 2


def _swap(storm: Storm, n: int) -> None:
    """Swap both parts at once; every fifth time roll back instead, which returns to an earlier pair."""
    if n % 5 == 0:
        storm.pipeline.roll_back()
    storm.pipeline.swap(dict.fromkeys(PARTS, str(n)))
