"""Reading Envoy back over its admin socket, and asking it to drain."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

_TIMEOUT_S = 2.0


class Admin:
    """A client for one Envoy. Every request raises httpx2.HTTPError where Envoy does not answer."""

    def __init__(self, socket: Path) -> None:
        # The transport never speaks TLS; without `verify=False` it would load the system's certificates for nothing.
        transport = httpx2.AsyncHTTPTransport(uds=str(socket), verify=False)
        self._client = httpx2.AsyncClient(
            transport=transport, base_url="http://envoy", timeout=_TIMEOUT_S, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def answers(self) -> bool:
        """Whether an Envoy answers at all."""
        try:
            await self._fetch("/server_info")
        except httpx2.HTTPError:
            return False
        return True

    async def fetch_runtime(self) -> Mapping[str, str]:
        """Return runtime key -> the value in force, as text."""
        entries = json.loads(await self._fetch("/runtime?format=json"))["entries"]
        return {key: entry["final_value"] for key, entry in entries.items()}

    async def fetch_clusters(self) -> frozenset[str]:
        """Return the clusters that are warm."""
        return frozenset(cluster["name"] for cluster in await self._fetch_statuses())

    async def fetch_health(self) -> Mapping[tuple[str, str], bool]:
        """Return (cluster, its own endpoint's `HOST`, address and port) -> whether Envoy may send to it."""
        statuses = await self._fetch_statuses()
        found: dict[tuple[str, str], bool] = {}
        for cluster, name, healthy in _own_hosts(statuses):
            found[cluster, name] = found.get((cluster, name), False) or healthy
        return found

    async def fetch_n_active(self) -> int:
        """Return how many requests of users are under way."""
        text = await self._fetch("/stats?filter=^http\\.gateway\\.downstream_rq_active$")
        return sum(int(line.rpartition(": ")[2]) for line in text.splitlines())

    async def drain(self) -> None:
        """Let clients finish: answers ask them to close their connection."""
        await self._fetch("/drain_listeners?graceful", method="POST")

    async def _fetch_statuses(self) -> list[Any]:
        statuses: list[Any] = json.loads(await self._fetch("/clusters?format=json")).get("cluster_statuses", [])
        return statuses

    async def _fetch(self, path: str, method: str = "GET") -> str:
        answer = await self._client.request(method, path)
        answer.raise_for_status()
        return answer.text


def _own_hosts(statuses: list[Any]) -> Iterator[tuple[str, str, bool]]:
    for cluster in statuses:
        for host in cluster.get("host_statuses", ()):
            if host.get("priority", 0) == 0:
                health = host["health_status"]
                failed = health.get("failed_active_health_check") or health.get("failed_outlier_check")
                yield cluster["name"], host.get("hostname", ""), not failed
