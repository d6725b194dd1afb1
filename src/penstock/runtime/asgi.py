"""Mounting slots in an ASGI server: FastAPI, Starlette, or any other.

    app.add_middleware(penstock.runtime.asgi.Mount, slots=pipeline, model="tts")

Health, version, metrics and the admin come before the application's own routes; every other answer gets `X-Model-Version`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from penstock.runtime.node import BODY_LIMIT_BYTES, VERSION_HEADER, Asked, Node
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.request import REQUEST
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
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self.node.serves(scope["path"]):
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
        body = b""
        more = True
        while more and len(body) <= BODY_LIMIT_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        peer = scope["client"][0] if scope.get("client") else None
        asked = Asked(scope["method"], scope["path"], headers_of(scope), peer, body)
        answer = await asyncio.to_thread(self.node.answer, asked)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (VERSION_HEADER.encode(), self.node.label(None).encode()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _others(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self.node.request(headers_of(scope))
        token = REQUEST.set(request)
        status = _FAILED
        began_s = time.perf_counter()

        async def labelled(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(k, v) for k, v in message.get("headers", []) if k.lower() != VERSION_HEADER.encode()]
                label = (VERSION_HEADER.encode(), self.node.label(request.bundle).encode())
                message = {**message, "headers": [*own, label]}
            await send(message)

        try:
            await self._app(scope, receive, labelled)
        finally:
            REQUEST.reset(token)
            self.node.count(request, status=status, seconds=time.perf_counter() - began_s)


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a scope's headers by lower-case name; the last of a name counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
