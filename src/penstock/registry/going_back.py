"""Where a rollback of a component goes: what could serve instead, ranked, with reasons for and against.

First the last promoted version that fits what stays; then the nearest set that fits, in which other components go along;
then what cannot be chosen, and why. Everything comes in; nothing is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.kernel.errors import NothingToRollBack
from penstock.registry.compatibility import conflicts, nearest_set
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.version import Version


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set that a rollback could go to.

    Attributes:
        versions: component -> version, of every component.
        changes: the part of it that differs from what serves.
        number: of the promotion that the guilty component's version, or the whole set, was last part of; None: of none.
        why: what is known about it, in words.
        against: why it cannot be chosen; empty where it can.
    """

    versions: Mapping[str, str]
    changes: Mapping[str, str]
    number: int | None
    why: tuple[str, ...]
    against: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The candidate as `penstock rollback --dry-run -o json` prints it."""
        return {
            "versions": dict(self.versions),
            "changes": dict(self.changes),
            "number": self.number,
            "why": list(self.why),
            "against": list(self.against),
        }


def rollback_candidates(history: History, guilty: str | None = None) -> list[Candidate]:
    """Return what could serve instead of the guilty component's version (None: of the whole release), best first."""
    return _ranked(_found_in(history, guilty), guilty)


def choose_going_back(history: History, guilty: str | None = None) -> Candidate:
    """Return the best candidate. Raises NothingToRollBack, saying what speaks against each."""
    seen = []
    for candidate in _found_in(history, guilty):
        if not candidate.against and (guilty is None or len(candidate.changes) == 1):
            return candidate  # nothing that follows ranks before it
        seen.append(candidate)
    if seen and not (best := _ranked(seen, guilty)[0]).against:
        return best
    why = "; ".join(dict.fromkeys(reason for candidate in seen for reason in candidate.against))
    what = f"{guilty} never had another version" if guilty and history.promotions else "nothing was promoted before"
    raise NothingToRollBack(service=history.service, why=why or what)


def _ranked(candidates: Iterable[Candidate], guilty: str | None) -> list[Candidate]:
    """What can be chosen first; among it, for one component, what changes the fewest; then the last promoted."""
    return sorted(candidates, key=lambda c: (bool(c.against), guilty is not None and len(c.changes)))


def _found_in(history: History, guilty: str | None) -> Iterator[Candidate]:
    if not history.promotions:
        return iter(())
    return _whole(history) if guilty is None else _of_component(history, guilty)


def _whole(history: History) -> Iterator[Candidate]:
    now, *earlier = history.promotions
    seen = [now.versions]
    for promotion in earlier:
        if promotion.versions in seen:
            continue
        seen.append(promotion.versions)
        versions = history.set_of(promotion)
        flaws = [f"{v.name} {flaw}" for v in versions.values() if (flaw := v.why_unusable)]
        flaws += [f"release {promotion.number} {_found(promotion)}"] if promotion.unhealthy else []
        yield _candidate(history, versions, promotion, against=(*flaws, *conflicts(versions)))


def _of_component(history: History, guilty: str) -> Iterator[Candidate]:
    serving = history.serving
    for name in _other_versions(history, guilty):
        version = history.versions[guilty, name]
        promotion = next((p for p in history.promotions if p.versions.get(guilty) == name), None)
        alone = {**serving, guilty: version}
        flaws, misfits = tuple(_flaws(history, version)), conflicts(alone)
        yield _candidate(history, alone, promotion, against=(*flaws, *misfits))
        if misfits and not flaws and (together := nearest_set(serving, {guilty: version}, _pool(history, promotion))):
            yield _candidate(history, together, promotion, because=misfits)


def _other_versions(history: History, guilty: str) -> list[str]:
    """Versions the component had, the last promoted first; then stable ones below that never served."""
    now = history.serving.get(guilty)
    if now is None:
        return []
    promoted = dict.fromkeys(p.versions[guilty] for p in history.promotions if guilty in p.versions)
    below = [v for v in history.usable(guilty) if v.version < now.version and str(v.version) not in promoted]
    return [name for name in (*promoted, *(str(v.version) for v in below)) if name != str(now.version)]


def _flaws(history: History, version: Version) -> Iterator[str]:
    if flaw := version.why_unusable:
        yield f"{version.name} {flaw}"
    releases = [p for p in history.promotions if p.versions.get(version.component) == str(version.version)]
    if releases and all(p.unhealthy for p in releases):
        yield f"release {releases[0].number} with {version.name} {_found(releases[0])}"


def _found(promotion: Promotion) -> str:
    return f"was found unhealthy ({promotion.unhealthy})"


def _pool(history: History, promotion: Promotion | None) -> dict[str, list[Version]]:
    """What may go along: of each component first the version that served with the wanted one."""
    components = {component for component, _ in history.versions}
    partners = promotion.versions if promotion else {}
    return {c: sorted(history.usable(c), key=lambda v: str(v.version) != partners.get(v.component)) for c in components}


def _candidate(
    history: History,
    versions: Mapping[str, Version],
    promotion: Promotion | None,
    *,
    against: tuple[str, ...] = (),
    because: tuple[str, ...] = (),
) -> Candidate:
    serving = {component: str(v.version) for component, v in history.serving.items()}
    names = {component: str(versions[component].version) for component in sorted(versions)}
    changes = {component: name for component, name in names.items() if serving.get(component) != name}
    together = (
        (f"{' and '.join(versions[c].name for c in changes)} go together: {'; '.join(because)}",) if because else ()
    )
    known = (words for component in changes for words in _known_of(versions[component]))
    return Candidate(
        names, changes, promotion.number if promotion else None, (*together, _when(promotion), *known), against
    )


def _when(promotion: Promotion | None) -> str:
    if promotion is None:
        return "stable, but it never served here"
    return f"release {promotion.number}, promoted {promotion.at:%Y-%m-%d %H:%M} UTC by {promotion.actor}: {promotion.reason}"


def _known_of(version: Version) -> Iterator[str]:
    """What helps to choose: when it was trained, how good it is, whose it is, what was changed."""
    metadata = version.metadata
    if metadata.created:
        yield f"{version.name} was created {metadata.created:%Y-%m-%d}"
    if metadata.metrics:
        yield ", ".join(f"{name} {metric.value:g} ({metric.unit})" for name, metric in metadata.metrics.items())
    if metadata.owner:
        yield f"owned by {metadata.owner}"
    if metadata.change_note:
        yield metadata.change_note
