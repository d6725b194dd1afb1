"""Which versions fit each other, what speaks against a set, and the nearest set against which nothing does."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from penstock.registry.version import Version


def conflicts(versions: Mapping[str, Version]) -> tuple[str, ...]:
    """Return what speaks against serving these versions (component -> version) together, each in words."""
    absent = (
        f"{version.name} needs {other} {wanted}, and there is no {other}"
        for version in versions.values()
        for other, wanted in version.metadata.requires.items()
        if other not in versions
    )
    pairs = combinations(sorted(versions.values(), key=lambda v: v.component), 2)
    return (*absent, *(words for one, other in pairs for words in between(one, other)))


def between(one: Version, other: Version) -> Iterator[str]:
    """Yield what speaks against serving two versions of different components together."""
    yield from _declared(one, other)
    yield from _declared(other, one)
    ours, theirs = one.metadata.mel, other.metadata.mel
    if ours is not None and theirs is not None and ours != theirs:
        differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        values = ", ".join(f"{name} {ours.get(name)} against {theirs.get(name)}" for name in differing)
        yield f"{one.name} and {other.name} are made for different mel spectrograms ({values})"


def _declared(version: Version, other: Version) -> Iterator[str]:
    wanted = version.metadata.requires.get(other.component)
    if wanted is not None and not wanted.allows(other.version):
        yield f"{version.name} needs {other.component} {wanted}, not {other.version}"
    partner = version.metadata.trained_with.get(other.component)
    if partner is not None and partner != other.version:
        yield f"{version.name} was trained jointly with {other.component} {partner}, not {other.version}"


def nearest_set(
    current: Mapping[str, Version], wanted: Mapping[str, Version], pool: Mapping[str, Sequence[Version]]
) -> dict[str, Version] | None:
    """Return a set with the wanted versions in it that fits, and changes as few other components as can be; else None.

    `pool`: component -> versions that may be taken instead of the current one, the best first.
    """
    others = [component for component in {**pool, **current} if component not in wanted]
    for n_changed in range(len(others) + 1):
        for changed in combinations(others, n_changed):
            kept = {c: v for c, v in current.items() if c not in changed}
            if (found := _completed({**kept, **wanted}, changed, pool)) is not None:
                return found
    return None


def _completed(
    chosen: dict[str, Version], open_: Sequence[str], pool: Mapping[str, Sequence[Version]]
) -> dict[str, Version] | None:
    """Choose versions for the open components, so that all fit; what is chosen must fit already, but for what is absent."""
    if not open_:
        return None if conflicts(chosen) else chosen
    if any(True for one, other in combinations(chosen.values(), 2) for _ in between(one, other)):
        return None
    component, *rest = open_
    for version in pool.get(component, ()):
        if (found := _completed({**chosen, component: version}, rest, pool)) is not None:
            return found
    return None
