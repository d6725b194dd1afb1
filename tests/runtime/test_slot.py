"""One slot: what swaps, what stays warm, what is refused, and what is given back."""

import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from penstock.kernel.errors import InvalidVersion, NothingWarm, SlotEmpty, SwapRefused
from penstock.runtime import Slot
from tests.runtime.conftest import PATIENCE_S, Maker, SlowMaker, fingerprint_of


def test_nothing_serves_before_the_first_swap(maker: Maker) -> None:
    slot = maker.slot()
    with pytest.raises(SlotEmpty, match="Nothing serves in 'vocoder'"):
        slot.lease()
    assert (slot.name, slot.version, slot.warm) == ("vocoder", None, ())


def test_a_swap_loads_warms_up_checks_and_serves(maker: Maker) -> None:
    slot = maker.slot()
    first, second = slot.swap("1.2.0"), slot.swap("1.3.0")
    assert (first.version, first.previous, first.changed, first.reused) == ("1.2.0", None, True, False)
    assert (second.slot, second.version, second.previous) == ("vocoder", "1.3.0", "1.2.0")
    assert second.seconds_loading > 0
    assert second.seconds_warming > 0
    assert second.seconds_switching > 0
    assert second.seconds_closed == 0
    with slot.lease() as model:
        assert model.say() == fingerprint_of("vocoder", "1.3.0")
    assert (slot.version, slot.warm, maker.loads) == ("1.3.0", ("1.2.0",), ["1.2.0", "1.3.0"])


def test_only_load_has_to_be_given() -> None:
    slot = Slot("upper", load=str.upper, keep=0)
    slot.swap("a")
    assert slot.swap("b").previous == "a"
    with slot.lease() as model:
        assert model == "B"


