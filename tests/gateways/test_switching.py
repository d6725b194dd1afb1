"""Changing weights under load: one push, nothing fails, nothing that began is cut off."""

import asyncio
from collections import Counter

import pytest

from penstock.gateways.envoy.snapshot import RUNTIME
from tests.gateways.clients import load, until
from tests.gateways.lab import Lab


@pytest.fixture
def pushes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is sent to nodes, by kind."""
    counted: Counter[str] = Counter()
    respond = lab.gateway._ads._response

    def counting(node: object, kind: str) -> object:
        counted[kind] += 1
        return respond(node, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(lab.gateway._ads, "_response", counting)
    return counted


async def test_a_change_of_the_weight_is_one_push_and_fails_no_request(lab: Lab, pushes: Counter[str]) -> None:
    table = await lab.apply(lab.split(0))
    async with load(lab.listen) as seen:
        for switch in range(20):
            await seen.more(20)
            pushes.clear()
            table = await lab.apply(lab.next(table, weight=0 if switch % 2 else 5_000))
            assert pushes == {RUNTIME: 1}
        await seen.more(20)
    assert seen.n_failed == 0
    assert set(seen.releases) == {"1.0.0", "2.0.0"}


async def test_the_same_table_again_is_no_push(lab: Lab, pushes: Counter[str]) -> None:
    table = await lab.apply(lab.split(5_000))
    pushes.clear()
    await lab.apply(table)
    assert pushes == {}


async def test_a_whole_rollout_fails_no_request(lab: Lab) -> None:
    table = await lab.apply(lab.table())
    stable, canary = lab.release(1), lab.release(2)
    async with load(lab.listen) as seen:
        await seen.more()
        table = await lab.apply(lab.next(table, canary=canary, salt="s", overrides=True))
        for weight in (1_000, 5_000, 10_000):
            table = await lab.apply(lab.next(table, weight=weight))
            await seen.more()
        promoted = {"stable": canary, "canary": None, "warm": stable, "weight": 0, "overrides": False}
        table = await lab.apply(lab.next(table, **promoted))
        seen.releases.clear()
        await seen.more()
        assert set(seen.releases) == {"2.0.0"}
        table = await lab.apply(lab.next(table, warm=None))
        await seen.more()
    assert seen.n_failed == 0


async def test_a_long_request_survives_the_rollback_and_the_end_of_its_cluster(lab: Lab) -> None:
    table = await lab.apply(lab.split(10_000))
    (pod,) = lab.pods[2]
    answer = asyncio.create_task(lab.ask("/stream"))
    await until(lambda: pod.n_attempts == 1)
    pod.feed.put_nowait(b"one ")
    table = await lab.apply(lab.next(table, weight=0, overrides=False))
    await lab.apply(lab.next(table, canary=None))
    await until(lambda: _is_gone(lab, "tts/2"))
    await asyncio.sleep(1.0)  # what would cut it off is done by now
    pod.feed.put_nowait(b"two")
    pod.feed.put_nowait(None)
    async with asyncio.timeout(10):
        assert (await answer).body == b"one two"


async def _is_gone(lab: Lab, cluster: str) -> bool:
    return cluster not in await lab.gateway._admin.fetch_active()
