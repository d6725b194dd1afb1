"""Where recorded requests are kept: bounded, the newest win. In memory only."""

from collections import deque
from collections.abc import Iterable

from penstock.ports.mirror import RecordedRequest
from penstock.routing.repeatable import as_regex, is_repeatable

#: Per service: enough kinds of requests to find one that fails and one that does not.
DEFAULT_LIMIT = 64
#: A request with a larger body is not kept.
BODY_LIMIT_BYTES = 64 * 1024
#: Of all services together, headers and paths included.
TOTAL_LIMIT_BYTES = 4 * 1024 * 1024


class Shelf:
    """Recorded requests by service."""

    def __init__(self, limit: int = DEFAULT_LIMIT, *, total_limit_bytes: int = TOTAL_LIMIT_BYTES) -> None:
        """Keep at most `limit` requests per service and `total_limit_bytes` of all services together."""
        self._limit = limit
        self._total_limit_bytes = total_limit_bytes
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._kept: dict[str, deque[RecordedRequest]] = {}
        self._n_bytes = 0
        self._n_recorded = 0

    def allow(self, service: str, patterns: tuple[str, ...]) -> None:
        """Keep what matches from now on, and forget what no longer does; a malformed pattern raises UsageError."""
        as_regex(patterns)
        self._patterns[service] = patterns
        self._keep(service, (r for r in self.recorded(service) if is_repeatable(patterns, r.method, r.path)))

    def allows(self, service: str, method: str, path: str) -> bool:
        """Whether `put` would keep such a request."""
        return is_repeatable(self._patterns.get(service, ()), method, path)

    def put(self, service: str, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """Keep a request if it may be repeated and is not too large."""
        if len(body) > BODY_LIMIT_BYTES or not self.allows(service, method, path):
            return
        self._n_recorded += 1
        request = RecordedRequest(self._n_recorded, method, path, headers, body)
        kept = self._kept.setdefault(service, deque())
        kept.append(request)
        self._n_bytes += _size_bytes(request)
        if len(kept) > self._limit:
            self._n_bytes -= _size_bytes(kept.popleft())
        while self._n_bytes > self._total_limit_bytes:
            self._drop_oldest()

    def recorded(self, service: str) -> tuple[RecordedRequest, ...]:
        """Return what is kept, oldest first."""
        return tuple(self._kept.get(service, ()))

    def clear(self) -> None:
        """Forget every request."""
        self._kept.clear()
        self._n_bytes = 0

    def _keep(self, service: str, requests: Iterable[RecordedRequest]) -> None:
        before = self._kept.pop(service, deque())
        self._kept[service] = deque(requests)
        self._n_bytes += sum(map(_size_bytes, self._kept[service])) - sum(map(_size_bytes, before))

    def _drop_oldest(self) -> None:
        oldest = min((kept for kept in self._kept.values() if kept), key=lambda kept: kept[0].key)
        self._n_bytes -= _size_bytes(oldest.popleft())


def _size_bytes(request: RecordedRequest) -> int:
    return len(request.body) + len(request.path) + sum(len(name) + len(value) for name, value in request.headers)