def test_the_version_that_serves_is_left_as_it_is(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    report = slot.swap("2")
    assert (report.version, report.previous, report.changed, report.reused) == ("2", "2", False, True)
    assert (report.seconds_loading, report.seconds_switching) == (0, 0)
    assert (slot.warm, maker.loads, maker.unloads) == (("1",), ["1", "2"], [])


def test_a_kept_version_serves_again_without_a_load(maker: Maker) -> None:
    slot = maker.slot(keep=2)
    for version in ("1", "2", "3", "1"):
        report = slot.swap(version)
    assert report.reused
    assert (slot.version, slot.warm, maker.loads) == ("1", ("3", "2"), ["1", "2", "3"])


@pytest.mark.parametrize(("keep", "unloaded"), [(0, ["1", "2", "3"]), (1, ["1", "2"]), (2, ["1"]), (3, [])])
def test_what_is_over_keep_is_unloaded_once(maker: Maker, keep: int, unloaded: list[str]) -> None:
    slot = maker.slot(keep=keep)
    for version in ("1", "2", "3", "4"):
        slot.swap(version)
    assert maker.unloads == unloaded
    assert len(slot.warm) == keep


def test_a_slot_cannot_keep_less_than_nothing(maker: Maker) -> None:
    with pytest.raises(ValueError, match="cannot keep -1"):
        maker.slot(keep=-1)


def test_a_version_must_be_fit_for_a_header(maker: Maker) -> None:
    with pytest.raises(InvalidVersion):
        maker.slot().swap("1.0\r\nx: y")
    assert maker.loads == []


@pytest.mark.parametrize(
    ("what", "why", "unloaded"),
    [
        ("load", "its load raised OSError: weights.bin is truncated", []),
        ("warm_up", "its warm-up raised RuntimeError: shape mismatch", ["2"]),
        ("check", "its check returned False", ["2"]),
    ],
)
def test_a_bad_version_is_refused_and_the_old_one_serves(
    maker: Maker, what: str, why: str, unloaded: list[str]
) -> None:
    slot = maker.slot()
    slot.swap("0")
    slot.swap("1")
    maker.broken[what].add("2")
    with pytest.raises(SwapRefused) as refused:
        slot.swap("2")
    assert refused.value.message == f"Slot 'vocoder' did not take version 2: {why}. 1 still serves."
    assert (slot.version, slot.warm, maker.unloads) == ("1", ("0",), unloaded)
    del refused
    gc.collect()
    assert [ref() is not None for ref in maker.alive] == [True, True, False][: len(maker.alive)]


def test_the_first_version_can_be_refused_too(maker: Maker) -> None:
    slot = maker.slot()
    maker.broken["check"].add("1")
    with pytest.raises(SwapRefused, match=r"Nothing serves yet\.$"):
        slot.swap("1")
    with pytest.raises(SlotEmpty):
        slot.lease()


@pytest.mark.parametrize(
    ("answer", "accepted"), [(None, True), (True, True), (np.True_, True), (np.False_, False), (0, False)]
)
def test_a_check_refuses_with_anything_false_but_none(answer: object, accepted: bool) -> None:
    slot = Slot("s", load=str, check=lambda _: answer)
    if accepted:
        assert slot.swap("1").version == "1"
    else:
        with pytest.raises(SwapRefused):
            slot.swap("1")


def test_an_interrupt_while_checking_leaves_nothing_loaded(maker: Maker) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    slot = maker.slot(check=interrupted)
    with pytest.raises(KeyboardInterrupt):
        slot.swap("1")
    assert maker.unloads == ["1"]


def test_a_failing_unload_is_logged_and_harms_nobody(maker: Maker, caplog: pytest.LogCaptureFixture) -> None:
    slot = maker.slot(keep=0)
    maker.broken["unload"].add("1")
    slot.swap("1")
    with caplog.at_level(logging.ERROR, "penstock.runtime"):
        assert slot.swap("2").version == "2"
    assert "unload of version 1 failed" in caplog.text
    assert slot.version == "2"


def test_without_a_thread_to_be_had_the_next_swap_drains(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    slot = maker.slot(keep=0)
    slot.swap("1")
    with slot.lease(), monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        assert slot.swap("2").version == "2"
    assert "stays in memory until the next swap" in caplog.text
    assert (slot.draining, maker.unloads) == (("1",), [])
    with slot.lease():
        slot.swap("3")
    maker.wait_unloaded("1", "2")


def test_rolling_back_needs_no_load(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    report = slot.roll_back()
    assert (report.version, report.previous, report.reused, report.seconds_loading) == ("1", "2", True, 0)
    assert (slot.version, slot.warm, maker.loads) == ("1", ("2",), ["1", "2"])


def test_rolling_back_does_not_wait_for_another_versions_load() -> None:
    maker = SlowMaker()
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    with ThreadPoolExecutor(1) as pool:
        swap = maker.held_up(pool, slot.swap, "3")
        assert (slot.roll_back().version, slot.version) == ("1", "1")
        maker.may_load.set()
        assert swap.result(PATIENCE_S).previous == "1"
    assert (slot.version, slot.warm) == ("3", ("1",))


def test_rolling_back_twice_does_not_bring_the_bad_version_back(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    slot.roll_back()
    with pytest.raises(NothingWarm, match="vocoder 1 serves on"):
        slot.roll_back()
    assert slot.swap("2").reused  # only who names it gets it back
    assert slot.roll_back().version == "1"


def test_rolling_back_goes_on_to_what_served_before_that(maker: Maker) -> None:
    slot = maker.slot(keep=2)
    for version in ("1", "2", "3"):
        slot.swap(version)
    assert [slot.roll_back().version, slot.roll_back().version] == ["2", "1"]
    assert slot.warm == ("2", "3")


def test_what_was_rolled_back_from_makes_room_first(maker: Maker) -> None:
    slot = maker.slot(keep=2)
    for version in ("1", "2", "3"):
        slot.swap(version)
    slot.roll_back()
    slot.swap("4")
    assert (slot.warm, maker.unloads) == (("2", "1"), ["3"])


@pytest.mark.parametrize("versions", [(), ("1",)])
def test_there_may_be_nothing_to_roll_back_to(maker: Maker, versions: tuple[str, ...]) -> None:
    slot = maker.slot()
    for version in versions:
        slot.swap(version)
    with pytest.raises(NothingWarm):
        slot.roll_back()


def test_memory_of_old_versions_is_returned(maker: Maker) -> None:
    slot = maker.slot()
    for n in range(50):
        slot.swap(f"1.{n}")
    # No collection: counting references alone gives the weights back.
    assert sum(ref() is not None for ref in maker.alive) == 2
    assert len(maker.unloads) == 48


def test_swaps_come_one_after_the_other_and_leases_never_wait(maker: Maker) -> None:
    loading, may_finish = threading.Event(), threading.Event()
    n_at_once: list[int] = []
    busy = 0

    def slow(version: str) -> object:
        nonlocal busy
        busy += 1
        n_at_once.append(busy)
        loading.set()
        if version != "0":
            assert may_finish.wait(PATIENCE_S)
        busy -= 1
        return maker.load(version)

    slot = Slot("vocoder", slow, unload=maker.unload)
    slot.swap("0")
    loading.clear()
    with ThreadPoolExecutor(4) as pool:
        swaps = [pool.submit(slot.swap, version) for version in ("1", "2", "3", "1")]
        assert loading.wait(PATIENCE_S)
        for _ in range(100):
            with slot.lease() as model:
                assert model.version == "0"
        may_finish.set()
        reports = [swap.result(PATIENCE_S) for swap in swaps]
    assert set(n_at_once) == {1}
    assert slot.version in {report.version for report in reports}
    assert len({report.previous for report in reports if report.changed}) == len([r for r in reports if r.changed])
