"""The port: a recorder for what the gateway mirrors, and a replayer for sending it again."""

from pathlib import Path

from penstock.mirror.recorder import Recorder
from penstock.mirror.replayer import Replayer
from penstock.mirror.shelf import DEFAULT_LIMIT, Shelf
from penstock.ports.mirror import Outcome, RecordedRequest
from penstock.registry.release import Endpoint
from penstock.routing.table import ArmName


class HttpMirror:
    """Records HTTP requests and replays them.

    Attributes:
        socket_path: where the gateway sends its copies, with the service's name in `x-penstock-service`.
    """

    def __init__(self, run_dir: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        """Keep at most `limit` requests per service; the socket is `run_dir`/recorder.sock."""
        self.socket_path = run_dir / "recorder.sock"
        self._shelf = Shelf(limit)
        self._recorder = Recorder(self.socket_path, self._shelf)
        self._replayer = Replayer()

    async def start(self) -> None:
        """Begin to record."""
        await self._recorder.start()

    async def close(self) -> None:
        """Stop, and forget every request."""
        await self._recorder.close()
        await self._replayer.close()
        self._shelf.clear()

    def allow(self, service: str, patterns: tuple[str, ...]) -> None:
        """Keep this service's requests from now on where they match a `METHOD /path` pattern."""
        self._shelf.allow(service, patterns)

    def recorded(self, service: str) -> tuple[RecordedRequest, ...]:
        """Return the kept requests, oldest first."""
        return self._shelf.recorded(service)

    async def replay(
        self, request: RecordedRequest, endpoint: Endpoint, *, timeout_s: float, arm: ArmName | None = None
    ) -> Outcome:
        """Send a recorded request to an endpoint; never raises for what the endpoint does."""
        return await self._replayer.replay(request, endpoint, timeout_s=timeout_s, arm=arm)

    async def probe(self, endpoint: Endpoint, path: str, *, timeout_s: float) -> tuple[Outcome, bytes]:
        """GET `path` and return the answer's body too (at most 64 KiB)."""
        return await self._replayer.probe(endpoint, path, timeout_s=timeout_s)
