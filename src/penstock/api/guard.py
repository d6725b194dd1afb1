"""Who may talk to the API while there is no access control: programs on this machine, and no web page but our own.

A page of another site can make a browser send requests to 127.0.0.1, and by rebinding its own name's DNS even read the
answers. Browsers say where they come from (`Origin`) and whom they mean (`Host`); both are checked here.
"""

import ipaddress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.api.problems import TOO_LARGE, ProblemResponse
from penstock.kernel.errors import PenstockError, RefusedError

#: Larger bodies are refused; a plan is a few hundred bytes.
MAX_BODY_BYTES = 1024 * 1024
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class LocalOnly:
    """Refuses requests that name a host which is not this machine, and changes asked for by other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            why = _foreign(scope, Headers(scope=scope))
            if why is not None:
                await ProblemResponse(why)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BoundedBodies:
    """Stops reading a request body at MAX_BODY_BYTES, announced or not. FastAPI's own limit answers in another shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        n_bytes = 0

        async def counting() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > MAX_BODY_BYTES:
                raise HTTPException(TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
            return message

        await self._app(scope, counting, send)


def _foreign(scope: Scope, headers: Headers) -> PenstockError | None:
    host = headers.get("host", "")
    if not _is_loopback(host):
        return RefusedError(detail=f"the API answers to this machine's own names only, not to {host!r}.")
    origin = headers.get("origin")
    if scope["method"] not in _READING and origin is not None and origin != f"{scope['scheme']}://{host}":
        return RefusedError(detail=f"a page of {origin} may not change anything here.")
    return None


def _is_loopback(host: str) -> bool:
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
