"""Telemetry of the embedded Envoy: one read of its admin socket a tick, whatever the request rate."""

from collections.abc import Callable
from pathlib import Path

import httpx2

from penstock.kernel.errors import TelemetryUnavailable
from penstock.ports.telemetry import Reading
from penstock.telemetry.stats_text import Snapshot, grown, parsed
from penstock.telemetry.tally import tallied

#: One read brings everything and the age of the process; `detailed` gives each histogram's native bins.
_STATS = "/stats?usedonly&histogram_buckets=detailed&filter=^(penstock\\.rq|attempt\\.failed|server\\.uptime$)"
#: Envoy answers within milliseconds; a tick must not wait much longer than the next one.
_TIMEOUT_S = 2.0


class EnvoyTelemetry:
    """Increments of Envoy's counters since the last successful reading.

    A reading holds what Envoy had merged by then, all of it at the same moment, a quarter of a second ago at most.
    """

    def __init__(
        self, admin_socket: Path, *, pods_of: Callable[[str, int], frozenset[str]], timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Read from `admin_socket`; a reading that takes longer than `timeout_s` has failed.

        `pods_of` is called with a service and a release's number and returns `host:port` of the release's endpoints,
        none for one it does not know.
        """
        self._admin_socket = admin_socket
        self._pods_of = pods_of
        self._before: Snapshot | None = None
        # The transport never speaks TLS; without `verify=False` it would load the system's certificates for nothing.
        transport = httpx2.AsyncHTTPTransport(uds=str(admin_socket), verify=False)
        self._client = httpx2.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False)

    async def read(self) -> Reading:
        """Return what was counted since the last reading that succeeded; the first one only sets the baseline."""
        now = parsed(await self._fetch())
        before, self._before = self._before, now
        if before is None:
            return Reading()
        growth = grown(before, now)
        return Reading(tallied(growth, self._pods_of), complete=not growth.was_reset)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _fetch(self) -> str:
        try:
            response = await self._client.get("http://envoy" + _STATS)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            why = str(error) or type(error).__name__
            raise TelemetryUnavailable(why=f"{self._admin_socket}: {why}") from error
        return response.text
