"""Recording mirrored requests, and replaying them."""

from dataclasses import dataclass
from typing import Protocol

from penstock.registry.release import Endpoint
from penstock.routing.table import ArmName

_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, repr=False)
class RecordedRequest:
    """A user's request, kept in memory only and never logged.

    Attributes:
        key: grows with every recorded request.
        method, path: path with its query.
        headers: lower-case names; identity, cookies and credentials are kept, since the servers may need them.
        body: whole.
    """

    key: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        """Tell requests apart without what the user said: no query, headers or body."""
        return f"RecordedRequest({self.key}, {self.method} {self.path.partition('?')[0]}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one endpoint answered to one replayed request.

    Attributes:
        pod: `host:port`.
        status: HTTP status; 0 when none came (refused, reset, timed out).
        latency_ms: to the first byte, milliseconds.
        fault: what `X-Penstock-Fault` said, or None.
        why: for a person, when no status came.
        garbled: whether something answered that is not HTTP/1.1, as a gRPC server does.
    """

    pod: str
    status: int
    latency_ms: float
    fault: str | None = None
    why: str = ""
    garbled: bool = False

    @property
    def failed(self) -> bool:
        """Whether it counts as bad: no answer, 5xx, or marked as a fault."""
        return self.status == 0 or self.status >= _SERVER_ERROR or self.fault is not None


class Mirror(Protocol):
    """Laws: at most a bounded number of requests and bytes is kept per service, the newest win; only requests that the
    service's table calls repeatable are kept; a replay never raises for what the endpoint does, and never takes longer
    than its time-out.
    """

    def allow(self, service: str, patterns: tuple[str, ...]) -> None:
        """Keep this service's requests from now on where they match a `METHOD /path` pattern."""
        ...

    def recorded(self, service: str) -> tuple[RecordedRequest, ...]:
        """Return the kept requests, oldest first."""
        ...

    async def replay(
        self, request: RecordedRequest, endpoint: Endpoint, *, timeout_s: float, arm: ArmName | None = None
    ) -> Outcome:
        """Send a recorded request to an endpoint; `arm` tells one that serves both which one is meant."""
        ...

    async def probe(self, endpoint: Endpoint, path: str, *, timeout_s: float) -> tuple[Outcome, bytes]:
        """GET `path` and return the answer's body too (at most 64 KiB)."""
        ...
