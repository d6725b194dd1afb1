"""Switching model versions inside running servers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from penstock.registry.release import Endpoint


@dataclass(frozen=True, slots=True)
class Serving:
    """What one server has in memory, as it said itself.

    Attributes:
        versions: component -> the version that serves.
        canary: component -> version for requests of the canary's arm, or None when it does not split.
        release: what the control plane called the serving set; None when nobody told it.
        ready: component -> versions that could serve at once, the serving one among them.
        prepared: component -> those of `ready` that stay in memory until they serve or are given up.
        attached_to: the control plane to which it forwards rollbacks, or None.
    """

    versions: Mapping[str, str]
    canary: Mapping[str, str] | None = None
    release: str | None = None
    ready: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prepared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attached_to: str | None = None


class ModelServer(Protocol):
    """A fleet of servers of one kind, each reached by its endpoint.

    Laws:
    - `observe` never changes anything. It raises EndpointUnreachable for a server that does not answer.
    - `prepare` returns once every named version could serve at once; what serves is untouched, also when it fails. It may
      take as long as a load takes; asking again is free. Raises SwapRefused with the server's reason.
    - `switch` is atomic for all components and never loads: a version that is not ready is refused (SwapRefused) and
      nothing has changed. Requests under way end on the versions they began with. Repeating it changes nothing.
    - `split` gives the named set to the requests that the gateway marked as the canary's, and only to those; None ends it.
    - `give_up` frees what was prepared and is no longer wanted. A version that serves is refused (SwapRefused), one that is
      not in memory is no mistake.
    - What `switch` or `split` returned is read back from the server, never assumed.
    """

    async def observe(self, endpoint: Endpoint, *, timeout_s: float) -> Serving:
        """Ask a server what it has in memory."""
        ...

    async def prepare(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        """Load, warm up and check versions beside what serves."""
        ...

    async def switch(
        self, endpoint: Endpoint, versions: Mapping[str, str], *, release: str, timeout_s: float
    ) -> Serving:
        """Serve these versions of these components; the others stay."""
        ...

    async def split(
        self, endpoint: Endpoint, versions: Mapping[str, str] | None, *, release: str, timeout_s: float
    ) -> Serving:
        """Serve the canary's requests with these versions, everybody else with what serves; None: everybody."""
        ...

    async def give_up(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        """Let go of versions that were prepared and do not serve."""
        ...

    async def attach(self, endpoint: Endpoint, *, control_plane: str | None, service: str, timeout_s: float) -> None:
        """Tell a server which control plane decides for it, so that it forwards rollbacks; None: nobody does."""
        ...
