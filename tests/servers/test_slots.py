"""The driver against real processes: the port's laws, and servers that die or speak otherwise."""

import asyncio

import pytest

from penstock.kernel.errors import EndpointUnreachable, RefusedError, SwapRefused
from penstock.registry.release import Endpoint
from penstock.servers.slots import SlotServers
from penstock.testing.contracts.model_server import FIRST, GOOD, ModelServerContract
from tests.mirror.servers import answers, serving
from tests.servers.toys import Toy, free_port


class TestSlotServers(ModelServerContract):
    kind = "asgi"

    async def start(self) -> tuple[SlotServers, Endpoint]:
        self._servers = SlotServers()
        self._toy = await asyncio.to_thread(Toy(self.kind).__enter__)
        return self._servers, self._toy.endpoint

    async def stop(self) -> None:
        self._toy.__exit__(None, None, None)
        await self._servers.close()

    def gone(self) -> Endpoint:
        return Endpoint("http", "127.0.0.1", free_port())


class TestSlotServersOverWsgi(TestSlotServers):
    kind = "wsgi"


async def test_a_server_that_is_killed_while_it_loads_is_unreachable_at_once() -> None:
    servers = SlotServers()
    with Toy() as toy:
        loading = asyncio.ensure_future(servers.prepare(toy.endpoint, {"vocoder": "5.0.0"}, timeout_s=60.0))
        while not (await asyncio.to_thread(toy.client.get, "/penstock/v1/slots")).json()["busy"]:  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.01)
        toy.kill()
        with pytest.raises(EndpointUnreachable) as died:
            await asyncio.wait_for(loading, 5.0)
        said = f"{toy.endpoint.url} does not answer: it broke off before it answered to prepare."
        assert died.value.message == said
    await servers.close()


async def test_a_server_that_is_killed_before_it_reads_a_switch_is_named() -> None:
    servers = SlotServers()
    with Toy() as toy:
        await servers.prepare(toy.endpoint, {"vocoder": GOOD}, timeout_s=30.0)
        toy.halt()
        order = servers.switch(toy.endpoint, {"vocoder": GOOD}, release="second", timeout_s=30.0)
        switching = asyncio.ensure_future(order)
        await asyncio.wait([switching], timeout=0.2)  # the order is on its way, and nobody reads it
        toy.kill()
        with pytest.raises(EndpointUnreachable, match="it broke off before it answered to switch"):
            await switching
        with pytest.raises(EndpointUnreachable, match="nobody takes connections there"):
            await servers.observe(toy.endpoint, timeout_s=30.0)
    await servers.close()


async def test_a_load_that_takes_too_long_says_so_and_goes_on() -> None:
    servers = SlotServers()
    with Toy() as toy:
        with pytest.raises(EndpointUnreachable, match=r"no answer to prepare within 0\.3 s"):
            await servers.prepare(toy.endpoint, {"vocoder": "5.0.0"}, timeout_s=0.3)
        assert dict((await servers.observe(toy.endpoint, timeout_s=5.0)).versions) == FIRST
    await servers.close()


async def test_a_token_must_be_the_same_on_both_sides() -> None:
    with Toy(admin_token="secret") as toy:
        for token, lets_in in ((None, False), ("other", False), ("secret", True)):
            servers = SlotServers(admin_token=token)
            if lets_in:
                seen = await servers.prepare(toy.endpoint, {"vocoder": GOOD}, timeout_s=10.0)
                assert GOOD in seen.ready["vocoder"]
            else:
                with pytest.raises(RefusedError, match="PENSTOCK_ADMIN_TOKEN"):
                    await servers.observe(toy.endpoint, timeout_s=10.0)
            await servers.close()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", EndpointUnreachable, "does not mount penstock.runtime"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", SwapRefused, "status 500"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", EndpointUnreachable, "no JSON object"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", EndpointUnreachable, "does not say what it serves"),
    ],
)
async def test_a_server_that_speaks_otherwise_is_named(answer: bytes, error: type[Exception], said: str) -> None:
    servers = SlotServers()
    async with serving(answers(answer)) as endpoint:
        with pytest.raises(error, match=said):
            await servers.observe(endpoint, timeout_s=5.0)
    await servers.close()
