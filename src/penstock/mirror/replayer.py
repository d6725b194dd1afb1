"""Sending a recorded request straight to an endpoint, past the gateway, and saying what came of it."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Iterator

import httpx2

from penstock.ports.mirror import Outcome, RecordedRequest
from penstock.registry.release import Endpoint
from penstock.routing.table import FAULT_HEADER, OVERRIDE_HEADER, ArmName

#: Tells servers that no user is waiting.
PROBE_HEADER = "x-penstock-probe"
#: A probe's answer is read this far.
PAGE_LIMIT_BYTES = 64 * 1024

#: Shorter than servers keep an idle connection (uvicorn and Node.js 5 s, gunicorn 2 s: their documentation), so that a
#: connection they just closed is not mistaken for a failing version.
_KEEP_ALIVE_S = 1.0
_FAULT_LIMIT = 64
#: Of one connection, not of the request. Source: RFC 9110, section 7.6.1; `host`, `content-length` and `expect` are
#: written anew where they are needed.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Ours, and the gateway's.
_INTERNAL_PREFIXES = ("x-penstock-", "x-envoy-")


class Replayer:
    """Sends requests to endpoints over pooled connections; TLS is checked against the system's authorities."""

    def __init__(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE_S)
        self._client = httpx2.AsyncClient(
            verify=ssl.create_default_context(), limits=limits, timeout=None, trust_env=False, follow_redirects=False
        )
        self._client.headers.clear()  # the user's headers, not ours, decide what the server answers

    async def replay(
        self, request: RecordedRequest, endpoint: Endpoint, *, timeout_s: float, arm: ArmName | None = None
    ) -> Outcome:
        """Send the request and read the whole answer; what the endpoint does wrong is in the outcome."""
        outcome, _ = await self._sent(request, endpoint, timeout_s=timeout_s, limit_bytes=None, arm=arm)
        return outcome

    async def probe(self, endpoint: Endpoint, path: str, *, timeout_s: float) -> tuple[Outcome, bytes]:
        """GET `path`; return the beginning of the answer's body, at most 64 KiB, too."""
        request = RecordedRequest(key=0, method="GET", path=path, headers=(), body=b"")
        return await self._sent(request, endpoint, timeout_s=timeout_s, limit_bytes=PAGE_LIMIT_BYTES)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _sent(
        self,
        request: RecordedRequest,
        endpoint: Endpoint,
        *,
        timeout_s: float,
        limit_bytes: int | None,
        arm: ArmName | None = None,
    ) -> tuple[Outcome, bytes]:
        call = _Call(endpoint, arm)
        # A TLS handshake that is cancelled from outside loses its socket (httpcore2 2.16): TCP and TLS, which have this
        # long each, end before that.
        connecting = httpx2.Timeout(None, connect=timeout_s / 2)
        try:
            async with asyncio.timeout(timeout_s):
                body = await call.run(self._client, request, connecting, limit_bytes)
        except httpx2.ConnectTimeout:
            return call.failed(f"no connection within {timeout_s / 2:g} s"), b""
        except TimeoutError:
            return call.failed(f"no whole answer within {timeout_s:g} s"), b""
        except httpx2.RemoteProtocolError as error:
            return call.failed(str(error), garbled=_NOTHING_SAID not in str(error)), b""
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return call.failed(str(error) or type(error).__name__), b""
        return call.outcome, body


#: How the client says that a connection was closed before the first byte of an answer.
_NOTHING_SAID = "disconnected"


class _Call:
    """One request under way."""

    def __init__(self, endpoint: Endpoint, arm: ArmName | None) -> None:
        self._endpoint = endpoint
        self._arm = arm
        self._started_s = time.perf_counter()
        self.outcome = Outcome(endpoint.address, status=0, latency_ms=0.0)

    async def run(
        self, client: httpx2.AsyncClient, request: RecordedRequest, patience: httpx2.Timeout, limit_bytes: int | None
    ) -> bytes:
        """Return the beginning of the body; without a limit the body is read to its end and thrown away."""
        content = request.body if request.body or request.method not in ("GET", "HEAD") else None
        built = client.build_request(
            request.method,
            self._endpoint.url,
            headers=list(_passed_on(request.headers, self._arm)),
            content=content,
            timeout=patience,
            extensions={"target": request.path.encode("utf-8", "surrogateescape")},
        )
        response = await client.send(built, stream=True)
        try:
            fault = response.headers.get(FAULT_HEADER)
            self.outcome = Outcome(
                self._endpoint.address,
                status=response.status_code,
                latency_ms=self._elapsed_ms(),
                fault=fault[:_FAULT_LIMIT] if fault else None,
            )
            return await _read(response, limit_bytes)
        finally:
            await response.aclose()

    def failed(self, why: str, *, garbled: bool = False) -> Outcome:
        begun = f", after status {self.outcome.status}" if self.outcome.status else ""
        no_http = garbled and not begun
        return Outcome(self._endpoint.address, 0, self._elapsed_ms(), why=why + begun, garbled=no_http)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started_s) * 1000


def _passed_on(headers: Iterable[tuple[str, str]], arm: ArmName | None) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name not in _HOP_BY_HOP and not name.startswith(_INTERNAL_PREFIXES):
            yield name.encode("latin-1"), value.encode("latin-1")
    yield PROBE_HEADER.encode(), b"1"
    if arm is not None:
        yield OVERRIDE_HEADER.encode(), arm.value.encode()


async def _read(response: httpx2.Response, limit_bytes: int | None) -> bytes:
    page = b""
    # Raw: what an answer's encoding hides is not ours to judge, and inflating it could fill the memory.
    async for chunk in response.aiter_raw():
        if limit_bytes is not None:
            page += chunk
            if len(page) >= limit_bytes:
                return page[:limit_bytes]
    return page
