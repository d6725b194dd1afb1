"""A promotion: the full set of versions that a service began to serve everybody with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from penstock.kernel.chain import rfc3339, utc


@dataclass(frozen=True, slots=True)
class Promotion:
    """A release that became stable. Never changes, but for what is found out about its health.

    Attributes:
        service: which one.
        number: 1, 2, 3 ... within the service.
        versions: component -> version, of every component; as registered, e.g. `1.3.0`.
        at: aware UTC.
        actor, reason: who did it, and why.
        unhealthy: what was found against the set as a whole, or None.
    """

    service: str
    number: int
    versions: Mapping[str, str]
    at: datetime
    actor: str
    reason: str
    unhealthy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """`from_json` is its inverse."""
        return {
            "service": self.service,
            "number": self.number,
            "versions": dict(sorted(self.versions.items())),
            "at": rfc3339(self.at),
            "actor": self.actor,
            "reason": self.reason,
            "unhealthy": self.unhealthy,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            service=fields["service"],
            number=fields["number"],
            versions=dict(fields["versions"]),
            at=utc(fields["at"]),
            actor=fields["actor"],
            reason=fields["reason"],
            unhealthy=fields["unhealthy"],
        )
