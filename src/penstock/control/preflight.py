"""Looking at servers before anything is decided about them."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.kernel.errors import (
    DuplicateEndpoint,
    EndpointUnreachable,
    InvalidName,
    InvalidVersion,
    VersionMismatch,
)
from penstock.kernel.names import checked_service, checked_version
from penstock.ports.mirror import Mirror
from penstock.registry.release import WHOLE, Endpoint, Release

#: How long a server may take to say who it is, seconds.
_PATIENCE_S = 5.0
#: The same for one that is known already: somebody waits for a rollback.
_PATIENCE_AGAIN_S = 2.0
_SERVER_ERROR = 500
_OK = 200


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a server said of itself; None where it said nothing.

    Attributes:
        components: component -> version, of a server that switches them in place.
    """

    version: str | None
    digest: str | None
    components: Mapping[str, str] | None = None

    def release(self, service: str, number: int, name: str, endpoints: tuple[Endpoint, ...]) -> Release:
        """Return what the server serves as a release."""
        if self.components:
            return Release(service, number, name, self.components, endpoints, self.digest, swapped=True)
        return Release(service, number, name, {WHOLE: name}, endpoints, self.digest)


async def introduce(mirror: Mirror, endpoints: Sequence[Endpoint]) -> Introduction:
    """Ask every endpoint how it is and what it serves.

    A server without `/health` counts as well when it answers at all, one without `/version` just does not say. Raises
    EndpointUnreachable for one that is down or says so, VersionMismatch where two endpoints differ.
    """
    answers = await asyncio.gather(*(_ask(mirror, endpoint) for endpoint in endpoints))
    for endpoint, answer in zip(endpoints, answers, strict=True):
        if answer != answers[0]:
            raise VersionMismatch(url=endpoint.url, found=answer.version, wanted=answers[0].version)
    return answers[0]


async def _ask(mirror: Mirror, endpoint: Endpoint, *, patience_s: float = _PATIENCE_S) -> Introduction:
    outcome, _ = await mirror.probe(endpoint, "/health", timeout_s=patience_s)
    if outcome.garbled:  # it is alive and speaks something else, gRPC for instance
        return Introduction(None, None)
    if outcome.status == 0:
        raise EndpointUnreachable(url=endpoint.url, why=outcome.why)
    if outcome.status >= _SERVER_ERROR:
        raise EndpointUnreachable(url=endpoint.url, why=f"its /health answers {outcome.status}")
    outcome, body = await mirror.probe(endpoint, "/version", timeout_s=patience_s)
    if outcome.status != _OK:
        return Introduction(None, None)
    try:
        said = json.loads(body)
    except ValueError:
        return Introduction(None, None)
    if not isinstance(said, dict):
        return Introduction(None, None)
    digest = str(said["digest"]) if said.get("digest") else None
    return Introduction(_version_in(said), digest, _components_in(said))


async def answers_as(mirror: Mirror, release: Release) -> bool:
    """Whether an endpoint of an earlier release answers, and none says that it serves something else by now."""
    said = await asyncio.gather(*(_asked_again(mirror, endpoint) for endpoint in release.endpoints))
    answers = [answer for answer in said if answer is not None]
    return bool(answers) and not any(_is_another(answer, release) for answer in answers)


async def _asked_again(mirror: Mirror, endpoint: Endpoint) -> Introduction | None:
    try:
        return await _ask(mirror, endpoint, patience_s=_PATIENCE_AGAIN_S)
    except EndpointUnreachable:
        return None


def _is_another(said: Introduction, release: Release) -> bool:
    if release.swapped and said.components is not None:  # it can switch back to what it was
        return not release.versions.keys() <= said.components.keys()
    other_digest = release.digest is not None and said.digest not in (None, release.digest)
    return said.version not in (None, release.name) or other_digest


def _version_in(said: Mapping[str, Any]) -> str | None:
    """Return the version a server reports, unless no release could be named so."""
    try:
        return checked_version(str(said["version"])) if said.get("version") else None
    except InvalidVersion:
        return None


def _components_in(said: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the components of a server that offers to switch them; None where any of it is not as it should be."""
    parts = said.get("components")
    if said.get("swappable") is not True or not isinstance(parts, dict) or not parts:
        return None
    try:
        return {checked_service(name): checked_version(str(part["version"])) for name, part in sorted(parts.items())}
    except (InvalidName, InvalidVersion, KeyError, TypeError):
        return None


def check_unused(endpoints: Iterable[Endpoint], releases: Iterable[Release], listeners: Iterable[str]) -> None:
    """Raise DuplicateEndpoint where an endpoint is a gateway's own address or serves another release."""
    owners = {e: f"{r.service} {r.name}" for r in releases for e in r.endpoints}
    owners |= {Endpoint.parse(address): "the gateway itself" for address in listeners}
    for endpoint in endpoints:
        if endpoint in owners:
            raise DuplicateEndpoint(url=endpoint.url, owner=owners[endpoint])
