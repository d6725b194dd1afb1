"""Drain-swap: two versions do not fit beside each other, so leases wait or are refused while one replaces the other."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.kernel.errors import LeaseSpent, NothingWarm, SlotEmpty, SlotSwapping, SwapRefused
from penstock.runtime import Pipeline, Slot
from tests.runtime.conftest import PATIENCE_S, Maker, Model, SlowMaker, gathered


@pytest.fixture
def maker() -> SlowMaker:
    return SlowMaker()


@pytest.fixture
def slot(maker: SlowMaker) -> Slot[Model]:
    slot = maker.slot()
    slot.swap("0")
    slot.swap("1")
    maker.loading.clear()
    return slot


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_all_is_unloaded_before_the_load(slot: Slot[Model], maker: SlowMaker, pool: ThreadPoolExecutor) -> None:
    swap = maker.held_up(pool, slot.swap, "2", drain_first=True)
    assert (maker.unloads, slot.version, slot.warm) == (["1", "0"], None, ())
    with pytest.raises(SlotSwapping, match="takes no requests for now"):
        slot.lease()
    maker.may_load.set()
    report = swap.result(PATIENCE_S)
    assert (report.version, report.previous, report.reused) == ("2", "1", False)
    assert report.seconds_closed >= report.seconds_loading > 0
    assert slot.version == "2"
    with pytest.raises(NothingWarm):
        slot.roll_back()


def test_leases_that_are_out_are_waited_for(slot: Slot[Model], maker: SlowMaker, pool: ThreadPoolExecutor) -> None:
    with slot.lease() as model:
        swap = pool.submit(slot.swap, "2", drain_first=True)
        assert gathered(lambda: slot.version is None)
        assert slot.draining == ("1",)
        assert not maker.loading.is_set()
        model.say()
    assert swap.result(PATIENCE_S).version == "2"


def test_a_lease_may_wait_for_the_swap(slot: Slot[Model], maker: SlowMaker, pool: ThreadPoolExecutor) -> None:
    swap = maker.held_up(pool, slot.swap, "2", drain_first=True)

    def request() -> str:
        with slot.lease(wait_s=PATIENCE_S) as model:
            return model.version

    requests = [pool.submit(request) for _ in range(4)]
    maker.may_load.set()
    assert [each.result(PATIENCE_S) for each in requests] == ["2"] * 4
    assert swap.result().version == "2"


async def test_tasks_may_wait_for_the_swap_too(slot: Slot[Model], maker: SlowMaker, pool: ThreadPoolExecutor) -> None:
    swap = maker.held_up(pool, slot.swap, "2", drain_first=True)

    async def request() -> str:
        async with slot.lease(wait_s=PATIENCE_S) as model:
            return model.version

    requests = [asyncio.create_task(request()) for _ in range(5)]
    await asyncio.sleep(0)
    requests[0].cancel()  # one that gives up must not take the others with it
    await asyncio.sleep(0)
    maker.may_load.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["2"] * 4
    assert swap.result().version == "2"


async def test_patience_ends(slot: Slot[Model], maker: SlowMaker, pool: ThreadPoolExecutor) -> None:
    swap = maker.held_up(pool, slot.swap, "2", drain_first=True)
    waiting = slot.lease(wait_s=0.01)
    with pytest.raises(LeaseSpent, match="it still waits for the swap"):
        _ = waiting.version
    with pytest.raises(SlotSwapping), waiting:
        pass
    with pytest.raises(SlotSwapping):
        async with slot.lease(wait_s=0.01):
            pass
    maker.may_load.set()
    assert swap.result(PATIENCE_S).version == "2"


def test_leases_that_do_not_come_back_stop_the_swap(slot: Slot[Model], maker: SlowMaker) -> None:
    with slot.lease() as model, pytest.raises(SwapRefused, match="leases on version 1 did not come back in time"):
        slot.swap("2", drain_first=True, drain_timeout_s=0.01)
    assert model.say()
    assert (slot.version, slot.warm, maker.unloads) == ("1", ("0",), [])
    assert slot.roll_back().version == "0"


def test_a_bad_version_is_replaced_by_the_one_that_served(slot: Slot[Model], maker: SlowMaker) -> None:
    maker.broken["check"].add("2")
    with pytest.raises(SwapRefused, match=r"its check returned False\. Serving again: vocoder 1\."):
        slot.swap("2", drain_first=True)
    assert maker.loads == ["0", "1", "2", "1"]
    with slot.lease() as model:
        assert model.say()


def test_when_that_one_fails_too_the_slot_is_empty(
    slot: Slot[Model], maker: SlowMaker, caplog: pytest.LogCaptureFixture
) -> None:
    maker.broken["load"] |= {"1", "2"}
    with pytest.raises(SwapRefused, match="Serving again: nothing"):
        slot.swap("2", drain_first=True)
    assert "version 1 could not be loaded again" in caplog.text
    with pytest.raises(SlotEmpty):
        slot.lease(wait_s=1)
    maker.broken["load"].clear()
    assert slot.swap("3").version == "3"


def test_an_interrupt_brings_back_what_served(maker: SlowMaker) -> None:
    slot = maker.slot(check=_interrupt_at("2"))
    slot.swap("1")
    with pytest.raises(KeyboardInterrupt):
        slot.swap("2", drain_first=True)
    assert slot.version == "1"


def _interrupt_at(version: str) -> Callable[[Model], None]:
    def check(model: Model) -> None:
        if model.version == version:
            raise KeyboardInterrupt

    return check


def test_a_warm_version_is_not_unloaded_to_be_loaded(slot: Slot[Model], maker: SlowMaker) -> None:
    report = slot.swap("0", drain_first=True)
    assert (report.version, report.reused, report.seconds_closed, maker.unloads) == ("0", True, 0, [])


def test_a_pipeline_unloads_only_the_parts_that_change(maker: SlowMaker) -> None:
    acoustic = Maker("acoustic")
    pipeline = Pipeline({"acoustic": acoustic.slot(), "vocoder": maker.slot()})
    pipeline.swap({"acoustic": "1", "vocoder": "1"})
    report = pipeline.swap({"acoustic": "1", "vocoder": "2"}, drain_first=True)
    assert report.versions == pipeline.versions == {"acoustic": "1", "vocoder": "2"}
    assert (acoustic.loads, acoustic.unloads, maker.unloads) == (["1"], [], ["1"])
    assert report.seconds_closed > 0
