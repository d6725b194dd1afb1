"""Copies of users' requests go to the recorder; nobody waits for them."""

import asyncio
import socket

from penstock.mirror.http import HttpMirror
from tests.gateways.clients import load, until
from tests.gateways.lab import Lab


async def test_sampled_requests_reach_the_recorder_and_only_those(lab: Lab) -> None:
    mirror = HttpMirror(lab.folder)
    await mirror.start()
    try:
        mirror.allow("tts", ("POST /tts",))
        await lab.apply(lab.split(0))
        await lab.ask("/tts", method="POST", body=b"before")
        await lab.gateway.sample("tts", 1.0)
        for text in (b"one", b"two"):
            assert (await lab.ask("/tts", method="POST", body=text)).status == 200
        await until(lambda: len(mirror.recorded("tts")) == 2)
        assert {copy.body for copy in mirror.recorded("tts")} == {b"one", b"two"}
        await lab.gateway.sample("tts", 0.0)
        await lab.ask("/tts", method="POST", body=b"after")
        await asyncio.sleep(0.2)
        assert len(mirror.recorded("tts")) == 2
        assert all(b"x-penstock-service" not in head.lower() for head in lab.pods[1][0].heads)
    finally:
        await mirror.close()


async def test_a_dead_recorder_is_no_client_s_affair(lab: Lab) -> None:
    await lab.apply(lab.split(0))
    await lab.gateway.sample("tts", 1.0)
    async with load(lab.listen) as seen:
        await seen.more(100)
    assert seen.n_failed == 0


async def test_a_recorder_that_hangs_makes_nobody_wait(lab: Lab) -> None:
    with socket.socket(socket.AF_UNIX) as recorder:  # it listens, and nobody takes the calls
        recorder.bind(str(lab.folder / "recorder.sock"))
        recorder.listen()
        await lab.apply(lab.split(0))
        await lab.gateway.sample("tts", 1.0)
        async with asyncio.timeout(20), load(lab.listen) as seen:
            await seen.more(300)
    assert seen.n_failed == 0
