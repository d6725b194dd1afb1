"""Splitting traffic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from penstock.routing.table import RouteTable


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One gateway process.

    Attributes:
        id: its name.
        generation: the newest generation of the service that it acknowledged; -1 before the first.
        live: whether it is connected now.
    """

    id: str
    generation: int
    live: bool


class Gateway(Protocol):
    """A fleet of gateway processes that serve route tables.

    Laws:
    - `apply` returns when every live node acknowledged the table's generation and what is in force was read back. It
      raises GatewayRefused when a node refuses (the old table stays in force) and GatewaySilent when one does not answer.
    - Applying the same table twice changes nothing. A change of the weight alone is one push.
    - Traffic never meets a cluster that was not acknowledged first; a cluster goes only after its traffic has.
    - The canary's weight and the overrides are held on a lease: `renew_lease` must be called again within the lease
      time, else every node returns the canary's traffic to stable by itself, also when this process is dead.
    - A node that starts again gets the newest tables by itself.
    - Where none of a release's servers is healthy, those answer that `RouteTable.stand_in` names.
    """

    async def start(self, tables: tuple[RouteTable, ...]) -> None:
        """Begin to serve these tables. A fleet that already runs is taken over and never sees an empty one."""
        ...

    async def apply(self, table: RouteTable) -> None: ...

    async def renew_lease(self) -> None:
        """Let canaries keep their traffic for another lease time."""
        ...

    def nodes(self, service: str) -> tuple[NodeStatus, ...]:
        """Return every node that ever connected and was not removed, sorted by id."""
        ...

    async def fetch_health(self) -> Mapping[str, bool]:
        """Return endpoint `host:port` -> whether the gateway may send to it; unknown endpoints are absent."""
        ...

    async def sample(self, service: str, share: float) -> None:
        """Mirror this share (0..1) of the service's requests to the recorder, without making clients wait."""
        ...
