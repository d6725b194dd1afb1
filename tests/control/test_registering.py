"""What the registry says about a release, and what it learns from the journal."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from penstock.kernel.errors import (
    Incompatible,
    NotFoundError,
    Quarantined,
    RefusedError,
    RegistryDamaged,
    RegistryUnwritable,
    UnknownVersion,
)
from penstock.kernel.semver import SemVer
from penstock.registry.metadata import Metadata
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from tests.control.test_components import BEFORE, Fleet

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    await fleet.start()
    await fleet.adopt()
    yield fleet
    await fleet.loop.stop()


def register(
    fleet: Fleet,
    component: str,
    version: str,
    stage: Stage = Stage.VERIFIED,
    *,
    digest: str | None = None,
    requires: dict[str, str] | None = None,
) -> None:
    metadata = Metadata.from_json({"owner": "ann", "requires": requires or {}}, allow_missing=True)
    known = Version("tts", component, SemVer.parse(version), digest, 0, metadata, AT, stage=stage)
    fleet.registry.register(known, actor="ann", reason="made")


def stage_of(fleet: Fleet, component: str, version: str) -> Stage:
    return fleet.registry.version("tts", component, version).stage


async def until(fleet: Fleet, holds: Callable[[], bool]) -> None:
    """Wait until the registry took in what happened: it does so in a thread, beside the loop."""
    async with asyncio.timeout(10.0):
        while not holds():
            await fleet.settle()
            await asyncio.sleep(0.001)


async def learned(fleet: Fleet, component: str, version: str, stage: Stage) -> None:
    await until(fleet, lambda: stage_of(fleet, component, version) is stage)


def know_what_serves(fleet: Fleet) -> None:
    for component, version in BEFORE.items():
        register(fleet, component, version, Stage.STABLE)


async def test_a_version_goes_through_its_stages_with_its_rollout(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.switch()
    await learned(fleet, "vocoder", "1.3.0", Stage.CANARY)
    assert fleet.registry.promotions("tts")[0].versions == BEFORE
    await fleet.to("baking")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "1.3.0", Stage.STABLE)
    assert fleet.registry.promotions("tts")[0].versions == {**BEFORE, "vocoder": "1.3.0"}
    await fleet.plane.roll_back("tts", "vocoder", actor="ann", reason="it crackles")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "1.3.0", Stage.QUARANTINED)
    await until(fleet, lambda: fleet.registry.promotions("tts")[0].versions == BEFORE)


async def test_an_aborted_canary_is_verified_as_before(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.switch()
    await fleet.settle()
    await fleet.plane.abort("tts", actor="ann")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "1.3.0", Stage.VERIFIED)


async def test_what_nobody_verified_is_refused_unless_allowed(fleet: Fleet) -> None:
    register(fleet, "vocoder", "1.3.0", Stage.REGISTERED)
    with pytest.raises(RefusedError, match="nobody verified it"):
        await fleet.switch()
    await fleet.switch(unverified=True)


async def test_what_the_registry_does_not_have_is_refused_where_it_has_the_component(fleet: Fleet) -> None:
    register(fleet, "vocoder", "1.4.0")
    with pytest.raises(UnknownVersion, match=r"1\.4\.0"):
        await fleet.switch("1.3.0")
    await fleet.switch("2.0.0", "acoustic")


async def test_the_same_files_under_another_number_stay_quarantined(fleet: Fleet) -> None:
    digest = "sha256:" + "1" * 64
    register(fleet, "vocoder", "1.3.0", Stage.QUARANTINED, digest=digest)
    register(fleet, "vocoder", "1.3.1", digest=digest)
    for version in ("1.3.0", "1.3.1"):
        with pytest.raises(Quarantined):
            await fleet.switch(version)


async def test_what_does_not_fit_is_refused_and_not_gone_back_to(fleet: Fleet) -> None:
    register(fleet, "acoustic", "1.2.0", Stage.STABLE)
    register(fleet, "vocoder", "1.1.0", Stage.STABLE)
    register(fleet, "vocoder", "1.3.0", requires={"acoustic": ">=2"})
    with pytest.raises(Incompatible, match="needs acoustic >=2"):
        await fleet.switch()
    register(fleet, "vocoder", "1.0.0", Stage.STABLE, requires={"acoustic": "<1"})
    with pytest.raises(RefusedError, match="needs acoustic <1"):
        await fleet.plane.roll_back("tts", "vocoder", to="1.0.0", actor="ann")


async def test_versions_that_only_fit_together_go_out_and_come_back_together(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "2.0.0", requires={"acoustic": ">=2"})
    register(fleet, "acoustic", "2.0.0", requires={"vocoder": ">=2"})
    with pytest.raises(Incompatible) as refused:
        await fleet.switch("2.0.0")
    together = "penstock release tts/vocoder --version 2.0.0 --also acoustic=2.0.0"
    assert together in refused.value.remedy
    pair = {"acoustic": "2.0.0", "vocoder": "2.0.0"}
    started = await fleet.switch("2.0.0", also={"acoustic": "2.0.0"})
    assert (started["canary"]["release"], started["canary"]["versions"]) == ("acoustic-2.0.0+vocoder-2.0.0", pair)
    await learned(fleet, "acoustic", "2.0.0", Stage.CANARY)
    await fleet.to("baking")
    await fleet.to("idle")
    assert set(map(str, fleet.serving.values())) == {str(pair)}
    await learned(fleet, "acoustic", "2.0.0", Stage.STABLE)
    planned = await fleet.plane.rollback_plan("tts", "vocoder")
    assert "it does not fit alone: with acoustic 1.2.0" in planned["why"]
    done = await fleet.plane.roll_back("tts", "vocoder", actor="ann", reason="it crackles")
    assert done["versions"] == BEFORE
    await learned(fleet, "vocoder", "2.0.0", Stage.QUARANTINED)
    assert stage_of(fleet, "acoustic", "2.0.0") is Stage.STABLE


async def test_lifting_a_quarantine_lifts_it_in_the_registry_too(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.switch()
    await fleet.settle()
    await fleet.plane.roll_back("tts", "vocoder", actor="ann", reason="it crackles")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "1.3.0", Stage.QUARANTINED)
    with pytest.raises(Quarantined) as refused:
        await fleet.switch()
    assert "penstock unquarantine tts vocoder-1.3.0 --reason" in refused.value.remedy
    await fleet.plane.unquarantine("tts", "vocoder-1.3.0", actor="ann", reason="it was the cable")
    assert stage_of(fleet, "vocoder", "1.3.0") is Stage.REGISTERED
    await fleet.settle()
    assert stage_of(fleet, "vocoder", "1.3.0") is Stage.REGISTERED
    await fleet.switch(unverified=True)


async def test_a_quarantine_that_only_the_registry_has_can_be_lifted(fleet: Fleet) -> None:
    register(fleet, "vocoder", "1.3.0", Stage.QUARANTINED)
    with pytest.raises(Quarantined):
        await fleet.switch()
    await fleet.plane.unquarantine("tts", "vocoder-1.3.0", actor="ann", reason="it was the cable")
    await fleet.switch(unverified=True)
    with pytest.raises(NotFoundError, match="not in quarantine"):
        await fleet.plane.unquarantine("tts", "vocoder-1.3.0", actor="ann", reason="again")


async def test_a_quarantine_is_lifted_however_its_number_is_spelt(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.plane.quarantine("tts", "vocoder-1.3.0", actor="ann", reason="dull")
    await learned(fleet, "vocoder", "1.3.0", Stage.QUARANTINED)
    await fleet.plane.unquarantine("tts", "vocoder-v1.3.0", actor="ann", reason="it was the cable")
    assert stage_of(fleet, "vocoder", "1.3.0") is Stage.REGISTERED
    await fleet.switch(unverified=True)


async def test_what_is_lifted_while_the_registry_learns_stays_lifted(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.plane.quarantine("tts", "vocoder-1.3.0", actor="ann", reason="dull")
    asked, go_on = threading.Event(), threading.Event()

    def slow_version(*names: str) -> Version:
        asked.set()
        assert go_on.wait(10.0)
        return real_version(*names)

    real_version = fleet.registry.version
    with monkeypatch.context() as slow:
        slow.setattr(fleet.registry, "version", slow_version)
        learning = asyncio.create_task(fleet.loop.registering.take_in(lambda: fleet.loop.control("tts").state))
        await asyncio.to_thread(asked.wait, 10.0)
        slow.setattr(fleet.registry, "version", real_version)
        lifting = asyncio.create_task(
            fleet.plane.unquarantine("tts", "vocoder-1.3.0", actor="ann", reason="it was the cable")
        )
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(learning, lifting)
    await fleet.settle()
    assert stage_of(fleet, "vocoder", "1.3.0") is Stage.REGISTERED


async def test_what_serves_is_stable_again_once_its_quarantine_is_lifted(fleet: Fleet) -> None:
    know_what_serves(fleet)
    await fleet.plane.quarantine("tts", "vocoder-9.9.8", actor="ann", reason="an entry, so that the registry looks")
    await until(fleet, lambda: bool(fleet.registry.promotions("tts")))
    fleet.registry.move("tts", "vocoder", "1.1.0", Stage.QUARANTINED, at=AT, actor="ann", reason="dull")
    await fleet.plane.unquarantine("tts", "vocoder-1.1.0", actor="ann", reason="it was the cable")
    await fleet.plane.quarantine("tts", "vocoder-9.9.9", actor="ann", reason="another")
    await learned(fleet, "vocoder", "1.1.0", Stage.STABLE)


async def test_another_build_than_the_registrys_is_not_released(fleet: Fleet) -> None:
    register(fleet, "vocoder", "1.3.0")
    with pytest.raises(RefusedError, match=r"which has vocoder 1\.3\.0"):
        await fleet.switch("1.3.0+b1")


async def test_a_slow_registry_stops_no_tick(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    register(fleet, "vocoder", "1.3.0")
    asked, go_on, real = threading.Event(), threading.Event(), fleet.registry.version

    def slow(*names: str) -> Version:
        asked.set()
        assert go_on.wait(10.0)
        return real(*names)

    monkeypatch.setattr(fleet.registry, "version", slow)
    releasing = asyncio.create_task(fleet.switch())
    await asyncio.to_thread(asked.wait, 10.0)
    async with asyncio.timeout(5.0):
        await fleet.tick()
    assert not releasing.done()
    go_on.set()
    assert (await releasing)["phase"] == "preflight"


async def test_a_refused_rollback_names_the_set_that_fits(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "2.0.0", requires={"acoustic": ">=2"})
    register(fleet, "acoustic", "2.0.0", requires={"vocoder": ">=2"})
    await fleet.switch("2.0.0", also={"acoustic": "2.0.0"})
    await fleet.to("baking")
    await fleet.to("idle")
    with pytest.raises(Incompatible) as refused:
        await fleet.plane.roll_back("tts", "vocoder", to="1.1.0", actor="ann")
    command = refused.value.remedy.partition("penstock rollback tts --to ")[2].rstrip(".")
    done = await fleet.plane.roll_back("tts", None, to=command, actor="ann")
    assert done["versions"] == BEFORE


async def test_a_set_that_was_condemned_quarantines_none_of_its_versions_alone(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "2.0.0")
    register(fleet, "acoustic", "2.0.0")
    await fleet.switch("2.0.0", also={"acoustic": "2.0.0"})
    await learned(fleet, "vocoder", "2.0.0", Stage.CANARY)
    await fleet.plane.roll_back("tts", None, actor="ann", reason="it crackles")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "2.0.0", Stage.VERIFIED)
    await learned(fleet, "acoustic", "2.0.0", Stage.VERIFIED)
    with pytest.raises(Quarantined, match="it crackles"):
        await fleet.switch("2.0.0", also={"acoustic": "2.0.0"})
    await fleet.switch("2.0.0")


async def test_where_nothing_fits_the_refusal_says_so(fleet: Fleet) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "2.0.0", requires={"acoustic": ">=2"})
    register(fleet, "acoustic", "2.0.0", Stage.REGISTERED)
    with pytest.raises(Incompatible) as refused:
        await fleet.switch("2.0.0")
    assert "none that is verified or stable fits" in refused.value.remedy


async def test_a_registry_that_takes_nothing_is_told_and_stops_nobody(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")

    def full(*_: object, **__: object) -> None:
        raise RegistryUnwritable(path="registry.db", why="the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(fleet.registry, "move", full)
        await fleet.switch()
        await until(fleet, lambda: "the disk is full" in str(fleet.plane.status("tts")["trouble"]))
    await learned(fleet, "vocoder", "1.3.0", Stage.CANARY)
    await until(fleet, lambda: fleet.plane.status("tts")["trouble"] is None)
    assert (await fleet.to("baking"))["weight_pct"] == 100


async def test_a_rollback_does_not_wait_for_a_registry_that_is_broken(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_what_serves(fleet)
    register(fleet, "vocoder", "1.3.0")
    await fleet.switch()
    await fleet.to("baking")
    await fleet.to("idle")
    await learned(fleet, "vocoder", "1.3.0", Stage.STABLE)

    def broken(*_: object) -> None:
        raise RegistryDamaged(path="registry.db", seq=3, why="it is no database")

    monkeypatch.setattr(fleet.registry, "version", broken)
    done = await fleet.plane.roll_back("tts", "vocoder", actor="ann")
    assert done["versions"] == BEFORE
    assert "it is no database" in str(fleet.plane.status("tts")["trouble"])
