"""Pipelines: one lease, one set; one swap, all or nothing; one guilty part goes back alone."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.kernel.errors import LeaseSpent, NothingWarm, SlotEmpty, SlotTaken, SwapRefused, UnknownPart
from penstock.runtime import Parts, Pipeline, Slot
from tests.runtime.conftest import PATIENCE_S, Maker, Model, SlowMaker, fingerprint_of


class Voice:
    """A pipeline of two, and what became of their models."""

    def __init__(self, **options: int) -> None:
        self.makers = {part: Maker(part) for part in ("acoustic", "vocoder")}
        self.slots = {part: maker.slot(**options) for part, maker in self.makers.items()}
        self.pipeline = Pipeline(self.slots)

    def both(self, acoustic: str, vocoder: str) -> Mapping[str, str]:
        return self.pipeline.swap({"acoustic": acoustic, "vocoder": vocoder}).versions


@pytest.fixture
def voice() -> Voice:
    voice = Voice()
    voice.both("1.0", "1.0")
    return voice


def said(parts: Parts) -> dict[str, str]:
    return {part: model.say() for part, model in parts.items()}


def expected(**versions: str) -> dict[str, str]:
    return {part: fingerprint_of(part, version) for part, version in versions.items()}


def test_a_lease_hands_out_a_set(voice: Voice) -> None:
    lease = voice.pipeline.lease()
    with lease as parts:
        assert parts.versions == lease.versions == {"acoustic": "1.0", "vocoder": "1.0"}
        assert said(parts) == expected(acoustic="1.0", vocoder="1.0")
        assert len(parts) == 2
        with pytest.raises(KeyError):
            _ = parts["emotion"]


def test_a_lease_pins_the_set_through_swaps_of_either(voice: Voice) -> None:
    with voice.pipeline.lease() as parts:
        voice.both("2.0", "2.0")
        voice.slots["acoustic"].swap("3.0")
        voice.pipeline.swap({"vocoder": "3.0"})
        assert said(parts) == expected(acoustic="1.0", vocoder="1.0")
        assert all(maker.unloads == [] for maker in voice.makers.values())
        assert voice.slots["acoustic"].draining == ("1.0",)
    for maker in voice.makers.values():
        maker.wait_unloaded("1.0")


def test_parts_are_not_for_use_after_the_lease() -> None:
    voice = Voice(keep=0)
    voice.both("1.0", "1.0")
    with voice.pipeline.lease() as parts:
        pass
    voice.both("2.0", "1.0")
    with pytest.raises(LeaseSpent, match=r"version 1\.0 is unloaded"):
        _ = parts["acoustic"]


async def test_a_stream_keeps_the_whole_set() -> None:
    voice = Voice(keep=0)
    voice.both("1.0", "1.0")
    lease = voice.pipeline.lease()
    async with lease as parts:
        stream = lease.stream(said(parts) for _ in range(2))
    chunks = [next(stream)]
    voice.both("2.0", "2.0")
    chunks += stream
    assert chunks == [expected(acoustic="1.0", vocoder="1.0")] * 2
    for maker in voice.makers.values():
        maker.wait_unloaded("1.0")


@pytest.mark.parametrize("what", ["load", "warm_up", "check"])
def test_a_swap_is_all_or_nothing(voice: Voice, what: str) -> None:
    voice.makers["vocoder"].broken[what].add("2.0")
    with pytest.raises(SwapRefused, match=r"Slot 'vocoder' did not take version 2\.0"):
        voice.both("2.0", "2.0")
    assert voice.pipeline.versions == {"acoustic": "1.0", "vocoder": "1.0"}
    assert voice.makers["acoustic"].unloads == ["2.0"]
    assert voice.slots["acoustic"].warm == ()


def test_a_warm_part_survives_the_failure_of_another(voice: Voice) -> None:
    voice.pipeline.swap({"acoustic": "2.0"})
    voice.makers["vocoder"].broken["load"].add("2.0")
    with pytest.raises(SwapRefused):
        voice.both("1.0", "2.0")
    assert voice.slots["acoustic"].warm == ("1.0",)
    assert voice.makers["acoustic"].unloads == []


def test_the_report_says_what_changed(voice: Voice) -> None:
    report = voice.pipeline.swap({"vocoder": "1.1", "acoustic": "1.0"})
    assert report.versions == {"acoustic": "1.0", "vocoder": "1.1"}
    assert report.previous == {"acoustic": "1.0", "vocoder": "1.0"}
    assert [part for part, each in report.parts.items() if each.changed] == ["vocoder"]
    assert report.seconds_loading == report.parts["vocoder"].seconds_loading > 0
    assert report.seconds_switching == report.parts["vocoder"].seconds_switching > 0
    assert voice.makers["acoustic"].loads == ["1.0"]


def test_swapping_to_what_serves_changes_nothing(voice: Voice) -> None:
    for versions in ({}, {"acoustic": "1.0", "vocoder": "1.0"}):
        assert voice.pipeline.swap(versions).seconds_switching == 0
    with pytest.raises(NothingWarm):
        voice.pipeline.roll_back()


def test_an_unknown_part_is_named(voice: Voice) -> None:
    with pytest.raises(UnknownPart, match="no part 'emotion'; its parts: acoustic, vocoder"):
        voice.pipeline.swap({"vocoder": "2.0", "emotion": "1.0"})
    assert voice.makers["vocoder"].loads == ["1.0"]


def test_rolling_back_returns_to_the_set_before(voice: Voice) -> None:
    voice.both("2.0", "2.0")
    report = voice.pipeline.roll_back()
    assert report.versions == {"acoustic": "1.0", "vocoder": "1.0"}
    assert report.seconds_loading == 0
    with pytest.raises(NothingWarm):
        voice.pipeline.roll_back()


def test_rolling_back_goes_set_by_set_while_they_are_warm(voice: Voice) -> None:
    voice.pipeline.swap({"acoustic": "2.0"})
    voice.pipeline.swap({"vocoder": "2.0"})
    assert voice.pipeline.roll_back().versions == {"acoustic": "2.0", "vocoder": "1.0"}
    assert voice.pipeline.roll_back().versions == {"acoustic": "1.0", "vocoder": "1.0"}


def test_only_the_guilty_part_goes_back(voice: Voice) -> None:
    voice.pipeline.swap({"acoustic": "2.0"})
    voice.pipeline.swap({"vocoder": "2.0"})
    report = voice.slots["acoustic"].roll_back()
    assert (report.slot, report.version, report.previous) == ("acoustic", "1.0", "2.0")
    with voice.pipeline.lease() as parts:
        assert said(parts) == expected(acoustic="1.0", vocoder="2.0")
    # The set before that had the guilty 2.0, so it is passed over.
    assert voice.pipeline.roll_back().versions == {"acoustic": "1.0", "vocoder": "1.0"}


def test_a_part_that_is_rolled_back_while_another_loads_is_swapped_again() -> None:
    slow, vocoder = SlowMaker("acoustic"), Maker("vocoder").slot()
    pipeline = Pipeline({"acoustic": slow.slot(), "vocoder": vocoder})
    pipeline.swap({"acoustic": "1.0", "vocoder": "1.0"})
    pipeline.swap({"vocoder": "2.0"})
    with ThreadPoolExecutor(1) as pool:
        swap = slow.held_up(pool, pipeline.swap, {"acoustic": "2.0", "vocoder": "2.0"})
        assert pipeline.roll_back().versions == {"acoustic": "1.0", "vocoder": "1.0"}
        slow.may_load.set()
        report = swap.result(PATIENCE_S)
    assert report.versions == pipeline.versions == {"acoustic": "2.0", "vocoder": "2.0"}
    assert report.previous == {"acoustic": "1.0", "vocoder": "1.0"}
    assert report.parts["vocoder"].reused


def test_a_set_that_is_no_longer_warm_is_not_returned_to() -> None:
    voice = Voice(keep=0)
    voice.both("1.0", "1.0")
    voice.both("2.0", "2.0")
    with pytest.raises(NothingWarm, match=r"acoustic 2\.0, vocoder 2\.0 serves on"):
        voice.pipeline.roll_back()


def test_the_history_of_sets_does_not_grow(voice: Voice) -> None:
    for n in range(50):
        voice.both("1.0" if n % 2 else "2.0", "1.0" if n % 3 else "2.0")
    assert len(voice.slots["acoustic"].seat.stage._earlier) <= 4


def test_a_slot_that_swaps_alone_goes_through_the_pipeline(voice: Voice) -> None:
    slot = voice.slots["vocoder"]
    report = slot.swap("2.0")
    assert (report.slot, report.version, report.previous) == ("vocoder", "2.0", "1.0")
    assert voice.pipeline.versions == {"acoustic": "1.0", "vocoder": "2.0"}
    with slot.lease() as vocoder, voice.pipeline.lease() as parts:
        assert parts["vocoder"] is vocoder
    assert voice.pipeline.roll_back().versions == {"acoustic": "1.0", "vocoder": "1.0"}


def test_parts_may_be_filled_one_by_one() -> None:
    voice = Voice()
    with pytest.raises(SlotEmpty, match="no version of acoustic, vocoder is in memory"):
        voice.pipeline.lease()
    assert voice.pipeline.swap({"vocoder": "1.0"}).versions == {"vocoder": "1.0"}
    with voice.slots["vocoder"].lease() as vocoder:
        assert vocoder.say() == fingerprint_of("vocoder", "1.0")
    with pytest.raises(SlotEmpty, match="no version of acoustic is in memory"):
        voice.pipeline.lease()
    voice.slots["acoustic"].swap("1.0")
    with voice.pipeline.lease() as parts:
        assert said(parts) == expected(acoustic="1.0", vocoder="1.0")
    with pytest.raises(NothingWarm):  # an incomplete set is nothing to return to
        voice.pipeline.roll_back()


def test_a_pipeline_takes_over_what_its_slots_serve() -> None:
    makers = {part: Maker(part) for part in ("acoustic", "vocoder")}
    slots = {part: maker.slot(keep=0) for part, maker in makers.items()}
    for slot in slots.values():
        slot.swap("1.0")
    with slots["vocoder"].lease() as old:
        pipeline = Pipeline(slots)
        with pipeline.lease() as parts:
            assert said(parts) == expected(acoustic="1.0", vocoder="1.0")
        pipeline.swap({"vocoder": "2.0"})
        assert old.say() == fingerprint_of("vocoder", "1.0")
        assert slots["vocoder"].draining == ("1.0",)
    makers["vocoder"].wait_unloaded("1.0")
    assert makers["acoustic"].unloads == []


def test_requests_run_on_while_slots_join() -> None:
    makers = {part: Maker(part) for part in ("acoustic", "vocoder")}
    done = threading.Event()
    failures: list[BaseException] = []

    def client(slot: Slot[Model], part: str) -> None:
        try:
            while not done.is_set():
                with slot.lease() as model:
                    assert model.say() == fingerprint_of(part, "1.0")
        except BaseException as error:  # noqa: BLE001 - the test says what it was
            failures.append(error)

    for _ in range(30):
        slots = {part: maker.slot() for part, maker in makers.items()}
        for slot in slots.values():
            slot.swap("1.0")
        done.clear()
        clients = [threading.Thread(target=client, args=(slot, part)) for part, slot in slots.items()]
        for each in clients:
            each.start()
        Pipeline(slots)
        done.set()
        for each in clients:
            each.join(PATIENCE_S)
    assert failures == []


def test_a_slot_belongs_to_one_pipeline(voice: Voice) -> None:
    other = Maker("emotion").slot()
    with pytest.raises(SlotTaken, match="'vocoder'"):
        Pipeline({"emotion": other, "vocoder": voice.slots["vocoder"]})
    with pytest.raises(SlotTaken):
        Pipeline({"one": other, "two": other})
    assert Pipeline({"emotion": other}).swap({"emotion": "1.0"}).versions == {"emotion": "1.0"}


def test_a_pipeline_needs_slots() -> None:
    with pytest.raises(ValueError, match="needs slots"):
        Pipeline({})
