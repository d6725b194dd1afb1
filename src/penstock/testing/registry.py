"""The registry of versions in memory: the laws of ports/registry.py, without a disk."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Any

from penstock.kernel.chain import GENESIS, canonical_json, entry_hash
from penstock.kernel.errors import (
    NothingSelected,
    PenstockError,
    RegistryDamaged,
    RegistryUnwritable,
    UnknownVersion,
    VersionInUse,
)
from penstock.kernel.semver import SemVer
from penstock.ports.registry import Imported
from penstock.registry import exchange
from penstock.registry.change import Change, ChangeKind
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query, words_of
from penstock.registry.reference import Ref, Word, checked_alias
from penstock.registry.rules import check_fit, check_free, check_present, check_unused, check_usable
from penstock.registry.stage import Stage
from penstock.registry.version import Version

_Part = tuple[str, str]
_NO_FACTS: Mapping[str, Any] = MappingProxyType({})


@dataclass
class Shelf:
    """What several MemoryRegistries share, as processes share a file.

    Attributes:
        versions: (service, component) -> key of precedence -> version.
        promotions: service -> oldest first.
        aliases: (service, component) -> alias -> key of precedence.
        changes: oldest first.
        unwritable: set to a sentence, and every change fails with it; None heals.
    """

    versions: dict[_Part, dict[str, Version]] = field(default_factory=dict)
    promotions: dict[str, list[Promotion]] = field(default_factory=dict)
    aliases: dict[_Part, dict[str, str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    unwritable: str | None = None


class MemoryRegistry:
    """A registry in memory; pass a shelf to open the same registry again."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()

    def register(self, version: Version, *, actor: str, reason: str) -> Version:
        self._check_writable()
        version = Version.from_json(json.loads(canonical_json(version.as_json())))
        there = self.shelf.versions.setdefault((version.service, version.component), {})
        if (taken := there.get(version.version.key)) is not None:
            check_free(version, taken)
            return taken
        there[version.version.key] = version
        facts = {"stage": version.stage.value, "digest": version.digest}
        self._note(version, ChangeKind.REGISTERED, version.registered_at, actor, reason, facts)
        return version

    def version(self, service: str, component: str, version: str) -> Version:
        return self._known(service, component, SemVer.parse(version))

    def versions(self, query: Query) -> list[Version]:
        found = [v for part in sorted(self.shelf.versions) for v in self._highest_first(part) if _matches(v, query)]
        return found[query.offset :][: query.limit]

    def services(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for service, component in sorted(self.shelf.versions):
            if any(v.removed_at is None for v in self.shelf.versions[service, component].values()):
                found[service] = (*found.get(service, ()), component)
        return found

    def resolve(self, ref: Ref) -> Version:
        if isinstance(ref.selector, SemVer):
            return check_present(self._known(ref.service, ref.component, ref.selector))
        if (found := self._selected((ref.service, ref.component), ref.selector)) is None:
            raise NothingSelected(reference=str(ref), why="there is none")
        return check_present(found)

    def move(
        self, service: str, component: str, version: str, stage: Stage, *, at: datetime, actor: str, reason: str
    ) -> Version:
        before = check_present(self.version(service, component, version))
        if before.stage is stage:
            return before
        after = before.moved(stage, at=at.astimezone(UTC), actor=actor, reason=reason)
        facts = {"from": before.stage.value, "to": stage.value}
        return self._changed(after, ChangeKind.MOVED, at, actor, reason, facts)

    def promote(self, service: str, versions: Mapping[str, str], *, at: datetime, actor: str, reason: str) -> Promotion:
        wanted = {c: check_usable(self.version(service, c, v)) for c, v in versions.items()}
        full = check_fit(self.history(service, limit=20), wanted)
        names = {component: str(version.version) for component, version in full.items()}
        past = self.shelf.promotions.get(service, [])
        serves = bool(past) and past[-1].versions == names
        for version in wanted.values():
            if not serves or version.stage is not Stage.STABLE:
                self._make_stable(version, at, actor, reason)
        if serves:
            return past[-1]
        self._check_writable()
        promotion = Promotion(service, len(past) + 1, names, at.astimezone(UTC), actor, reason)
        self.shelf.promotions[service] = [*past, promotion]
        facts = {"number": promotion.number, "versions": names}
        self._append(service, "", ChangeKind.PROMOTED, at, actor, reason, facts)
        return promotion

    def judge(
        self, service: str, number: int, *, unhealthy: str | None, at: datetime, actor: str, reason: str
    ) -> Promotion:
        past = self.shelf.promotions.get(service, [])
        if not 1 <= number <= len(past):
            raise NothingSelected(reference=f"release {number} of {service}", why="it was never promoted")
        if past[number - 1].unhealthy != unhealthy:
            self._check_writable()
            past[number - 1] = replace(past[number - 1], unhealthy=unhealthy)
            facts = {"number": number, "unhealthy": unhealthy}
            self._append(service, "", ChangeKind.JUDGED, at, actor, reason, facts)
        return past[number - 1]

    def promotions(self, service: str, *, limit: int | None = None) -> list[Promotion]:
        return self.shelf.promotions.get(service, [])[::-1][:limit]

    def history(self, service: str, component: str | None = None, *, limit: int = 5) -> History:
        newest = self.promotions(service, limit=limit) if component is None else self._stays(service, component, limit)
        keys = {(c, SemVer.parse(v).key) for promotion in newest for c, v in promotion.versions.items()}
        if component is not None:
            stable = [v for v in self._highest_first((service, component)) if _is_present(v, Stage.STABLE)]
            keys |= {(component, v.version.key) for v in stable[:limit]}
        found = (self.shelf.versions[service, part][key] for part, key in keys)
        return History(service, tuple(newest), {(v.component, str(v.version)): v for v in found})

    def set_alias(
        self, service: str, component: str, alias: str, version: str, *, at: datetime, actor: str, reason: str
    ) -> None:
        checked_alias(alias)
        found = check_usable(self.version(service, component, version))
        set_ = self.shelf.aliases.setdefault((service, component), {})
        if set_.get(alias) != found.version.key:
            self._changed(replace(found, marked_at=None), ChangeKind.ALIASED, at, actor, reason, {"alias": alias})
            set_[alias] = found.version.key

    def delete_alias(self, service: str, component: str, alias: str, *, at: datetime, actor: str, reason: str) -> None:
        self._check_writable()
        if self.shelf.aliases.get((service, component), {}).pop(alias, None) is None:
            raise NothingSelected(reference=f"{service}/{component}@{alias}", why="no such alias was set")
        self._append(service, component, ChangeKind.UNALIASED, at, actor, reason, {"alias": alias})

    def aliases(self, service: str, component: str) -> dict[str, str]:
        names = [*Word, *self.shelf.aliases.get((service, component), {})]
        found = {str(name): self._selected((service, component), name) for name in names}
        return {name: str(version.version) for name, version in found.items() if version is not None}

    def mark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        before = check_present(self.version(service, component, version))
        if before.marked_at is not None:
            return before
        self._check_unused(before, "marked for deletion")
        return self._changed(replace(before, marked_at=at.astimezone(UTC)), ChangeKind.MARKED, at, actor, reason)

    def unmark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        before = check_present(self.version(service, component, version))
        self._check_writable()
        return self._put(replace(before, marked_at=None), at, actor, reason)

    def remove(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        before = self.version(service, component, version)
        if before.removed_at is not None:
            return before
        if before.marked_at is None:
            raise VersionInUse(name=before.reference, wanted="removed", why="it is not marked for deletion")
        self._check_unused(before, "removed")
        return self._changed(replace(before, removed_at=at.astimezone(UTC)), ChangeKind.REMOVED, at, actor, reason)

    def changes(
        self, *, service: str | None = None, component: str | None = None, after_seq: int = 0, limit: int | None = None
    ) -> list[Change]:
        wanted = (c for c in self.shelf.changes if c.seq > after_seq)
        wanted = (c for c in wanted if service in (None, c.service) and component in (None, c.component))
        return list(wanted)[:limit]

    def verify(self) -> int:
        previous = GENESIS
        for seq, change in enumerate(self.shelf.changes, 1):
            if change.seq != seq or entry_hash(previous, change.hashed_fields()) != change.hash:
                raise RegistryDamaged(path="memory", seq=seq, why="it was changed after it was written")
            previous = change.hash
        return len(self.shelf.changes)

    def export(self) -> Iterator[dict[str, Any]]:
        yield dict(exchange.HEADER)
        for there in self.shelf.versions.values():
            yield from (exchange.written(version) for version in there.values())
        for past in self.shelf.promotions.values():
            yield from (exchange.written(promotion) for promotion in past)
        for (service, component), set_ in self.shelf.aliases.items():
            for alias, key in set_.items():
                name = str(self.shelf.versions[service, component][key].version)
                yield exchange.written(exchange.Alias(service, component, alias, name))

    def import_(
        self,
        lines: Iterable[object],
        *,
        at: datetime,
        actor: str,
        reason: str,
        progress: Callable[[int], None] = lambda _n_lines: None,
    ) -> Imported:
        self._check_writable()
        outcomes: list[bool] = []
        conflicts: list[str] = []
        for number, raw in enumerate(lines, 1):
            try:
                canonical_json(raw)
                if (line := exchange.read(raw)) is not None:
                    outcomes.append(self._take_in(line))
            except (PenstockError, ValueError) as error:
                conflicts.append(f"line {number}: {str(error).rstrip('.')}")
            progress(number)
        if n_added := sum(outcomes):
            self._append("", "", ChangeKind.IMPORTED, at, actor, reason, {"n_added": n_added})
        return Imported(n_added, len(outcomes) - n_added, tuple(conflicts))

    def close(self) -> None: ...

    def _take_in(self, line: Version | Promotion | exchange.Alias) -> bool:
        """Return whether it brought something."""
        if isinstance(line, Version):
            there = self.shelf.versions.setdefault((line.service, line.component), {})
            taken = there.setdefault(line.version.key, line)
            if taken is not line and not taken.is_same_as(line):
                check_free(line, taken)
            return taken is line
        if isinstance(line, exchange.Alias):
            return self._take_in_alias(line)
        past = self.shelf.promotions.setdefault(line.service, [])
        for component, version in line.versions.items():
            self.version(line.service, component, version)
        if line.number > len(past) + 1:
            raise ValueError(f"release {line.number} of {line.service} does not follow release {len(past)}")
        if line.number == len(past) + 1:
            past.append(line)
            return True
        if past[line.number - 1].versions != line.versions:
            raise ValueError(f"release {line.number} of {line.service} has other versions here")
        return False

    def _take_in_alias(self, line: exchange.Alias) -> bool:
        key = self.version(line.service, line.component, line.version).version.key
        set_ = self.shelf.aliases.setdefault((line.service, line.component), {})
        there = set_.get(line.alias)
        if there not in (None, key):
            raise ValueError(f"the alias {line.alias} of {line.service}/{line.component} points elsewhere here")
        set_[line.alias] = key
        return there is None

    def _stays(self, service: str, component: str, limit: int) -> list[Promotion]:
        newest = self.promotions(service)
        ends = [
            earlier
            for later, earlier in pairwise(newest)
            if component in later.versions and later.versions[component] != earlier.versions.get(component)
        ]
        return [*newest[:1], *ends[:limit]]

    def _known(self, service: str, component: str, version: SemVer) -> Version:
        there = self.shelf.versions.get((service, component), {})
        if version.key not in there:
            known = [str(v.version) for v in self._highest_first((service, component)) if v.removed_at is None]
            name, shown = f"{service}/{component}", ", ".join(known[:5]) or "there are none"
            raise UnknownVersion(version=str(version), name=name, known=shown)
        return there[version.key]

    def _highest_first(self, part: _Part) -> list[Version]:
        there = self.shelf.versions.get(part, {})
        return [there[key] for key in sorted(there, reverse=True)]

    def _selected(self, part: _Part, selector: str) -> Version | None:
        there = self._highest_first(part)
        served = [name for p in self.promotions(part[0]) if (name := p.versions.get(part[1])) is not None]
        now = self.version(*part, served[0]) if served else None
        if selector in (Word.CHAMPION, Word.STABLE):
            return now
        if selector == Word.LATEST:
            return next((v for v in there if _is_present(v, Stage.STABLE)), None)
        if selector == Word.PREVIOUS:
            earlier = (v for name in served if (v := self.version(*part, name)) is not now and not v.why_unusable)
            below = (v for v in there if now and v.version < now.version and _is_present(v, Stage.STABLE))
            return next(chain(earlier, below), None)
        if (key := self.shelf.aliases.get(part, {}).get(selector)) is not None:
            return self.shelf.versions[part][key]
        above = (v for v in there if now is None or v.version > now.version)
        waiting = (v for v in above if _is_present(v, Stage.VERIFIED, Stage.CANARY))
        return next(waiting, None) if selector == Word.CHALLENGER else None

    def _make_stable(self, version: Version, at: datetime, actor: str, reason: str) -> None:
        utc = at.astimezone(UTC)
        self._check_writable()
        after = replace(version, marked_at=None)
        if version.stage is not Stage.STABLE:
            after = version.moved(Stage.STABLE, at=utc, actor=actor, reason=reason)
            facts = {"from": version.stage.value, "to": after.stage.value}
            self._note(version, ChangeKind.MOVED, at, actor, reason, facts)
        self._put(replace(after, promoted_at=utc), at, actor, reason)
        set_ = self.shelf.aliases.get((version.service, version.component), {})
        if set_.get(Word.CHALLENGER) == version.version.key:
            del set_[Word.CHALLENGER]

    def _check_unused(self, version: Version, wanted: str) -> None:
        part = version.service, version.component
        others = (v for v in self.shelf.versions[part].values() if v is not version and v.marked_at is None)
        now = self._selected(part, Word.CHAMPION)
        check_unused(
            version,
            serves=now is version,
            aliases=[alias for alias, key in self.shelf.aliases.get(part, {}).items() if key == version.version.key],
            n_stable_left=sum(_is_present(v, Stage.STABLE) for v in others),
            wanted=wanted,
        )

    def _put(self, version: Version, at: datetime, actor: str, reason: str) -> Version:
        there = self.shelf.versions[version.service, version.component]
        before = there[version.version.key]
        there[version.version.key] = version
        if before.marked_at is not None and version.marked_at is None:
            self._note(version, ChangeKind.UNMARKED, at, actor, reason, {})
        return version

    def _changed(
        self,
        version: Version,
        kind: ChangeKind,
        at: datetime,
        actor: str,
        reason: str,
        facts: Mapping[str, Any] = _NO_FACTS,
    ) -> Version:
        self._check_writable()
        self._note(version, kind, at, actor, reason, facts)
        return self._put(version, at, actor, reason)

    def _note(
        self, version: Version, kind: ChangeKind, at: datetime, actor: str, reason: str, facts: Mapping[str, Any]
    ) -> None:
        named = {"version": str(version.version), **facts}
        self._append(version.service, version.component, kind, at, actor, reason, named)

    def _append(
        self,
        service: str,
        component: str,
        kind: ChangeKind,
        at: datetime,
        actor: str,
        reason: str,
        facts: Mapping[str, Any],
    ) -> None:
        past = self.shelf.changes
        place = {"seq": len(past) + 1, "at": at.astimezone(UTC), "service": service, "component": component}
        who = {"kind": kind, "actor": actor, "reason": reason, "facts": facts}
        past.append(Change.chained(past[-1].hash if past else GENESIS, **place, **who))

    def _check_writable(self) -> None:
        if self.shelf.unwritable is not None:
            raise RegistryUnwritable(path="memory", why=self.shelf.unwritable)


def _is_present(version: Version, *stages: Stage) -> bool:
    return version.stage in stages and version.removed_at is None


def _matches(version: Version, query: Query) -> bool:
    return all(
        (
            query.service in (None, version.service),
            query.component in (None, version.component),
            query.stage in (None, version.stage),
            query.owner in (None, version.metadata.owner),
            query.language is None or query.language in (version.metadata.languages or ()),
            query.text is None or query.text.casefold() in words_of(version),
            query.since is None or version.registered_at >= query.since,
            query.marked in (None, version.marked_at is not None),
            query.removed or version.removed_at is None,
        )
    )
