"""What every server of a service must have in memory. Only servers that switch versions in place are asked for anything."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from penstock.registry.release import Endpoint, Release
from penstock.rollout.decide import stage_of
from penstock.rollout.phases import Phase
from penstock.rollout.state import ServiceState


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one server must serve.

    Attributes:
        release: what the serving set is called.
        versions: component -> version.
        canary: the set for requests of the canary's arm, where one process serves both; else None.
        canary_release: what that set is called.
        ahead: component -> version that it will need soon, to be loaded beside.
    """

    release: str
    versions: Mapping[str, str]
    canary: Mapping[str, str] | None = None
    canary_release: str | None = None
    ahead: Mapping[str, str] = field(default_factory=dict)


def wanted(state: ServiceState) -> dict[Endpoint, Wanted]:
    """Return what each server must serve in this state; one whose server cannot switch is absent."""
    return dict(_wanted(state))


def _wanted(state: ServiceState) -> Iterator[tuple[Endpoint, Wanted]]:
    stable, canary = state.stable, state.canary
    if canary is not None and canary.swapped and not state.split_inside:
        back = state.in_place and state.phase is Phase.ROLLING_BACK
        served = stable if back else canary
        yield from ((endpoint, Wanted(served.name, served.versions)) for endpoint in canary.endpoints)
    if not stable.swapped:
        return
    inside = canary if state.split_inside and state.phase is not Phase.ROLLING_BACK else None
    rest = state.in_place and inside is None and state.phase is not Phase.ROLLING_BACK
    ahead = canary if rest and stage_of(state) is Phase.BAKING else None  # also while it is held or withdrawn there
    for endpoint in stable.endpoints:
        yield (
            endpoint,
            Wanted(
                stable.name,
                stable.versions,
                canary=inside.versions if inside else None,
                canary_release=inside.name if inside else None,
                ahead=changed(stable, ahead) if ahead else {},
            ),
        )


def changed(before: Release, after: Release) -> dict[str, str]:
    """Return component -> version of what `after` has and `before` has not."""
    return {c: v for c, v in after.versions.items() if before.versions.get(c) != v}
