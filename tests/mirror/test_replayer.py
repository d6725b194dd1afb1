"""Replays to real sockets that answer, hang, reset and talk nonsense."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.mirror.replayer import PAGE_LIMIT_BYTES, Replayer
from penstock.ports.mirror import RecordedRequest
from penstock.registry.release import Endpoint
from tests.mirror.servers import Behaviour, answers, hangs, resets, serving

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_REQUEST = RecordedRequest(1, "POST", "/tts?a=%20b", (("accept", "audio/wav"), ("x-user-id", "ann")), b"body")


@pytest.fixture
async def replayer() -> AsyncIterator[Replayer]:
    replayer = Replayer()
    yield replayer
    await replayer.close()


async def test_the_request_arrives_as_it_was(replayer: Replayer) -> None:
    seen: list[bytes] = []
    async with serving(answers(_OK), seen) as endpoint:
        outcome = await replayer.replay(_REQUEST, endpoint, timeout_s=20)
    assert (outcome.pod, outcome.status, outcome.failed, outcome.why) == (endpoint.address, 200, False, "")
    assert outcome.latency_ms > 0
    head, _, body = seen[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().lower().split("\r\n")
    assert line == "post /tts?a=%20b http/1.1"
    assert sorted(headers) == [
        "accept: audio/wav",
        "content-length: 4",
        f"host: {endpoint.address}",
        "x-penstock-probe: 1",
        "x-user-id: ann",
    ]
    assert body == b"body"


async def test_headers_of_the_first_journey_stay_behind(replayer: Replayer) -> None:
    stale = ("host", "content-length", "transfer-encoding", "connection", "expect", "x-envoy-internal")
    ours = ("x-penstock-service", "x-penstock-arm", "x-penstock-mint")
    headers = tuple((name, "7") for name in (*stale, *ours))
    seen: list[bytes] = []
    async with serving(answers(_OK), seen) as endpoint:
        await replayer.replay(RecordedRequest(1, "GET", "/", headers, b""), endpoint, timeout_s=20)
    assert seen[0].decode().lower() == f"get / http/1.1\r\nhost: {endpoint.address}\r\nx-penstock-probe: 1\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
async def test_without_a_body(replayer: Replayer, method: str) -> None:
    async with serving(answers(b"HTTP/1.1 204 No\r\n\r\n")) as endpoint:
        outcome = await replayer.replay(RecordedRequest(1, method, "/", (), b""), endpoint, timeout_s=20)
    assert outcome.status == 204


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (hangs, "no whole answer within 0.3 s"),
        (resets, ""),
        (answers(b"garbage\r\n\r\n"), ""),
        (answers(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), "within 0.3 s, after status 200"),
        (answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "after status 200"),
        (answers(b"HTTP/1.1 999999 OK\r\n\r\n"), ""),
    ],
    ids=["hangs", "resets", "garbage", "stops", "bad chunks", "bad status"],
)
async def test_whatever_goes_wrong_is_an_outcome(replayer: Replayer, behave: Behaviour, why: str) -> None:
    async with serving(behave) as endpoint:
        timeout_s = 0.3 if "0.3" in why else 20
        outcome = await replayer.replay(_REQUEST, endpoint, timeout_s=timeout_s)
    assert (outcome.status, outcome.failed, outcome.fault) == (0, True, None)
    assert outcome.why
    assert why in outcome.why


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_nobody_there(replayer: Replayer, host: str) -> None:
    outcome = await replayer.replay(_REQUEST, Endpoint("http", host, 1), timeout_s=20)
    assert (outcome.pod, outcome.status) == (f"{host}:1", 0)
    assert outcome.why


async def test_tls_where_nobody_speaks_it(replayer: Replayer) -> None:
    async with serving(answers(_OK)) as endpoint:
        outcome = await replayer.replay(_REQUEST, Endpoint("https", "127.0.0.1", endpoint.port), timeout_s=2)
    assert outcome.status == 0
    assert outcome.why


@pytest.mark.parametrize(("said", "garbled"), [(b"\0\0\6\4", True), (b"", False)], ids=["HTTP/2 settings", "nothing"])
async def test_a_server_of_another_protocol_is_told_from_a_silent_one(
    replayer: Replayer, said: bytes, *, garbled: bool
) -> None:
    async with serving(answers(said)) as endpoint:
        outcome, _ = await replayer.probe(endpoint, "/health", timeout_s=5.0)
    assert (outcome.status, outcome.failed, outcome.garbled) == (0, True, garbled)


async def test_a_redirect_is_an_answer(replayer: Replayer) -> None:
    seen: list[bytes] = []
    raw = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    async with serving(answers(raw), seen) as endpoint:
        assert (await replayer.replay(_REQUEST, endpoint, timeout_s=20)).status == 302
    assert len(seen) == 1


async def test_a_fault_is_told_but_not_at_any_length(replayer: Replayer) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-Penstock-Fault: %s\r\ncontent-length: 0\r\n\r\n" % (b"s" * 1000)
    async with serving(answers(raw)) as endpoint:
        outcome = await replayer.replay(_REQUEST, endpoint, timeout_s=20)
    assert outcome.failed
    assert outcome.fault == "s" * 64


async def test_latency_is_that_of_the_first_byte(replayer: Replayer) -> None:
    may_end = asyncio.Event()

    async def answer_slowly(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        await asyncio.sleep(0.5)
        writer.write(b"k")
        may_end.set()

    loop = asyncio.get_running_loop()
    async with serving(answer_slowly) as endpoint:
        started_s = loop.time()
        outcome = await replayer.replay(_REQUEST, endpoint, timeout_s=20)
        whole_ms = (loop.time() - started_s) * 1000
    assert may_end.is_set()
    assert outcome.latency_ms < whole_ms - 400


async def test_connections_are_used_again(replayer: Replayer) -> None:
    n_connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections
        n_connections += 1
        try:
            while await reader.readuntil(b"body"):
                writer.write(_OK)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        endpoint = Endpoint("http", "127.0.0.1", server.sockets[0].getsockname()[1])
        for _ in range(5):
            assert (await replayer.replay(_REQUEST, endpoint, timeout_s=20)).status == 200
        await replayer.close()
    assert n_connections < 5  # a busy machine may let one go idle


async def test_a_probe_reads_no_more_than_it_must(replayer: Replayer) -> None:
    async def pour(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with serving(pour) as endpoint:
        outcome, page = await replayer.probe(endpoint, "/version", timeout_s=20)
    assert outcome.status == 200
    assert page == b"x" * PAGE_LIMIT_BYTES
