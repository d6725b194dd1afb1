"""Mounting slots in an ASGI server: FastAPI, Starlette, or any other.

    app.add_middleware(penstock.runtime.asgi.Mount, slots=pipeline, model="tts")

Health, version, metrics and the admin come before the application's own routes; every answer gets `X-Model-Version`.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from penstock.runtime.node import BODY_LIMIT_BYTES, VERSION_HEADER, Answer, Asked, Node
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.request import REQUEST, Request
from penstock.runtime.slot import Slot

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FAILED = 500


class Mount:
    """ASGI middleware; the arguments are those of `penstock.runtime.node.Node`."""

    def __init__(
        self,
        app: App,
        slots: Pipeline | Slot[Any],
        *,
        model: str = "",
        facts: Mapping[str, object] | None = None,
        admin_token: str | None = None,
    ) -> None:
        self.node = Node(slots, model=model, facts=facts, admin_token=admin_token)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        if scope["type"] == "lifespan":
            await self._app(scope, self._noting_the_end(receive), send)
        elif scope["type"] == "http" and self.node.serves(path_of(scope)):
            await self._own(scope, receive, send)
        else:
            await self._others(scope, receive, send)

    def _noting_the_end(self, receive: Receive) -> Receive:
        async def received() -> MutableMapping[str, Any]:
            message = await receive()
            self.node.draining = self.node.draining or message["type"] == "lifespan.shutdown"
            return message

        return received

    async def _own(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope["client"][0] if scope.get("client") else None
        asked = Asked(scope["method"], path_of(scope), headers_of(scope), peer, await _body(receive))
        answer = await _answered(self.node, asked)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (VERSION_HEADER.encode(), self.node.label().encode()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _others(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self.node.request(headers_of(scope))
        labelled = _Labelled(self.node, request, send)
        token = REQUEST.set(request)
        status = _FAILED
        began_s = time.perf_counter()
        try:
            await self._app(scope, receive, labelled.send if scope["type"] == "http" else send)
            await labelled.flush()
            status = labelled.status
        finally:
            REQUEST.reset(token)
            self.node.count(request, status=status, seconds=time.perf_counter() - began_s)


class _Labelled:
    """Sends an application's answer on, with the versions that made it.

    Where nothing was leased yet, the head waits for the first piece: a stream may lease as it begins. Streams of events do not
    wait, since their clients wait for the head.
    """

    def __init__(self, node: Node, request: Request, send: Send) -> None:
        self._node = node
        self._request = request
        self._send = send
        self._head: MutableMapping[str, Any] | None = None
        self.status = 200

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.response.start":
            await self.flush()
            await self._send(message)
            return
        self.status, self._head = message["status"], message
        if self._request.bundle is not None or _is_events(message):
            await self.flush()

    async def flush(self) -> None:
        """Send the head, when it still waits."""
        head, self._head = self._head, None
        if head is not None:
            own = [(k, v) for k, v in head.get("headers", []) if k.lower() != VERSION_HEADER.encode()]
            label = (VERSION_HEADER.encode(), self._node.label(self._request).encode())
            await self._send({**head, "headers": [*own, label]})


async def _answered(node: Node, asked: Asked) -> Answer:
    """Answer in a thread of its own: a pool could be full of loads when a rollback is asked for, or of the user's requests."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def done(answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)

    def run() -> None:
        answer = node.answer(asked)
        with contextlib.suppress(RuntimeError):  # the server stopped meanwhile; nobody waits
            loop.call_soon_threadsafe(done, answer)

    threading.Thread(target=run, name="penstock-order", daemon=True).start()
    return await answered


def path_of(scope: Scope) -> str:
    """Return the path below where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def _is_events(head: MutableMapping[str, Any]) -> bool:
    return any(k.lower() == b"content-type" and v.startswith(b"text/event-stream") for k, v in head.get("headers", []))


async def _body(receive: Receive) -> bytes | None:
    """Read a body, not much further than what is taken; None when the client broke off."""
    body = b""
    more = True
    while more and len(body) <= BODY_LIMIT_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a scope's headers by lower-case name; the last of a name counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
