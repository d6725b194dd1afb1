"""The port over HTTP: servers that mount `penstock.runtime.asgi`; docs/reference/node.md describes what is said."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from penstock.kernel.errors import EndpointUnreachable, RefusedError, SwapRefused
from penstock.ports.model_server import Serving
from penstock.registry.release import Endpoint

_PREFIX = "/penstock/v1"
_CONNECT_S = 2.0
_FIRST_ERROR = 400
_DENIED = (401, 403)
_NOT_FOUND = 404


class SlotServers:
    """Talks to nodes.

    Args:
        admin_token: what nodes on other machines ask for (`PENSTOCK_ADMIN_TOKEN`); never logged.
    """

    def __init__(self, *, admin_token: str | None = None) -> None:
        headers = {"authorization": f"Bearer {admin_token}"} if admin_token else {}
        self._client = httpx2.AsyncClient(headers=headers, timeout=None, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def observe(self, endpoint: Endpoint, *, timeout_s: float) -> Serving:
        return _serving(endpoint, await self._ask(endpoint, "GET", "slots", None, timeout_s))

    async def prepare(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        await self._ask(endpoint, "POST", "prepare", {"versions": dict(versions)}, timeout_s)
        return await self.observe(endpoint, timeout_s=timeout_s)

    async def switch(
        self, endpoint: Endpoint, versions: Mapping[str, str], *, release: str, timeout_s: float
    ) -> Serving:
        body = {"versions": dict(versions), "release": release}
        await self._ask(endpoint, "POST", "switch", body, timeout_s)
        return await self.observe(endpoint, timeout_s=timeout_s)

    async def split(
        self, endpoint: Endpoint, versions: Mapping[str, str] | None, *, release: str, timeout_s: float
    ) -> Serving:
        body = {"versions": None if versions is None else dict(versions), "release": release}
        await self._ask(endpoint, "POST", "split", body, timeout_s)
        return await self.observe(endpoint, timeout_s=timeout_s)

    async def give_up(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        await self._ask(endpoint, "POST", "release", {"versions": dict(versions)}, timeout_s)
        return await self.observe(endpoint, timeout_s=timeout_s)

    async def attach(self, endpoint: Endpoint, *, control_plane: str | None, service: str, timeout_s: float) -> None:
        await self._ask(endpoint, "POST", "attach", {"control_plane": control_plane, "service": service}, timeout_s)

    async def _ask(
        self, endpoint: Endpoint, method: str, what: str, body: Mapping[str, Any] | None, timeout_s: float
    ) -> dict[str, Any]:
        """Return the JSON object that was answered. Raises EndpointUnreachable, SwapRefused, RefusedError."""
        url = f"{endpoint.url}{_PREFIX}/{what}"
        patience = httpx2.Timeout(None, connect=min(_CONNECT_S, timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._client.request(method, url, json=body, timeout=patience)
        except TimeoutError:
            raise EndpointUnreachable(url=endpoint.url, why=f"no answer to {what} within {timeout_s:g} s") from None
        except httpx2.TransportError as error:
            raise EndpointUnreachable(url=endpoint.url, why=_why(error, what)) from error
        said = _object_in(answer)
        if answer.status_code in _DENIED:
            raise RefusedError(
                detail=f"{endpoint.url} does not let this control plane switch its versions; "
                "set the same PENSTOCK_ADMIN_TOKEN here and there."
            )
        if answer.status_code == _NOT_FOUND and "code" not in (said or {}):
            raise EndpointUnreachable(url=endpoint.url, why="what answers there does not mount penstock.runtime")
        if answer.status_code >= _FIRST_ERROR:
            raise _refusal(said, what, answer.status_code)
        if said is None:
            raise EndpointUnreachable(url=endpoint.url, why=f"its answer to {what} is no JSON object")
        return said


def _why(error: httpx2.TransportError, what: str) -> str:
    """Return in words what became of a request."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "nobody takes connections there"
    return f"it broke off before it answered to {what}"


def _refusal(said: Mapping[str, Any] | None, what: str, status: int) -> SwapRefused:
    """Return what a node said against a request, as the error it raised there."""
    facts = said.get("facts") if said else None
    names = ("slot", "version", "why", "now")
    if isinstance(facts, dict) and all(name in facts for name in names):
        return SwapRefused(**{name: facts[name] for name in names})
    why = str(said.get("detail") or said.get("error")) if said else f"it answered with status {status}"
    return SwapRefused(slot="of the server", version=f"to {what}", why=why.rstrip("."), now="What served still serves")


def _serving(endpoint: Endpoint, said: Mapping[str, Any]) -> Serving:
    try:
        parts: Mapping[str, Mapping[str, Any]] = said["components"]
        ready = {name: _ready(part) for name, part in parts.items()}
        versions = {name: str(part["serving"]) for name, part in parts.items() if part["serving"] is not None}
        prepared = {name: tuple(part["prepared"]) for name, part in parts.items()}
        return Serving(versions, said["canary"], said["release"], ready, prepared, said["attached_to"])
    except (AttributeError, KeyError, TypeError) as error:
        why = f"it does not say what it serves ({type(error).__name__}: {error})"
        raise EndpointUnreachable(url=endpoint.url, why=why) from None


def _ready(part: Mapping[str, Any]) -> tuple[str, ...]:
    serving = [] if part["serving"] is None else [str(part["serving"])]
    return tuple(dict.fromkeys([*serving, *part["prepared"], *part["warm"]]))


def _object_in(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        said = answer.json()
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
