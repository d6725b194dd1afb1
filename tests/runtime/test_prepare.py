"""Versions that are prepared, switched to without a load, split off for a canary, and given up."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from penstock.kernel.errors import (
    DoesNotFit,
    NothingWarm,
    SlotEmpty,
    StillServing,
    SwapRefused,
    UnknownPart,
)
from penstock.runtime import Pipeline, Slot
from penstock.runtime.lease import Bundle, Pointer
from penstock.runtime.request import REQUEST, Request, report_audio
from tests.runtime.conftest import Maker, Model, SlowMaker, fingerprint_of, gathered


@contextmanager
def asked_by(slot: Slot[Model] | Pipeline, *, canary: bool) -> Iterator[Request]:
    """Stand in a request, as a mounted server does."""
    pointer = slot.seat.pointer if isinstance(slot, Slot) else slot.stage.pointer
    request = Request(pointer, canary=canary)
    token = REQUEST.set(request)
    try:
        yield request
    finally:
        REQUEST.reset(token)


def said(slot: Slot[Model], *, canary: bool = False) -> str:
    with asked_by(slot, canary=canary), slot.lease() as model:
        assert model.say() == fingerprint_of("vocoder", model.version)
        return model.version


def test_what_is_prepared_serves_only_once_it_is_switched_to(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    report = slot.prepare("2")
    assert (report.version, report.reused, slot.prepared, slot.version) == ("2", False, ("2",), "1")
    assert report.seconds_loading > 0
    done = slot.switch("2", release="spring")
    assert (done.version, done.previous, done.reused) == ("2", "1", True)
    assert (slot.prepared, slot.warm, slot.version) == ((), ("1",), "2")
    assert slot.seat.pointer.current.release == "spring"
    assert maker.loads == ["1", "2"]


def test_asking_again_changes_nothing(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    assert slot.prepare("2").reused
    assert slot.prepare("1").reused
    assert slot.prepared == ("2",)
    slot.switch("2", release="a")
    bundle = slot.seat.pointer.current
    assert not slot.switch("2", release="b").changed
    assert slot.seat.pointer.current is bundle
    assert bundle.release == "b"
    assert maker.loads == ["1", "2"]


def test_a_switch_never_loads(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    with pytest.raises(SwapRefused, match=r"2: it is not prepared\. 1 still serves"):
        slot.switch("2")
    with pytest.raises(SwapRefused, match="it is not prepared"):
        slot.split("2")
    assert maker.loads == ["1"]


def test_a_version_that_fails_is_not_prepared_and_remembered(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    maker.broken["check"].add("2")
    with pytest.raises(SwapRefused, match="its check returned False"):
        slot.prepare("2")
    assert slot.prepared == ()
    assert maker.unloads == ["2"]
    assert "its check returned False" in slot.state.failed["2"]
    maker.broken["check"].clear()
    slot.prepare("2")
    assert slot.state.failed == {}


def test_only_the_last_failures_are_remembered(maker: Maker) -> None:
    slot = maker.slot()
    for version in map(str, range(20)):
        maker.broken["load"].add(version)
        with pytest.raises(SwapRefused):
            slot.prepare(version)
    assert list(slot.state.failed) == [str(n) for n in range(12, 20)]


def test_what_does_not_fit_is_refused_before_the_load(maker: Maker) -> None:
    free = [1 << 40]
    slot = maker.slot(free_gpu_bytes=lambda: free[0])

    def load(version: str) -> Model:
        free[0] -= 1 << 30
        return Model("vocoder", version)

    slot.seat.shelf._callables = type(slot.seat.shelf._callables)(load)
    slot.swap("1")
    free[0] = 1 << 20
    with pytest.raises(DoesNotFit, match=r"GPU memory .* 1.0 GiB, 1 MiB are free"):
        slot.prepare("2")
    assert slot.prepared == ()
    assert "does not fit" in slot.state.failed["2"]


def test_swaps_leave_alone_what_is_prepared(maker: Maker) -> None:
    slot = maker.slot(keep=0)
    slot.swap("1")
    slot.prepare("2")
    slot.swap("3")
    slot.swap("4")
    assert slot.prepared == ("2",)
    assert maker.unloads == ["1", "3"]
    slot.switch("2")
    assert maker.unloads == ["1", "3", "4"]


def test_a_warm_version_that_is_prepared_stays_when_newer_ones_push_it_out(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    assert slot.prepare("1").reused
    slot.swap("3")
    slot.swap("4")
    assert (slot.warm, slot.prepared) == (("3",), ("1",))
    slot.switch("1")
    assert maker.loads == ["1", "2", "3", "4"]


def test_what_is_given_up_is_unloaded(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.swap("2")
    slot.prepare("3")
    slot.give_up("3")
    slot.give_up("1")
    slot.give_up("7")
    assert (slot.prepared, slot.warm, maker.unloads) == ((), (), ["3", "1"])
    with pytest.raises(StillServing, match="Version 2 of 'vocoder' cannot be let go of: it serves"):
        slot.give_up("2")
    with pytest.raises(NothingWarm):
        slot.roll_back()


def test_a_rollback_never_returns_to_what_was_given_up() -> None:
    makers = {"acoustic": Maker("acoustic"), "vocoder": Maker("vocoder")}
    pipeline = Pipeline({part: maker.slot() for part, maker in makers.items()})
    pipeline.swap({"acoustic": "1", "vocoder": "1"})
    pipeline.swap({"acoustic": "2", "vocoder": "2"})
    pipeline.give_up({"vocoder": "1"})
    with pytest.raises(NothingWarm):
        pipeline.roll_back()


def test_a_switch_waits_for_nobodys_load() -> None:
    maker = SlowMaker()
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    with ThreadPoolExecutor() as pool:
        swapping = maker.held_up(pool, slot.prepare, "3")
        slot.switch("2")
        assert slot.version == "2"
        maker.may_load.set()
        swapping.result()
    assert slot.prepared == ("3",)


def test_a_swap_loads_what_was_given_up_under_it() -> None:
    acoustic, vocoder = SlowMaker("acoustic"), SlowMaker("vocoder")
    pipeline = Pipeline({"acoustic": acoustic.slot(), "vocoder": vocoder.slot()})
    pipeline.swap({"acoustic": "1", "vocoder": "1"})
    pipeline.prepare({"acoustic": "2"})
    with ThreadPoolExecutor() as pool:
        swapping = vocoder.held_up(pool, pipeline.swap, {"acoustic": "2", "vocoder": "2"})
        pipeline.give_up({"acoustic": "2"})
        vocoder.may_load.set()
        assert swapping.result().versions == {"acoustic": "2", "vocoder": "2"}
    with pipeline.lease() as parts:
        assert {part: model.say() for part, model in parts.items()} == {
            part: fingerprint_of(part, "2") for part in ("acoustic", "vocoder")
        }
    assert acoustic.loads == ["1", "2", "2"]


def test_only_the_canarys_requests_get_the_canarys_version(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    assert slot.canary is None
    slot.split("2")
    assert (slot.canary, slot.version) == ("2", "1")
    assert said(slot) == "1"
    assert said(slot, canary=True) == "2"
    with pytest.raises(StillServing, match="it serves the canary's requests"):
        slot.give_up("2")
    slot.split(None)
    assert said(slot, canary=True) == "1"
    assert slot.prepared == ("2",)
    slot.give_up("2")
    assert maker.unloads == ["2"]


def test_a_canarys_lease_outlives_the_split(maker: Maker) -> None:
    slot = maker.slot(keep=0)
    slot.swap("1")
    slot.prepare("2")
    slot.split("2")
    with asked_by(slot, canary=True):
        lease = slot.lease()
    with lease as model:
        slot.split(None)
        slot.give_up("2")
        assert model.say() == fingerprint_of("vocoder", "2")
        assert slot.draining == ("2",)
        assert maker.unloads == []
    maker.wait_unloaded("2")


def test_splitting_again_changes_nothing(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    slot.split("2", release="a")
    canary = slot.seat.pointer.canary
    slot.split("2", release="b")
    assert slot.seat.pointer.canary is canary
    assert canary is not None
    assert canary.release == "b"


def test_promotion_keeps_the_canarys_requests_where_they_are(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    slot.split("2")
    slot.switch("2")
    assert said(slot) == said(slot, canary=True) == "2"
    slot.split(None)
    assert maker.loads == ["1", "2"]
    assert maker.unloads == []


def test_a_drain_swap_is_refused_while_a_canary_is_split_off(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    slot.split("2")
    with pytest.raises(SwapRefused, match="end the split first"):
        slot.swap("3", drain_first=True)
    assert said(slot) == "1"
    slot.split(None)
    slot.swap("3", drain_first=True)
    assert sorted(maker.unloads) == ["1", "2"]


def test_joining_a_pipeline_ends_the_split(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    slot.split("2")
    pipeline = Pipeline({"vocoder": slot})
    assert pipeline.canary is None
    assert said(slot, canary=True) == "1"
    pipeline.give_up({"vocoder": "2"})
    assert maker.unloads == ["2"]


def test_a_pipelines_canary_is_one_set() -> None:
    makers = {"acoustic": Maker("acoustic"), "vocoder": Maker("vocoder")}
    pipeline = Pipeline({part: maker.slot() for part, maker in makers.items()})
    pipeline.prepare({"vocoder": "2"})
    with pytest.raises(SlotEmpty, match="acoustic"):
        pipeline.split({"vocoder": "2"})
    pipeline.swap({"acoustic": "1", "vocoder": "1"})
    pipeline.split({"vocoder": "2"}, release="canary")
    assert pipeline.canary == {"acoustic": "1", "vocoder": "2"}
    with asked_by(pipeline, canary=True) as request, pipeline.lease() as parts:
        assert parts.versions == {"acoustic": "1", "vocoder": "2"}
        assert request.bundle is pipeline.stage.pointer.canary
    with pipeline.lease() as parts:
        assert parts.versions == {"acoustic": "1", "vocoder": "1"}
    pipeline.swap({"acoustic": "3"})
    assert pipeline.canary == {"acoustic": "1", "vocoder": "2"}
    pipeline.split({"vocoder": "2"})
    assert pipeline.canary == {"acoustic": "3", "vocoder": "2"}


def test_all_or_nothing_is_prepared() -> None:
    makers = {"acoustic": Maker("acoustic"), "vocoder": Maker("vocoder")}
    pipeline = Pipeline({part: maker.slot() for part, maker in makers.items()})
    makers["vocoder"].broken["load"].add("2")
    with pytest.raises(SwapRefused, match="is truncated"):
        pipeline.prepare({"acoustic": "2", "vocoder": "2"})
    assert makers["acoustic"].unloads == ["2"]
    assert {part: state.prepared for part, state in pipeline.states.items()} == {"acoustic": (), "vocoder": ()}
    for asked in (pipeline.prepare, pipeline.switch, pipeline.split, pipeline.give_up):
        with pytest.raises(UnknownPart):
            asked({"emotion": "1"})


def test_audio_is_counted_in_requests_only(maker: Maker) -> None:
    report_audio(1.0)
    with asked_by(maker.slot(), canary=False) as request:
        report_audio(1.5)
        report_audio(0.5)
    assert request.audio_s == 2.0


def test_a_rollback_never_returns_to_what_made_room_for_a_load_that_failed(maker: Maker) -> None:
    free = [3 << 30]

    def load(version: str) -> Model:
        free[0] -= 1 << 30
        return maker.load(version)

    def unload(model: Model) -> None:
        maker.unload(model)
        free[0] += 1 << 30

    slot = Slot("vocoder", load, check=maker.check, unload=unload, free_gpu_bytes=lambda: free[0])
    pipeline = Pipeline({"vocoder": slot})
    pipeline.swap({"vocoder": "1"})
    pipeline.swap({"vocoder": "2"})
    free[0] -= 1 << 30  # somebody else takes it
    maker.broken["check"].add("3")
    with pytest.raises(SwapRefused, match="its check returned False"):
        pipeline.swap({"vocoder": "3"})
    assert maker.unloads == ["1", "3"]
    with pytest.raises(NothingWarm):
        pipeline.roll_back()
    with pipeline.lease() as parts:
        assert parts["vocoder"].say() == fingerprint_of("vocoder", "2")


def test_what_is_prepared_makes_no_room(maker: Maker) -> None:
    free = [3 << 30]

    def load(version: str) -> Model:
        free[0] -= 1 << 30
        return maker.load(version)

    slot = Slot("vocoder", load, free_gpu_bytes=lambda: free[0])
    slot.swap("1")
    slot.swap("2")
    slot.prepare("1")
    free[0] = 0
    with pytest.raises(DoesNotFit):
        slot.prepare("3")
    assert (slot.warm, slot.prepared) == (("1",), ("1",))


def test_splits_that_come_and_go_unload_nothing_that_is_leased(maker: Maker) -> None:
    slot = maker.slot(keep=0)
    slot.swap("0")
    done = threading.Event()
    answered = Counter[str]()

    def ask(*, canary: bool) -> None:
        while not done.is_set():
            with asked_by(slot, canary=canary), slot.lease() as model:
                assert model.say() == fingerprint_of("vocoder", model.version)  # raises when it was unloaded
                assert canary or model.version == "0"
                answered[model.version] += 1

    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(ask, canary=canary) for canary in (True, True, True, False)]
        for version in map(str, range(1, 200)):
            slot.prepare(version)
            slot.split(version)
            while int(version) % 10 == 0 and not answered[version] and not any(client.done() for client in clients):
                done.wait(0.001)
            slot.split(None)
            slot.give_up(version)
        done.set()
        for client in clients:
            client.result()
    assert {str(n) for n in range(10, 200, 10)} <= set(answered)
    assert gathered(lambda: len(maker.unloads) == 199)


class LatePointer:
    """Says what serves a request, while a split overtakes whoever asked: the narrowest race there is."""

    def __init__(self, pointer: Pointer, overtake: Iterator[object]) -> None:
        self.pointer = pointer
        self.overtake = overtake

    def seen_by(self, request: Request) -> Bundle:
        read = self.pointer.seen_by(request)
        next(self.overtake, None)
        return read


def test_a_canarys_lease_that_is_overtaken_looks_again(maker: Maker) -> None:
    slot = maker.slot()
    slot.swap("1")
    slot.prepare("2")
    slot.split("2")

    def overtake() -> Iterator[None]:
        slot.split(None)
        slot.give_up("2")
        yield

    slot.seat.pointer = LatePointer(slot.seat.stage.pointer, overtake())  # type: ignore[assignment]
    with asked_by(slot, canary=True), slot.lease() as model:
        assert model.say() == fingerprint_of("vocoder", "1")
    assert maker.unloads == ["2"]
