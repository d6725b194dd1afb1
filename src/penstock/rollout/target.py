"""Where a rollback goes: the last promoted release that is healthy, not quarantined, and not the one being left."""

from collections.abc import Iterator, Mapping, Sequence
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


def component_targets(state: ServiceState, component: str) -> list[Release]:
    """Return where a rollback of one component may lead, best first, all on the servers that serve now.

    First each earlier version of it with the other components as they are; then the promoted sets in which others differ
    too, for versions that do not fit alone. A set that was promoted as it is comes under its own number.
    """
    alone = [with_version(state, component, version) for version in earlier_versions(state, component)]
    known = [release.versions for release in alone]
    together = []
    for release in reversed(state.promoted):
        differs = release.versions.get(component) not in (None, state.stable.versions[component])
        if differs and release.versions not in known:
            known.append(release.versions)
            together.append(replace(release, endpoints=state.stable.endpoints))
    return [*alone, *together]


def component_candidates(
    state: ServiceState, targets: Sequence[Release], objections: Sequence[str | None], *, answers: bool
) -> list[Candidate]:
    """Return `component_targets` with what speaks against each, what can be chosen before what cannot.

    `objections`: what the registry has against each; `answers`: whether the servers, which all share, do.
    """
    ranked = []
    for release, objection in zip(targets, objections, strict=True):
        against = objection or _against(state, release, {release.number: answers})
        ranked.append(Candidate(release, against))
    return sorted(ranked, key=lambda candidate: candidate.against is not None)


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
