"""Mounting slots in a WSGI server: Flask, Django, or any other; the same routes as in `asgi`.

app.wsgi_app = penstock.runtime.wsgi.Mount(app.wsgi_app, slots=pipeline, model="tts")
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Token
from http import HTTPStatus
from typing import Any

from penstock.runtime.node import BODY_LIMIT_BYTES, VERSION_HEADER, Asked, Node
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.request import REQUEST, Request
from penstock.runtime.slot import Slot

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
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
        return _Served(self._app, self.node, environ, headers, start_response)

    def _own(self, environ: Environ, headers: Mapping[str, str], start_response: StartResponse) -> list[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        n_bytes = min(int(length), BODY_LIMIT_BYTES + 1) if length.isdecimal() else 0
        body = environ["wsgi.input"].read(n_bytes) if n_bytes else b""
        method, peer = environ["REQUEST_METHOD"], environ.get("REMOTE_ADDR") or None
        answer = self.node.answer(Asked(method, environ["PATH_INFO"], headers, peer, body))
        said = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            (VERSION_HEADER, self.node.label(None)),
        ]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", said)
        return [b"" if method == "HEAD" else answer.body]


class _Served:
    """One answer of the application: it may be made while it is sent, so leases must know the request until its end."""

    def __init__(
        self, app: App, node: Node, environ: Environ, headers: Mapping[str, str], start_response: StartResponse
    ) -> None:
        self._node = node
        self._request: Request = node.request(headers)
        self._began_s = time.perf_counter()
        self._status = _FAILED
        self._start_response = start_response
        self._token: Token[Request | None] | None = REQUEST.set(self._request)
        self._body: Iterable[bytes] = ()
        try:
            self._body = app(environ, self._started)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """End the answer, however it went; servers call it last."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            if self._token is not None:
                REQUEST.reset(self._token)
                self._token = None
                self._node.count(self._request, status=self._status, seconds=time.perf_counter() - self._began_s)

    def _started(self, status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
        self._status = int(status.split(" ", 1)[0])
        own = [(name, value) for name, value in headers if name.lower() != VERSION_HEADER]
        return self._start_response(status, [*own, (VERSION_HEADER, self._node.label(self._request.bundle))], *more)


def _headers_of(environ: Environ) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
