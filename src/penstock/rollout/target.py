"""Where a rollback goes: the last promoted release that is healthy, not quarantined, and not the one being left."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from penstock.kernel.errors import NothingToRollBack, Quarantined, UnknownRelease
from penstock.registry.release import Release, part_name
from penstock.rollout.state import ServiceState


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release a rollback could go to, and what speaks against it.

    Attributes:
        release: it was promoted once.
        against: why it cannot be chosen, or None.
    """

    release: Release
    against: str | None


def rollback_candidates(state: ServiceState, healthy: Mapping[int, bool]) -> list[Candidate]:
    """Return every earlier release, best first. `healthy`: release number -> an endpoint answers; absent = unknown."""
    seen: set[int] = set()
    ranked = []
    for release in reversed(state.promoted):
        if release.number in seen or (release.number == state.stable.number and state.canary is None):
            continue
        seen.add(release.number)
        ranked.append(Candidate(release, _against(state, release, healthy)))
    return ranked


def named_target(state: ServiceState, name: str) -> Release:
    """Return the newest promoted release of that name. Raises UnknownRelease, Quarantined."""
    for release in reversed(state.promoted):
        if release.name == name:
            if why := state.why_quarantined(release):
                raise Quarantined(service=state.service, version=name, why=why)
            return release
    known = ", ".join(dict.fromkeys(r.name for r in reversed(state.promoted)))
    raise UnknownRelease(service=state.service, release=name, known=known)


def choose_rollback_target(state: ServiceState, healthy: Mapping[int, bool]) -> Release:
    """Return the best candidate. Raises NothingToRollBack, saying what speaks against each."""
    candidates = rollback_candidates(state, healthy)
    for candidate in candidates:
        if candidate.against is None:
            return candidate.release
    why = "; ".join(f"{c.release.name} {c.against}" for c in candidates) or "it is the first one"
    raise NothingToRollBack(service=state.service, why=why)


def component_candidates(
    state: ServiceState, component: str, healthy: Mapping[int, bool], objections: Mapping[str, str]
) -> list[Candidate]:
    """Return the present release with each earlier version of one component, best first: the others stay as they are.

    A set that was promoted as it is comes under its own number, any other one as a new release. `objections`: version ->
    why the registry speaks against it. `healthy` is as in `rollback_candidates`; all sets are served by the same servers.
    """
    present = state.stable
    stands = healthy.get(present.number)
    ranked = []
    for version in earlier_versions(state, component):
        release = with_version(state, component, version)
        against = objections.get(version) or _against(state, release, {release.number: stands is not False})
        ranked.append(Candidate(release, against))
    return ranked


def with_version(state: ServiceState, component: str, version: str) -> Release:
    """Return the present release with another version of one component, on the servers that serve now."""
    versions = {**state.stable.versions, component: version}
    for release in reversed(state.promoted):
        if release.versions == versions:
            return replace(release, endpoints=state.stable.endpoints)
    number, name = state.n_releases + 1, part_name(component, version)
    return replace(state.stable, number=number, name=name, versions=versions, digest=None)


def earlier_versions(state: ServiceState, component: str) -> Iterator[str]:
    """Yield the other versions that a component had in promoted releases, the newest first."""
    seen = {state.stable.versions[component]}
    for release in reversed(state.promoted):
        version = release.versions.get(component)
        if version is not None and version not in seen:
            seen.add(version)
            yield version


def _against(state: ServiceState, release: Release, healthy: Mapping[int, bool]) -> str | None:
    if why := state.why_quarantined(release):
        return f"is quarantined ({why})"
    if healthy.get(release.number) is False:
        return "does not answer"
    return None
