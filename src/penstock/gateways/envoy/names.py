"""The names that resources, counters and headers go by. Telemetry and the recorder read some of them."""

from penstock.registry.release import Release
from penstock.routing.table import RouteTable

#: Headers of ours on a request inside Envoy. Clients cannot set them: they are overwritten before routing.
MINT_HEADER = "x-penstock-mint"
CALL_HEADER = "x-penstock-call"
#: Tells the recorder which service a mirrored request was meant for; real requests never carry it.
SERVICE_HEADER = "x-penstock-service"

#: The one runtime layer that the control plane writes, and that expires without it.
LEASE = "lease"
RECORDER = "penstock-recorder"
#: Where an endpoint keeps what answers and counters say about it.
METADATA = "penstock"


def cluster_of(release: Release) -> str:
    """Counters carry this name as their arm."""
    return f"{release.service}/{release.number}"


def weights_key(table: RouteTable) -> str:
    """Weights of one pair of releases: no other pair can read them, so that a sum of 0 cannot arise in between."""
    return f"weights.{_pair(table)}"


def override_key(table: RouteTable) -> str:
    return f"override.{_pair(table)}"


def mirror_key(service: str) -> str:
    return f"mirror.{service}"


def _pair(table: RouteTable) -> str:
    canary = table.canary.number if table.canary else 0
    return f"{table.service}.{table.stable.number}-{canary}"
