"""Names by which Envoy's resources, runtime keys and counters are found again."""

from penstock.registry.release import Release

#: Runtime keys of live weights begin so; those of overrides and sampling stand below.
WEIGHTS = "penstock"
#: The one runtime layer that the control plane leases.
LEASE_LAYER = "lease"
#: Where mirrored requests go.
RECORDER = "penstock-recorder"
RECORDER_SOCKET = "recorder.sock"
SERVICE_HEADER = "x-penstock-service"
#: Written by the listener before routing, so that the first request already follows the cookie it is given.
MINT_HEADER = "x-penstock-mint"
#: Metadata of every endpoint: its pod and its release.
METADATA = "penstock"


def cluster_name(release: Release) -> str:
    """Return `<service>/<number>`: one cluster per release, so that counters of successive releases never mix."""
    return f"{release.service}/{release.number}"


def weight_prefix(canary: Release) -> str:
    """Return the prefix of a split's weights: keys of one pair of releases never meet another pair's routes."""
    return f"{WEIGHTS}.{cluster_name(canary)}"


def weight_key(canary: Release, release: Release) -> str:
    return f"{weight_prefix(canary)}.{cluster_name(release)}"


def override_key(release: Release) -> str:
    return f"override.{cluster_name(release)}"


def mirror_key(service: str) -> str:
    return f"mirror.{service}"
