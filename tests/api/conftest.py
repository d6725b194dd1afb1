"""The API on a control plane on fakes: without a network where answers end, through a real server where they stream."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from penstock.api.app import create_app
from tests.api.served import Served
from tests.control.conftest import World

BASE_URL = "http://127.0.0.1:8600"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.start()
    await world.adopt()
    yield world
    await world.loop.stop()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(world.plane))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        yield client


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    served.start()
    yield served
    served.stop()
