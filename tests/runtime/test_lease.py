"""Leases: whoever holds one keeps its version, whatever is swapped meanwhile, and returns it in every way there is."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.kernel.errors import LeaseSpent
from penstock.runtime import Slot, SlotLease
from penstock.runtime.lease import Pointer
from tests.runtime.conftest import PATIENCE_S, Maker, Model, fingerprint_of

OLD = fingerprint_of("vocoder", "1")


@pytest.fixture
def slot(maker: Maker) -> Slot[Model]:
    """Return a slot that serves 1 and unloads it as soon as it can."""
    slot = maker.slot(keep=0)
    slot.swap("1")
    return slot


def test_a_lease_pins_its_version_through_swaps(slot: Slot[Model], maker: Maker) -> None:
    lease = slot.lease()
    with lease as model:
        slot.swap("2")
        slot.swap("3")
        assert (lease.version, model.version, model.say()) == ("1", "1", OLD)
        assert (slot.draining, maker.unloads) == (("1",), ["2"])
    maker.wait_unloaded("2", "1")
    assert lease.version == "1"
    assert slot.draining == ()


class LatePointer:
    """Says what served, while a swap overtakes whoever asked: the narrowest race there is, every time."""

    def __init__(self, pointer: Pointer, overtake: Iterator[object]) -> None:
        self.pointer = pointer
        self.overtake = overtake

    @property
    def current(self) -> object:
        read = self.pointer.current
        next(self.overtake, None)
        return read


def test_a_lease_that_is_overtaken_by_swaps_looks_again(slot: Slot[Model], maker: Maker) -> None:
    # It reads what serves once to mark it and once to look again: 2 comes between, 3 and 4 on the next attempts.
    swaps = (version and slot.swap(version) for version in ("2", None, "3", None, "4", None))
    slot.seat.pointer = LatePointer(slot.seat.stage.pointer, swaps)  # type: ignore[assignment]
    with slot.lease() as model:
        assert model.say() == fingerprint_of("vocoder", "4")
        assert maker.unloads == ["1", "2", "3"]
    slot.swap("5")
    assert maker.unloads == ["1", "2", "3", "4"]


def test_a_version_waits_for_all_its_leases(slot: Slot[Model], maker: Maker) -> None:
    with slot.lease():
        with slot.lease() as model:
            slot.swap("2")
        assert model.say() == OLD
        assert maker.unloads == []
    maker.wait_unloaded("1")


def test_no_request_ever_runs_unload(maker: Maker) -> None:
    by: dict[str, str] = {}
    both = threading.Event()

    def unload(model: Model) -> None:
        by[model.version] = threading.current_thread().name
        if len(by) == 2:
            both.set()

    slot = maker.slot(unload=unload, keep=0)
    slot.swap("1")
    slot.swap("2")  # 1 had no lease out: whoever swaps unloads it
    with slot.lease():
        slot.swap("3")
    assert both.wait(PATIENCE_S)
    assert by == {"1": threading.current_thread().name, "2": "penstock-drain-vocoder"}


def test_a_lease_is_returned_when_the_request_fails(slot: Slot[Model], maker: Maker) -> None:
    def request() -> None:
        with slot.lease():
            slot.swap("2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        request()
    maker.wait_unloaded("1")


def test_a_lease_pins_from_the_moment_it_is_taken(slot: Slot[Model], maker: Maker) -> None:
    lease = slot.lease()
    slot.swap("2")
    with lease as model:
        assert model.say() == OLD
    maker.wait_unloaded("1")


def _dropped(slot: Slot[Model]) -> None:
    slot.lease()


def _given_back(slot: Slot[Model]) -> None:
    lease = slot.lease()
    lease.give_back()
    lease.give_back()


def _in_a_cycle(slot: Slot[Model]) -> None:
    cycle: list[object] = [slot.lease()]
    cycle.append(cycle)
    del cycle
    gc.collect()


@pytest.mark.parametrize("use", [_dropped, _given_back, _in_a_cycle])
def test_a_lease_that_is_never_entered_holds_nothing_up(
    slot: Slot[Model], maker: Maker, use: Callable[[Slot[Model]], None]
) -> None:
    use(slot)
    slot.swap("2")
    assert maker.unloads == ["1"]


def test_a_lease_is_entered_once(slot: Slot[Model]) -> None:
    lease = slot.lease()
    with lease, pytest.raises(LeaseSpent, match="it was entered before"), lease:
        pass
    with pytest.raises(LeaseSpent), lease:
        pass
    with pytest.raises(LeaseSpent, match="it was returned before"):
        lease.stream([])


async def test_a_lease_in_a_task_pins_through_awaits(slot: Slot[Model], maker: Maker) -> None:
    swapped = asyncio.Event()

    async def request() -> tuple[str, str, str]:
        async with slot.lease() as model:
            began = model.say()
            await swapped.wait()
            return model.version, began, model.say()

    requests = [asyncio.create_task(request()) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.to_thread(slot.swap, "2")
    swapped.set()
    assert await asyncio.gather(*requests) == [("1", OLD, OLD)] * 5
    await asyncio.to_thread(maker.wait_unloaded, "1")


async def test_a_cancelled_request_returns_its_lease(slot: Slot[Model], maker: Maker) -> None:
    async def request() -> None:
        async with slot.lease():
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    slot.swap("2")
    assert maker.unloads == []
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.to_thread(maker.wait_unloaded, "1")


# Streams


def _inside(slot: Slot[Model]) -> Iterator[str]:
    """Stream within `with`: the generator's frame holds the lease."""
    with slot.lease() as model:
        yield from model.stream(3)


