"""Reading what the gateways counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from penstock.judge.counts import PodCounts


@dataclass(frozen=True, slots=True)
class ServiceReading:
    """What one service's gateways counted since the reading before.

    Attributes:
        counts: one entry per release and pod that answered; overridden requests are not among them.
        n_requests: users' requests, all arms.
        n_anonymous: of these: carried no identity.
        n_overridden: requests that header or cookie sent to an arm.
    """

    counts: tuple[PodCounts, ...] = ()
    n_requests: int = 0
    n_anonymous: int = 0
    n_overridden: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Increments since the last successful reading.

    Attributes:
        by_service: service -> reading; a service without traffic is absent.
        complete: False when counters were lost since the last reading (a gateway restarted).
    """

    by_service: Mapping[str, ServiceReading] = field(default_factory=dict)
    complete: bool = True


class Telemetry(Protocol):
    """Cumulative counters, turned into increments.

    Laws: the first reading after start or reset only sets the baseline for counters that existed before; a counter that
    fell was reset, and its new value is the increment; a failed reading raises TelemetryUnavailable and loses nothing:
    the next one covers both. The cost does not grow with the request rate.
    """

    async def read(self) -> Reading: ...
