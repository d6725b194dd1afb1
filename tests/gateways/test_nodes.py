"""What nodes say: refusals, silence, and generations that they really have."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from penstock.gateways.envoy import driver
from penstock.gateways.envoy.snapshot import CLUSTERS, RUNTIME, TYPE_URLS
from penstock.kernel.errors import GatewayRefused, GatewaySilent
from penstock.routing.table import RouteTable
from tests.gateways.clients import load, until
from tests.gateways.lab import Lab


@contextmanager
def _routes_to_nowhere() -> Iterator[None]:
    """Let the driver write routes to a cluster that does not exist."""
    right = driver.routes

    def wrong(table: RouteTable) -> dict[str, Any]:
        written = right(table)
        for route in written["virtual_hosts"][0]["routes"]:
            route["route"] = {"cluster": "nowhere"}
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "routes", wrong)
        yield


async def test_a_refused_table_leaves_the_old_one_in_force(lab: Lab) -> None:
    table = await lab.apply(lab.split(5_000))
    async with load(lab.listen) as seen:
        await seen.more()
        with _routes_to_nowhere(), pytest.raises(GatewayRefused, match="unknown cluster 'nowhere'"):
            await lab.apply(lab.next(table, weight=10_000))
        assert [node.generation for node in lab.gateway.nodes("tts")] == [table.generation]
        await seen.more()
        after = await lab.apply(lab.next(table, weight=10_000))
        await until(lambda: seen.releases["2.0.0"])
    assert seen.n_failed == 0
    assert [node.generation for node in lab.gateway.nodes("tts")] == [after.generation]
    assert (await lab.ask()).release == "2.0.0"


async def test_a_first_table_that_is_refused_leaves_nothing_behind(lab: Lab) -> None:
    with _routes_to_nowhere(), pytest.raises(GatewayRefused):
        await lab.apply(lab.split(0))
    assert [node.generation for node in lab.gateway.nodes("tts")] == [-1]
    await lab.apply(lab.split(0))
    assert (await lab.ask()).status == 200


@asynccontextmanager
async def _silent_node(lab: Lab, name: str) -> AsyncIterator[None]:
    """A node that subscribes and then says nothing any more."""
    async with grpc.aio.insecure_channel(f"unix:{lab.folder / 'xds.sock'}") as channel:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        for kind in (CLUSTERS, RUNTIME):
            wanted = discovery_pb2.DiscoveryRequest(type_url=TYPE_URLS[kind])
            wanted.node.id = name
            await stream.write(wanted)
        await until(lambda: any(node.id == name and node.live for node in lab.gateway.nodes("tts")))
        yield
        stream.cancel()


async def test_a_silent_node_is_named_and_does_not_keep_others_back(lab: Lab) -> None:
    table = await lab.apply(lab.split(0))
    async with _silent_node(lab, "mute"):
        async with asyncio.timeout(10):
            with pytest.raises(GatewaySilent, match="mute") as silence:
                await lab.apply(lab.next(table, weight=10_000))
        assert "envoy-1" not in silence.value.message
        assert {(node.id, node.generation, node.live) for node in lab.gateway.nodes("tts")} == {
            ("envoy-1", 1, True),
            ("mute", -1, True),
        }
        await until(lambda: _is_at(lab, "2.0.0"))
    await until(lambda: not any(node.live for node in lab.gateway.nodes("tts") if node.id == "mute"))
    table = await lab.apply(lab.next(table, weight=0))
    assert [(node.id, node.generation, node.live) for node in lab.gateway.nodes("tts")] == [
        ("envoy-1", table.generation, True),
        ("mute", -1, False),
    ]


async def _is_at(lab: Lab, release: str) -> bool:
    return (await lab.ask()).release == release
