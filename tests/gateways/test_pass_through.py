"""What clients and servers say to each other passes unchanged, in whatever protocol."""

import asyncio
import hashlib
import os
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from penstock.registry.release import Endpoint, Release
from tests.gateways.clients import load, request, until
from tests.gateways.lab import SERVICE, Lab, opened


async def test_a_stream_arrives_chunk_by_chunk(lab: Lab) -> None:
    await lab.apply(lab.table())
    (pod,) = lab.pods[1]
    host, _, port = lab.listen.rpartition(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(path="/stream"))
        pod.feed.put_nowait(b"first")
        await reader.readuntil(b"first\r\n")
        pod.feed.put_nowait(b"second")
        await reader.readuntil(b"second\r\n")
        pod.feed.put_nowait(None)
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def test_a_websocket_is_open_for_longer_than_a_request_may_take(lab: Lab) -> None:
    await lab.apply(lab.table(request_timeout_s=1.0))
    host, _, port = lab.listen.rpartition(":")
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "eA==",
        "sec-websocket-version": "13",
    }
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(path="/websocket", headers=upgrade))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for frame in (b"\x81\x02hi", b"\x82\x01x"):
            writer.write(frame)
            assert await reader.readexactly(len(frame)) == frame
            await asyncio.sleep(1.5)
        writer.write(b"bye")
        assert await reader.readexactly(3) == b"bye"
        writer.close()


async def test_large_bodies_pass_both_ways(lab: Lab) -> None:
    await lab.apply(lab.table())
    body = os.urandom(10 * 1024 * 1024)
    answer = await lab.ask("/echo", method="POST", body=body)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


async def test_a_server_that_hangs_is_answered_for_in_time(lab: Lab) -> None:
    await lab.apply(lab.table(request_timeout_s=1.0))
    async with asyncio.timeout(10):
        assert (await lab.ask("/hang", method="POST")).status == 504


async def test_a_server_that_closes_idle_connections_fails_no_request() -> None:
    async with opened(n_stable=1) as lab:
        lab.pods[1][0].idle_s = 2.0
        await lab.apply(lab.table())
        # Pauses around the server's patience, on a path whose requests must not be sent twice.
        before = load(lab.listen, method="POST", path="/other", pause_s=1.998)
        after = load(lab.listen, method="POST", path="/other", pause_s=2.001)
        async with before as first, after as second:
            await second.more(24)
        assert first.n_failed == second.n_failed == 0


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server of no particular service, with a unary and a streaming method."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def once(asked: bytes, _: grpc.aio.ServicerContext) -> bytes:
            return b"echo " + asked

        async def thrice(asked: bytes, context: grpc.aio.ServicerContext) -> None:
            for _ in range(3):
                await context.write(asked)

        if details.method.endswith("/Thrice"):
            return grpc.unary_stream_rpc_method_handler(thrice)
        return grpc.unary_unary_rpc_method_handler(once)


async def test_grpc_passes_and_its_server_is_checked_by_connecting(lab: Lab) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        endpoint = Endpoint("http", "127.0.0.1", port)
        await lab.apply(lab.table(stable=replace(lab.release(1), endpoints=(endpoint,))))
        assert (await lab.gateway.fetch_health())[endpoint.address]
        async with grpc.aio.insecure_channel(lab.listen) as channel:
            assert await channel.unary_unary("/x.Y/Once")(b"hi", timeout=10) == b"echo hi"
            assert [part async for part in channel.unary_stream("/x.Y/Thrice")(b"a", timeout=10)] == [b"a"] * 3
    finally:
        await server.stop(grace=None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ca.pem, and key and certificate of `localhost` (good) and of another host (other)."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab", "-days", "2")
    names = {"good": "DNS:localhost,IP:127.0.0.1", "other": "DNS:other.test"}
    for name, alternatives in names.items():
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternatives}\n")
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    return folder


@pytest.mark.parametrize(("name", "host"), [("good", "localhost"), ("good", "127.0.0.1"), ("other", "localhost")])
async def test_an_https_server_must_prove_who_it_is(certificates: Path, name: str, host: str) -> None:
    async with opened(trusted_ca=certificates / "ca.pem") as lab:
        (pod,) = lab.pods[1]
        pod.die()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        await pod.start(ssl=context)
        release = Release(SERVICE, 1, "1.0.0", {"model": "1"}, (Endpoint("https", host, pod.port),))
        await lab.apply(lab.table(stable=release))
        if name == "good":
            assert (await lab.ask()).body == b"v1"
            assert f"host: {host}:{pod.port}".encode() in pod.heads[0]
        else:
            assert (await lab.ask()).status == 503
            assert pod.heads == []


async def test_a_server_may_be_named(lab: Lab) -> None:
    (pod,) = lab.pods[1]
    release = replace(lab.release(1), endpoints=(Endpoint("http", "localhost", pod.port),))
    await lab.apply(lab.table(stable=release))
    await until(lambda: _is_known(lab, f"localhost:{pod.port}"))
    assert (await lab.ask()).body == b"v1"


async def _is_known(lab: Lab, address: str) -> bool:
    return (await lab.gateway.fetch_health()).get(address, False)
