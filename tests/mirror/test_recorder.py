"""Recording over a real socket, by hand and through a real Envoy."""

import asyncio
import logging
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from penstock.mirror.http import HttpMirror
from penstock.mirror.shelf import BODY_LIMIT_BYTES
from penstock.testing.contracts.waiting import eventually
from tests.telemetry.lab import Pod, running


@pytest.fixture
def run_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pen"))  # short: a socket's path has at most 107 bytes
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def mirror(run_dir: Path) -> AsyncIterator[HttpMirror]:
    mirror = HttpMirror(run_dir)
    await mirror.start()
    mirror.allow("tts", ("POST /tts", "GET /*"))
    yield mirror
    await mirror.close()


@pytest.fixture
async def gateway(mirror: HttpMirror) -> AsyncIterator[httpx2.AsyncClient]:
    """Who sends copies."""
    transport = httpx2.AsyncHTTPTransport(uds=str(mirror.socket_path), verify=False)
    headers = {"x-penstock-service": "tts"}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://tts-shadow", trust_env=False, headers=headers
    ) as client:
        yield client


async def test_a_copy_is_kept_whole(mirror: HttpMirror, gateway: httpx2.AsyncClient) -> None:
    response = await gateway.post("/tts?voice=%C3%A9", content="你好".encode(), headers={"X-User-Id": "ann"})
    assert response.status_code == 204
    (kept,) = mirror.recorded("tts")
    assert (kept.method, kept.path, kept.body.decode()) == ("POST", "/tts?voice=%C3%A9", "你好")
    assert ("x-user-id", "ann") in kept.headers


async def test_what_may_not_be_repeated_is_answered_and_forgotten(
    mirror: HttpMirror, gateway: httpx2.AsyncClient
) -> None:
    assert (await gateway.post("/buy")).status_code == 204
    assert (await gateway.post("/tts", headers={"x-penstock-service": "other"})).status_code == 204
    assert mirror.recorded("tts") == mirror.recorded("other") == ()


async def test_a_large_body_is_read_and_dropped(mirror: HttpMirror, gateway: httpx2.AsyncClient) -> None:
    assert (await gateway.post("/tts", content=b"x" * (3 * BODY_LIMIT_BYTES))).status_code == 204
    assert mirror.recorded("tts") == ()


async def test_half_a_request_is_not_kept(mirror: HttpMirror) -> None:
    _, writer = await asyncio.open_unix_connection(str(mirror.socket_path))
    writer.write(b"POST /tts HTTP/1.1\r\nhost: x\r\nx-penstock-service: tts\r\ncontent-length: 10\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await mirror.close()  # waits for what is under way
    assert mirror.recorded("tts") == ()


async def test_nothing_a_user_said_leaks(
    mirror: HttpMirror, gateway: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    httpx_log = logging.getLogger("httpx2")
    httpx_log.setLevel(logging.WARNING)  # that one is the test's own client
    await gateway.post("/tts?text=secret", content=b"secret", headers={"cookie": "secret"})
    (kept,) = mirror.recorded("tts")
    assert repr(kept) == "RecordedRequest(1, POST /tts, 6 bytes)"
    assert "secret" not in caplog.text
    assert "secret" not in repr(mirror)


async def test_the_socket_is_private_and_goes_away(mirror: HttpMirror) -> None:
    assert mirror.socket_path.stat().st_mode & 0o777 == 0o600
    await mirror.close()
    assert not mirror.socket_path.exists()
    await mirror.close()  # twice does not hurt


async def test_a_socket_left_behind_is_replaced(run_dir: Path) -> None:
    for _ in range(2):
        mirror = HttpMirror(run_dir)
        await mirror.start()
        mirror.socket_path.rename(run_dir / "kept")  # as if the process had died
        await mirror.close()
        (run_dir / "kept").rename(mirror.socket_path)


async def test_a_folder_that_is_missing_is_an_error(run_dir: Path) -> None:
    mirror = HttpMirror(run_dir / "missing")
    with pytest.raises(OSError, match="No such file"):
        await mirror.start()
    await mirror.close()


async def test_signals_stay_with_the_process(mirror: HttpMirror) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_copies_through_a_real_envoy(mirror: HttpMirror) -> None:
    pod = Pod()
    async with (
        running({"tts/1": ((pod,), ())}, recorder=mirror.socket_path) as envoy,
        httpx2.AsyncClient(base_url=envoy.url, trust_env=False, timeout=20) as user,
    ):
        assert (await user.get("/1/header/ok?q=1", headers={"x-user-id": "ann"})).status_code == 200
        assert (await user.post("/1/header/ok")).status_code == 200  # not repeatable

        async def has_one() -> bool:
            return bool(mirror.recorded("tts"))

        await eventually(has_one)
        (kept,) = mirror.recorded("tts")
        assert (kept.method, kept.path) == ("GET", "/1/header/ok?q=1")
        assert ("x-user-id", "ann") in kept.headers
        assert not any("x-penstock-service" in head for head in pod.heads)


async def test_a_dead_recorder_costs_users_nothing(mirror: HttpMirror) -> None:
    pod = Pod()
    async with (
        running({"tts/1": ((pod,), ())}, recorder=mirror.socket_path) as envoy,
        httpx2.AsyncClient(base_url=envoy.url, trust_env=False, timeout=20) as user,
    ):
        await mirror.close()
        assert [(await user.get("/1/header/ok")).status_code for _ in range(20)] == [200] * 20
