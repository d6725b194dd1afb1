"""Envoy's admin, over its unix socket."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from penstock.kernel.errors import TelemetryUnavailable

_TIMEOUT_S = 2.0


class Admin:
    """Reads back what Envoy really does."""

    def __init__(self, socket_path: Path) -> None:
        # The transport never speaks TLS; without `verify=False` it would load the system's certificates for nothing.
        transport = httpx2.AsyncHTTPTransport(uds=str(socket_path), verify=False)
        self._client = httpx2.AsyncClient(transport=transport, timeout=_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def is_alive(self) -> bool:
        """Whether an Envoy answers here."""
        try:
            return (await self._client.get("http://envoy/ready")).status_code > 0
        except httpx2.HTTPError:
            return False

    async def fetch_runtime(self) -> Mapping[str, str]:
        """Return runtime key -> the value in force. Raises TelemetryUnavailable."""
        entries = (await self._get("/runtime?format=json"))["entries"]
        return {key: str(entry["final_value"]) for key, entry in entries.items()}

    async def fetch_health(self) -> Mapping[str, bool]:
        """Return `host:port` -> whether Envoy may send to it, as its own release's cluster sees it."""
        health: dict[str, bool] = {}
        for cluster in await self._clusters():
            for host in cluster.get("host_statuses", ()):
                if host.get("priority", 0) == 0 and host.get("hostname"):
                    health[host["hostname"]] = _is_healthy(host["health_status"])
        return health

    async def fetch_active(self) -> frozenset[str]:
        """Return the names of the clusters that can be sent to: all but those that wait for their first checks."""
        return frozenset(cluster["name"] for cluster in await self._clusters())

    async def drain(self) -> None:
        """Ask clients to leave; answers carry `connection: close` from now on."""
        try:
            await self._client.post("http://envoy/drain_listeners?graceful")
        except httpx2.HTTPError:
            return  # it is gone already, which is what draining is for

    async def _clusters(self) -> list[dict[str, Any]]:
        return list((await self._get("/clusters?format=json")).get("cluster_statuses", ()))

    async def _get(self, path: str) -> Any:
        try:
            response = await self._client.get(f"http://envoy{path}")
            response.raise_for_status()
            return response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise TelemetryUnavailable(why=f"admin {path}: {error or type(error).__name__}") from error


def _is_healthy(status: Mapping[str, Any]) -> bool:
    if status.get("eds_health_status", "HEALTHY") not in ("HEALTHY", "UNKNOWN"):
        return False
    return not any(failed for name, failed in status.items() if name.startswith(("failed_", "pending_")))
