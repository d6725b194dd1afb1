"""Making a history of versions that served before Penstock came: in which order, and in which sets, they became stable.

What serves already, and what is new: both come in. Versions become stable one after the other as they were created; what does
not fit what serves then waits for the next ones, and goes along with the first that it fits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

from penstock.registry.compatibility import conflicts, nearest_set
from penstock.registry.stage import Stage
from penstock.registry.version import Version

#: So many versions of a component wait for others that they fit. Source: a choice; what was trained jointly is of one time.
N_WAITING = 5

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Course:
    """How versions that are said to be stable enter the history of a service.

    Attributes:
        releases: what is promoted, one after the other: component -> version, of the components that change.
        earlier: stable, but older than what serves of their component; they are never promoted.
        unfit: (version, what speaks against it): it never fitted what served when its turn came.
    """

    releases: tuple[Mapping[str, Version], ...]
    earlier: tuple[Version, ...]
    unfit: tuple[tuple[Version, str], ...]


def is_untouched(version: Version) -> bool:
    """Whether nothing has happened to a version since it was registered."""
    return version.stage is Stage.REGISTERED and version.staged_at in {None, version.registered_at}


def course_of(serving: Mapping[str, Version], stable: Iterable[Version]) -> Course:
    """Return how versions that are said to be stable follow what serves (component -> version).

    A component's versions follow each other by when they were created, then by number; where one of them does not say when, by
    number. Those to which something has happened have had their turn, and only say where the others stand. So a course that
    was cut short goes on as it would have.
    """
    earlier: list[Version] = []
    later: list[tuple[datetime, Version]] = []
    for component, versions in _by_component(stable).items():
        ordered = _ordered(versions, serving.get(component))
        numbers = [version.version for _, version in ordered]
        n_past = numbers.index(serving[component].version) + 1 if component in serving else 0
        earlier += [version for _, version in ordered[:n_past] if is_untouched(version)]
        later += [(at, version) for at, version in ordered[n_past:] if is_untouched(version)]
    later.sort(key=lambda timed: (timed[0], timed[1].version.key, timed[1].component))
    releases, unfit = _sequence(serving, [version for _, version in later])
    return Course(tuple(releases), tuple(earlier), tuple(unfit))


def _by_component(versions: Iterable[Version]) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        found[version.component].append(version)
    return found


def _ordered(versions: Sequence[Version], serving: Version | None) -> list[tuple[datetime, Version]]:
    """Return one component's versions, what serves among them, in the order of their lives, with times that never fall."""
    others = [v for v in versions if serving is None or v.version != serving.version]
    every = [*others, *([serving] if serving else [])]
    says_when = all(version.metadata.created for version in every)
    every.sort(key=lambda v: (_created(v) if says_when else _LONG_AGO, v.version.key))
    return list(zip(accumulate(map(_created, every), max), every, strict=True))


def _created(version: Version) -> datetime:
    return version.metadata.created or _LONG_AGO


def _sequence(
    serving: Mapping[str, Version], following: Sequence[Version]
) -> tuple[list[dict[str, Version]], list[tuple[Version, str]]]:
    now = dict(serving)
    waiting: list[Version] = []
    releases: list[dict[str, Version]] = []
    unfit: list[tuple[Version, str]] = []

    def give_up(given_up: Iterable[Version]) -> None:
        for version in list(given_up):
            waiting.remove(version)
            unfit.append((version, "; ".join(conflicts({**now, version.component: version}))))

    for version in following:
        waiting.append(version)
        while step := _next_release(now, waiting):
            give_up(_passed_over(waiting, step))
            waiting = [w for w in waiting if step.get(w.component) is not w]
            now |= step
            releases.append(step)
        give_up([w for w in waiting if w.component == version.component][:-N_WAITING])
    give_up(waiting)
    return releases, unfit


def _next_release(now: Mapping[str, Version], waiting: Sequence[Version]) -> dict[str, Version]:
    """Return what can be promoted next: a version alone, else the smallest set of those that wait; empty: nothing."""
    for version in waiting:
        if not conflicts({**now, version.component: version}):
            return {version.component: version}
    pool = _by_component(waiting)
    for version in waiting:
        if together := nearest_set(now, {version.component: version}, pool):
            return {component: v for component, v in together.items() if now.get(component) is not v}
    return {}


def _passed_over(waiting: Sequence[Version], step: Mapping[str, Version]) -> Iterator[Version]:
    """Yield what waited longer than a version of its component that goes now: its turn will not come."""
    left = dict(step)
    for version in waiting:
        if left.get(version.component) is version:
            del left[version.component]
        elif version.component in left:
            yield version
