"""The demo's users: steady, many, and honest about what failed."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from penstock.cli.demo.load import Load
from penstock.cli.demo.recording import Request, now_s

from .tiny import Tiny, tiny_server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the load lives in another thread and has no event of ours
            await asyncio.sleep(0.01)


async def run(load: Load, n_requests: int) -> list[Request]:
    load.start()
    try:
        await until(lambda: load.n_answered >= n_requests)
    finally:
        requests = await asyncio.to_thread(load.stop)
    return requests


async def asked(text: str, n_requests: int = 5) -> tuple[list[Request], Tiny]:
    async with tiny_server() as tiny:
        return await run(Load(tiny.url, [text], 200.0, 10, 1), n_requests), tiny


async def test_answers_are_recorded_as_clients_saw_them() -> None:
    begin_s = now_s()
    requests, tiny = await asked("well", 50)
    assert all((r.status, r.release, r.version, r.failed) == (200, "1.5.0", "1.5.0", False) for r in requests)
    assert all(begin_s <= r.at_s <= r.end_s <= now_s() + 1 for r in requests)
    assert {r.user for r in requests} == tiny.users
    assert 5 < len(tiny.users) <= 10


async def test_connections_are_kept() -> None:
    requests, tiny = await asked("well", 100)
    assert tiny.n_connections < len(requests) / 2


@pytest.mark.parametrize("text", ["reset", "cut"])
async def test_what_breaks_off_has_failed(text: str) -> None:
    requests, _ = await asked(text)
    assert all((r.status, r.release, r.failed) == (0, "", True) for r in requests)


async def test_errors_and_marked_faults_have_failed() -> None:
    for text, status, release, fault in (("error", 500, "2.0.1", ""), ("silence", 200, "", "silence")):
        requests, _ = await asked(text)
        assert all((r.status, r.release, r.fault, r.failed) == (status, release, fault, True) for r in requests)


async def test_a_refused_connection_has_failed_and_the_load_goes_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    requests = await run(Load(f"http://127.0.0.1:{port}", ["well"], 200.0, 3, 1), 20)
    assert all(r.status == 0 and r.failed for r in requests)


async def test_the_rate_is_held() -> None:
    async with tiny_server() as tiny:
        requests = await run(Load(tiny.url, ["well"], 100.0, 10, 7), 300)
    span_s = max(r.at_s for r in requests) - min(r.at_s for r in requests)
    assert 60 < len(requests) / span_s < 140


async def test_the_same_seed_asks_for_the_same_users() -> None:
    async with tiny_server() as tiny:
        first, second = [await run(Load(tiny.url, ["well"], 300.0, 10, 3), 30) for _ in range(2)]
    n_shared = 30
    assert [r.user for r in sorted(first, key=lambda r: r.at_s)][:n_shared] == [
        r.user for r in sorted(second, key=lambda r: r.at_s)
    ][:n_shared]


async def test_stopping_twice_is_allowed() -> None:
    async with tiny_server() as tiny:
        load = Load(tiny.url, ["well"], 100.0, 10, 1)
        assert load.stop() == []
        requests = await run(load, 3)
        assert await asyncio.to_thread(load.stop) == requests
