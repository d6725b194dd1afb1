import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from penstock.mirror.http import HttpMirror
from penstock.mirror.shelf import DEFAULT_LIMIT
from penstock.registry.release import Endpoint
from penstock.testing.contracts.mirror import MirrorContract, Pod
from tests.mirror.servers import answers, hangs, serving

_BEHAVIOUR = {
    Pod.WELL: answers(b"HTTP/1.1 200 OK\r\ncontent-length: 102400\r\n\r\n" + b"x" * 102_400),
    Pod.BROKEN: answers(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
    Pod.FAULTY: answers(b"HTTP/1.1 200 OK\r\nx-penstock-fault: silence\r\ncontent-length: 0\r\n\r\n"),
    Pod.STUCK: hangs,
}


class TestHttpMirror(MirrorContract):
    limit = DEFAULT_LIMIT

    async def start(self) -> HttpMirror:
        folder = Path(tempfile.mkdtemp(prefix="pen"))  # short: a socket's path has at most 107 bytes
        self._stack = AsyncExitStack()
        self._stack.callback(shutil.rmtree, folder)
        self._endpoints = {pod: await self._stack.enter_async_context(serving(b)) for pod, b in _BEHAVIOUR.items()}
        async with serving(hangs) as dead:
            self._endpoints[Pod.DEAD] = dead  # nobody listens there once this server is gone
        mirror = HttpMirror(folder)
        await mirror.start()
        self._stack.push_async_callback(mirror.close)
        mirror.allow("contract", ("GET /*",))
        transport = httpx2.AsyncHTTPTransport(uds=str(mirror.socket_path), verify=False)
        client = httpx2.AsyncClient(
            transport=transport, base_url="http://x", trust_env=False, headers={"x-penstock-service": "contract"}
        )
        self._client = await self._stack.enter_async_context(client)
        return mirror

    async def stop(self) -> None:
        await self._stack.aclose()

    async def send(self, method: str, path: str) -> None:
        await self._client.request(method, path)

    def endpoint(self, pod: Pod) -> Endpoint:
        return self._endpoints[pod]