def _carried(slot: Slot[Model]) -> Iterator[str]:
    """Hand a stream out of `with`, as a web framework's handler does."""
    lease: SlotLease[Model] = slot.lease()
    with lease as model:
        return lease.stream(model.stream(3))


BOTH = pytest.mark.parametrize("stream_of", [_inside, _carried])


@BOTH
def test_a_stream_keeps_its_version_to_its_last_chunk(
    slot: Slot[Model], maker: Maker, stream_of: Callable[[Slot[Model]], Iterator[str]]
) -> None:
    stream = stream_of(slot)
    chunks = [next(stream)]
    slot.swap("2")
    slot.swap("3")
    chunks += [next(stream), next(stream)]
    assert chunks == [OLD] * 3
    assert maker.unloads == ["2"]
    assert list(stream) == []
    maker.wait_unloaded("2", "1")


@BOTH
@pytest.mark.parametrize("how", ["close", "drop", "throw"])
def test_a_stream_that_ends_early_returns_its_lease(
    slot: Slot[Model], maker: Maker, stream_of: Callable[[Slot[Model]], Iterator[str]], how: str
) -> None:
    stream = stream_of(slot)
    next(stream)
    slot.swap("2")
    assert maker.unloads == []
    if how == "close":
        stream.close()  # type: ignore[attr-defined]
    elif how == "throw":
        with pytest.raises(ConnectionResetError):
            stream.throw(ConnectionResetError())  # type: ignore[attr-defined]
    del stream
    maker.wait_unloaded("1")


def test_a_stream_that_never_began_returns_its_lease(slot: Slot[Model], maker: Maker) -> None:
    stream = _carried(slot)
    slot.swap("2")
    assert maker.unloads == []
    del stream
    maker.wait_unloaded("1")


def test_what_is_streamed_is_closed_before_the_lease_is_returned(slot: Slot[Model], maker: Maker) -> None:
    said: list[str] = []

    def chunks(model: Model) -> Iterator[str]:
        try:
            yield model.say()
        finally:
            said.append(model.say())  # a clean-up that still needs the weights

    lease = slot.lease()
    with lease as model:
        stream = lease.stream(chunks(model))
    next(stream)
    slot.swap("2")
    del stream
    maker.wait_unloaded("1")
    assert said == [OLD]


async def _chunks(model: Model, said: list[str]) -> AsyncIterator[str]:
    try:
        for _ in range(3):
            await asyncio.sleep(0)
            yield model.say()
    finally:
        said.append(model.say())


async def _carried_async(slot: Slot[Model], said: list[str]) -> AsyncIterator[str]:
    lease = slot.lease()
    async with lease as model:
        return lease.stream(_chunks(model, said))


async def test_an_async_stream_keeps_its_version_to_its_last_chunk(slot: Slot[Model], maker: Maker) -> None:
    stream = await _carried_async(slot, [])
    chunks = [await anext(stream)]
    slot.swap("2")
    chunks += [chunk async for chunk in stream]
    assert chunks == [OLD] * 3
    await asyncio.to_thread(maker.wait_unloaded, "1")


async def test_a_cancelled_async_stream_returns_its_lease(slot: Slot[Model], maker: Maker) -> None:
    said: list[str] = []
    began = asyncio.Event()

    async def client() -> None:
        async for _ in await _carried_async(slot, said):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(client())
    await began.wait()
    slot.swap("2")
    assert maker.unloads == []
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    del task
    await asyncio.to_thread(maker.wait_unloaded, "1")
    assert said == [OLD]


async def test_a_dropped_async_stream_returns_its_lease(slot: Slot[Model], maker: Maker) -> None:
    said: list[str] = []
    stream = await _carried_async(slot, said)
    await anext(stream)
    slot.swap("2")
    del stream
    await asyncio.to_thread(maker.wait_unloaded, "1")
    assert said == [OLD]


async def test_an_async_stream_of_something_plain(slot: Slot[Model], maker: Maker) -> None:
    class Plain:
        def __aiter__(self) -> AsyncIterator[int]:
            return self._numbers()

        async def _numbers(self) -> AsyncIterator[int]:
            yield 1

    lease = slot.lease()
    async with lease:
        stream = lease.stream(Plain())
    assert [number async for number in stream] == [1]


def test_a_stream_may_be_read_by_another_thread_each_time(slot: Slot[Model], maker: Maker) -> None:
    stream = _carried(slot)
    chunks = []
    for version in ("2", "3", "4"):
        with ThreadPoolExecutor(1) as pool:
            chunks.append(pool.submit(next, stream).result(PATIENCE_S))
        slot.swap(version)
    assert chunks == [OLD] * 3
    del stream
    maker.wait_unloaded("2", "3", "1")
