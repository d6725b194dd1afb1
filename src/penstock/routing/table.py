"""The route table: everything a gateway must know about one service, and what it will do with a request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from penstock.registry.release import Endpoint, Release
from penstock.routing.bucket import TOTAL, bucket_of

#: Answers carry the name of the release that gave them.
RELEASE_HEADER = "x-penstock-release"
#: Overrides: testers reach the canary before its first user does. A process that serves both arms finds here which one.
OVERRIDE_HEADER = "x-penstock-arm"
OVERRIDE_COOKIE = ("gray_test", "true")
#: A server that knows that its answer is bad says so here; the gateway counts it.
FAULT_HEADER = "x-penstock-fault"


class ArmName(StrEnum):
    """The two sides of a comparison."""

    #: The release that serves today and is known to be good.
    STABLE = "stable"
    #: The release that is being metered in.
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Identity:
    """How a gateway recognises a user.

    Attributes:
        header: request header with the user's id, lower case; it wins.
        cookie: cookie with the user's id; minted for who carries neither.
        use_address: take the client's address instead of minting (one office then is one user).
    """

    header: str = "x-user-id"
    cookie: str = "penstock_uid"
    use_address: bool = False

    def user_in(self, headers: Mapping[str, str]) -> str | None:
        """Return the id that a request carries, or None; `headers` has lower-case names."""
        if user := headers.get(self.header, "").strip(" \t"):
            return user
        # The last cookie of that name wins, as the gateway's greedy pattern takes it.
        value = rf"(?:.*;[ \t]*)?{re.escape(self.cookie)}=[ \t]*([^;]*[^; \t])[ \t]*(?:;.*)?"
        found = re.fullmatch(value, headers.get("cookie", ""))
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """One service as its gateways must serve it.

    Attributes:
        service: name.
        generation: grows with every table of this service; gateways acknowledge it.
        listen: `host:port` on which clients reach the service.
        stable: gets all traffic that the canary does not.
        canary: the release being metered in, or None.
        warm: an earlier release whose servers are kept ready, so that going back is one push.
        weight: the canary's share in hundredths of a percent, 0..10000; held on a lease.
        salt: makes the split of this rollout independent of every other.
        overrides: whether header and cookie may reach the canary.
        identity: how users are recognised.
        request_timeout_s: a whole answer must have been given by then.
        repeatable: `METHOD /path` patterns that may be sent twice (retries, replays); `*` matches the rest.
        reserve: servers that are to become the canary's, or were, and serve what stable serves.
    """

    service: str
    generation: int
    listen: str
    stable: Release
    canary: Release | None = None
    warm: Release | None = None
    weight: int = 0
    salt: str = ""
    overrides: bool = False
    identity: Identity = Identity()
    request_timeout_s: float = 300.0
    repeatable: tuple[str, ...] = ()
    reserve: tuple[Endpoint, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= TOTAL:
            raise ValueError(f"weight {self.weight} is outside 0..{TOTAL}")
        if self.canary is None and (self.weight or self.overrides):
            raise ValueError("a weight or an override without a canary")

    @property
    def split_inside(self) -> bool:
        """Whether the same processes serve both arms: the gateway then marks every request with its arm."""
        return self.canary is not None and self.canary.shares_servers(self.stable)

    def stand_in(self, release: Release) -> Release | None:
        """Return whose servers answer when none of a release's own is healthy.

        Stable always stands in for the canary. The canary stands in for stable while anybody may reach it. Nobody may while
        its servers do not serve what they should, or where it is being rolled back; those that serve what stable serves are
        a reserve then. Where the same processes serve both, there is nobody else to stand in.
        """
        if self.canary is None or self.split_inside or release not in (self.stable, self.canary):
            return None
        if release == self.canary:
            return self.stable
        if self.overrides or self.weight:
            return self.canary
        return replace(self.stable, endpoints=self.reserve) if self.reserve else None

    def release_of(self, arm: ArmName) -> Release:
        return self.canary if arm is ArmName.CANARY and self.canary else self.stable


def predicted_arm(table: RouteTable, headers: Mapping[str, str]) -> ArmName | None:
    """Return the arm a gateway will choose for a request with these headers (lower-case names).

    None where it cannot be known beforehand: a request without an identity is given a minted one on arrival.
    """
    if table.canary is None:
        return ArmName.STABLE
    wanted = headers.get(OVERRIDE_HEADER)
    if wanted == ArmName.STABLE:
        return ArmName.STABLE
    if table.overrides and (wanted == ArmName.CANARY or _has_override_cookie(headers)):
        return ArmName.CANARY
    if table.weight in (0, TOTAL):
        return ArmName.CANARY if table.weight else ArmName.STABLE
    user = table.identity.user_in(headers)
    if user is None:
        return None
    return ArmName.CANARY if bucket_of(table.salt, user) < table.weight else ArmName.STABLE


def _has_override_cookie(headers: Mapping[str, str]) -> bool:
    name, value = OVERRIDE_COOKIE
    return any(pair.strip() == f"{name}={value}" for pair in headers.get("cookie", "").split(";"))
