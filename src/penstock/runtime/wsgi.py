"""Mounting slots in a WSGI server: Flask, Django, or any other; the same routes as in `asgi`.

app.wsgi_app = penstock.runtime.wsgi.Mount(app.wsgi_app, slots=pipeline, model="tts")
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from http import HTTPStatus
from typing import Any

from penstock.runtime.node import BODY_LIMIT_BYTES, VERSION_HEADER, Asked, Node
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.request import REQUEST, Request
from penstock.runtime.slot import Slot

Environ = dict[str, Any]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_FAILED = 500


class Mount:
    """WSGI middleware; the arguments are those of `penstock.runtime.node.Node`."""

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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        headers = _headers_of(environ)
        if self.node.serves(environ.get("PATH_INFO", "")):
            return self._own(environ, headers, start_response)
        return _Served(self.node, self.node.request(headers), start_response).begun(self._app, environ)

    def _own(self, environ: Environ, headers: Mapping[str, str], start_response: StartResponse) -> list[bytes]:
        method, peer = environ["REQUEST_METHOD"], environ.get("REMOTE_ADDR") or None
        answer = self.node.answer(Asked(method, environ["PATH_INFO"], headers, peer, _body_of(environ)))
        said = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            (VERSION_HEADER, self.node.label()),
        ]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", said)
        return [b"" if method == "HEAD" else answer.body]


class _Served:
    """One answer of the application, in the request's own context, with the versions that made it.

    It may be made while it is sent, and a stream may lease as it begins: the head waits for the first piece.
    """

    def __init__(self, node: Node, request: Request, start_response: StartResponse) -> None:
        self._node = node
        self._request = request
        self._start_response = start_response
        self._context = copy_context()
        self._context.run(REQUEST.set, request)
        self._began_s = time.perf_counter()
        self._status = _FAILED
        self._head: tuple[str, list[tuple[str, str]], tuple[Any, ...]] | None = None
        self._write: Write | None = None
        self._body: Iterable[bytes] = ()

    def begun(self, app: App, environ: Environ) -> "_Served":
        """Ask the application."""
        try:
            self._body = self._context.run(app, environ, self._started)
            self._next = self._context.run(iter, self._body).__next__
        except BaseException:
            self._count(_FAILED)
            raise
        return self

    def __iter__(self) -> "_Served":
        return self

    def __next__(self) -> bytes:
        try:
            piece = self._context.run(self._next)
        except StopIteration:
            self._flushed()
            raise
        except BaseException:
            self._status = _FAILED
            raise
        if piece:
            self._flushed()
        return piece

    def close(self) -> None:
        """End the answer, however it went; servers call it last."""
        try:
            if hasattr(self._body, "close"):
                self._context.run(self._body.close)
        finally:
            self._count(self._status)

    def _count(self, status: int) -> None:
        self._node.count(self._request, status=status, seconds=time.perf_counter() - self._began_s)

    def _started(self, status: str, headers: list[tuple[str, str]], *more: Any) -> Write:
        if self._write is not None:
            return self._start_response(status, headers, *more)  # too late: the server raises what is in it
        self._head = (status, headers, more)
        return self._written

    def _written(self, piece: bytes) -> object:
        return self._flushed()(piece)

    def _flushed(self) -> Write:
        """Send the head, when it still waits."""
        if self._write is None:
            if self._head is None:
                raise RuntimeError("the application sent a body before it called start_response")
            status, headers, more = self._head
            self._status = int(status.split(" ", 1)[0])
            own = [(name, value) for name, value in headers if name.lower() != VERSION_HEADER]
            self._write = self._start_response(status, [*own, (VERSION_HEADER, self._node.label(self._request))], *more)
        return self._write


def _body_of(environ: Environ) -> bytes | None:
    """Read a body, no further than one byte over what is taken; None when it broke off, or where it ends cannot be told."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() and not environ.get("wsgi.input_terminated"):
        return None if "HTTP_TRANSFER_ENCODING" in environ else b""
    n_bytes = min(int(length), BODY_LIMIT_BYTES + 1) if length.isdecimal() else BODY_LIMIT_BYTES + 1
    body: bytes = environ["wsgi.input"].read(n_bytes)
    return None if length.isdecimal() and len(body) < n_bytes else body


def _headers_of(environ: Environ) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
