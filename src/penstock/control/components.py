"""Releasing components of a service whose servers switch versions in place."""

from collections.abc import Mapping, Sequence

from penstock.kernel.errors import (
    InvalidSemVer,
    NotFoundError,
    NotSwappable,
    UnknownComponent,
    UsageError,
    VersionTaken,
)
from penstock.kernel.semver import SemVer
from penstock.registry.release import Endpoint, Release, part_name, set_name
from penstock.rollout.state import ServiceState


def canary_in_place(state: ServiceState, wanted: Mapping[str, str], nodes: Sequence[Endpoint]) -> Release:
    """Return stable's set with other versions of these components (component -> version), as the next release.

    It is served by `nodes`, else by half of stable's servers; a lone server serves both. Raises NotSwappable,
    UnknownComponent, VersionTaken, and NotFoundError or UsageError for servers that it cannot be.
    """
    stable = state.stable
    if not stable.swapped:
        raise NotSwappable(service=state.service)
    for component, version in wanted.items():
        if component not in stable.versions:
            raise UnknownComponent(service=state.service, component=component, known=", ".join(stable.versions))
        if _is_same(stable.versions[component], version):
            raise VersionTaken(service=state.service, version=part_name(component, version), what="stable")
    versions = {**stable.versions, **wanted}
    return Release(
        state.service, state.n_releases + 1, set_name(wanted), versions, _servers(stable, nodes), swapped=True
    )


def _is_same(one: str, other: str) -> bool:
    """Whether two spellings mean one version: `1.3.0` and `v1.3.0` do."""
    try:
        return SemVer.parse(one) == SemVer.parse(other)
    except InvalidSemVer:
        return one == other


def _servers(stable: Release, nodes: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    if not nodes:
        return stable.endpoints[: max(1, len(stable.endpoints) // 2)]
    known = ", ".join(endpoint.url for endpoint in stable.endpoints)
    for node in nodes:
        if node not in stable.endpoints:
            raise NotFoundError(detail=f"{node.url} is no server of {stable.service}; its servers: {known}.")
    if len(stable.endpoints) > 1 and set(nodes) == set(stable.endpoints):
        raise UsageError(detail=f"every server of {stable.service} would switch; leave stable at least one of {known}.")
    return tuple(dict.fromkeys(nodes))
