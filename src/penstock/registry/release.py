"""A release: an immutable set of one version per component, served at one or more endpoints."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from penstock.kernel.errors import DuplicateEndpoint, InvalidUrl
from penstock.kernel.names import checked_version

#: The component of a service that is released whole.
WHOLE = "model"

_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def part_name(component: str, version: str) -> str:
    """Return what people call a release that changes this component alone, and its version in a quarantine."""
    return f"{component}-{version}"


def set_name(versions: Mapping[str, str]) -> str:
    """Return what servers call a set of versions when nobody named it: `acoustic-1.2.0+vocoder-1.3.0`."""
    return "+".join(part_name(component, version) for component, version in sorted(versions.items()))


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where one process of a release answers.

    Attributes:
        scheme: `http` or `https`.
        host: name or IP address, lower case, without brackets.
        port: 1..65535.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `http://HOST[:PORT]`; anything else, a path included, raises InvalidUrl."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
        except ValueError as error:
            raise InvalidUrl(url=url, why=str(error)) from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise InvalidUrl(url=url, why=f"scheme {parts.scheme!r} is not http or https")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
            raise InvalidUrl(url=url, why="it holds more than a scheme, a host and a port")
        try:
            port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise InvalidUrl(url=url, why="its port is not a number from 1 to 65535")
        if not parts.hostname or any(c.isspace() for c in parts.hostname):
            raise InvalidUrl(url=url, why="it names no host")
        if not _HOST.fullmatch(parts.hostname):
            raise InvalidUrl(url=url, why="a host is written with letters, digits, dots and dashes")
        return cls(parts.scheme, "127.0.0.1" if parts.hostname == "localhost" else parts.hostname, port)

    @property
    def address(self) -> str:
        """`host:port`, the name of the pod in counters and evidence."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def is_ip(self) -> bool:
        """Whether the host needs no name resolution."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Release:
    """One version per component, and where they answer. Never changes; a change is another release.

    Attributes:
        service: the service it belongs to.
        number: 1, 2, 3 ... within the service; the order in which releases appeared.
        name: what people call it; for a service released whole, its version.
        versions: component -> version.
        endpoints: at least one.
        digest: `sha256:...` of what is served, or None when nobody told us.
        swapped: its servers switch versions inside their processes, so that several releases share them.
    """

    service: str
    number: int
    name: str
    versions: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    digest: str | None = None
    swapped: bool = False

    def __post_init__(self) -> None:
        checked_version(self.name)
        for i, endpoint in enumerate(self.endpoints):
            if endpoint in self.endpoints[:i]:
                raise DuplicateEndpoint(url=endpoint.url, owner=f"the same release ({self.name})")

    @property
    def quarantine_key(self) -> str:
        """What quarantine remembers: the digest where one is known, else the version."""
        return self.digest or f"version:{self.name}"

    @property
    def quarantine_keys(self) -> tuple[str, ...]:
        """Every key under which it may be quarantined: its own, its name, and that of each component's version."""
        parts = (f"version:{part_name(c, v)}" for c, v in self.versions.items() if c != WHOLE)
        return (self.quarantine_key, f"version:{self.name}", *parts)

    def shares_servers(self, other: "Release") -> bool:
        """Whether some process serves both, and has to be told which one is meant."""
        return not set(self.endpoints).isdisjoint(other.endpoints)

    def as_json(self) -> dict[str, Any]:
        """The release as the journal keeps it; `from_json` is its inverse."""
        return {
            "service": self.service,
            "number": self.number,
            "name": self.name,
            "versions": dict(self.versions),
            "endpoints": [e.url for e in self.endpoints],
            "digest": self.digest,
            "swapped": self.swapped,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(
            service=fields["service"],
            number=fields["number"],
            name=fields["name"],
            versions=dict(fields["versions"]),
            endpoints=tuple(Endpoint.parse(url) for url in fields["endpoints"]),
            digest=fields["digest"],
            swapped=fields.get("swapped", False),  # journals of 0.1 before it know no such releases
        )
