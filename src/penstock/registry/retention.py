"""Which versions may be deleted, and why each of the others stays. A version stays when any rule keeps it.

Deletion has two phases: a version that no rule keeps is marked, and removed when the time of grace is over and still no
rule keeps it. What is not told about is not known: who serves what, or keeps it warm, comes in.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.kernel.errors import InvalidRetention
from penstock.registry.promotion import Promotion
from penstock.registry.stage import Stage
from penstock.registry.version import Version

#: How many stable versions of a component are always kept.
KEEP_STABLE = 3

#: (service, component, version)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that keep versions, beside those that always do; without any of them everything stays.

    Attributes:
        keep_last: so many of each component, the last registered ones.
        keep_within: all that were registered within this time.
        budget_bytes: the last registered ones that fit into this, together with what must stay; equal files of different
            versions count each time.
        keep_stable: so many stable ones of each component, the last promoted ones; never less than three.
        grace: how long a version stays marked before it is removed.
    """

    keep_last: int | None = None
    keep_within: timedelta | None = None
    budget_bytes: int | None = None
    keep_stable: int = KEEP_STABLE
    grace: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        if self.keep_stable < KEEP_STABLE:
            raise InvalidRetention(why=f"{KEEP_STABLE} stable versions are always kept, {self.keep_stable} are too few")
        amounts = (self.keep_last, self.budget_bytes)
        times = (self.keep_within, self.grace)
        if any(n is not None and n < 0 for n in amounts) or any(t is not None and t < timedelta(0) for t in times):
            raise InvalidRetention(why="a number, a size or a time below zero keeps nothing")

    @property
    def lets_go(self) -> bool:
        """Whether there is a rule beyond which versions may go."""
        return (self.keep_last, self.keep_within, self.budget_bytes) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection does, and why it leaves the rest.

    Attributes:
        to_mark: nothing keeps them; their time of grace begins.
        waiting: marked before, their grace is not over.
        to_remove: marked before, their grace is over.
        to_unmark: marked before, but something keeps them now.
        kept: (version, why).
        over_budget_bytes: what the versions that stay take beyond the budget.
    """

    to_mark: tuple[Version, ...]
    waiting: tuple[Version, ...]
    to_remove: tuple[Version, ...]
    to_unmark: tuple[Version, ...]
    kept: tuple[tuple[Version, str], ...]
    over_budget_bytes: int


def key_of(version: Version) -> Key:
    """Return what names a version in `in_use`."""
    return version.service, version.component, str(version.version)


def referenced(
    service: str,
    promotions: Sequence[Promotion],
    aliases: Mapping[str, Mapping[str, str]],
    *,
    n_releases: int = KEEP_STABLE,
) -> dict[Key, str]:
    """Return what a service still refers to, and why: its last releases whole, and what words and aliases select.

    `promotions`: newest first; `aliases`: component -> alias -> version, as the registry's store returns them.
    """
    found = {
        (service, component, version): f"part of release {promotion.number}"
        for promotion in reversed(promotions[:n_releases])
        for component, version in promotion.versions.items()
    }
    selected: dict[Key, list[str]] = defaultdict(list)
    for component, names in aliases.items():
        for alias, version in names.items():
            selected[service, component, version].append(alias)
    return found | {key: f"it is {', '.join(names)}" for key, names in selected.items()}


def collect(versions: Iterable[Version], policy: Policy, *, in_use: Mapping[Key, str], now: datetime) -> Collection:
    """Decide about versions, none of them removed. `in_use`: what serves, is warm or is referred to, and why."""
    newest = sorted(versions, key=lambda v: (v.registered_at, v.version.key), reverse=True)
    why = _must_stay(newest, policy, in_use)
    for version, words in _may_stay(newest, policy, now=now, bound=frozenset(why)):
        why.setdefault(key_of(version), words)
    going = [version for version in newest if key_of(version) not in why]
    due = [v for v in going if v.marked_at is not None and v.marked_at + policy.grace <= now]
    staying = [version for version in newest if key_of(version) in why]
    n_bytes = sum(version.size_bytes for version in staying)
    return Collection(
        to_mark=tuple(v for v in going if v.marked_at is None),
        waiting=tuple(v for v in going if v.marked_at is not None and v not in due),
        to_remove=tuple(due),
        to_unmark=tuple(v for v in staying if v.marked_at is not None),
        kept=tuple((v, why[key_of(v)]) for v in staying),
        over_budget_bytes=0 if policy.budget_bytes is None else max(0, n_bytes - policy.budget_bytes),
    )


def _must_stay(newest: Sequence[Version], policy: Policy, in_use: Mapping[Key, str]) -> dict[Key, str]:
    """Return what stays whatever the policy says."""
    why = {key_of(v): in_use[key_of(v)] for v in newest if key_of(v) in in_use}
    why |= {key_of(v): "a rollout serves users with it" for v in newest if v.stage is Stage.CANARY}
    stable = sorted((v for v in newest if v.stage is Stage.STABLE), key=_last_promoted, reverse=True)
    for version in _first_of_each(stable, policy.keep_stable):
        why.setdefault(key_of(version), f"among the last {policy.keep_stable} stable ones")
    return why


def _may_stay(
    newest: Sequence[Version], policy: Policy, *, now: datetime, bound: frozenset[Key]
) -> Iterator[tuple[Version, str]]:
    if not policy.lets_go:
        yield from ((version, "no policy lets it go") for version in newest)
    if policy.keep_last is not None:
        yield from ((v, f"among the last {policy.keep_last}") for v in _first_of_each(newest, policy.keep_last))
    if policy.keep_within is not None:
        yield from ((v, "new enough") for v in newest if v.registered_at + policy.keep_within >= now)
    if policy.budget_bytes is not None:
        left_bytes = policy.budget_bytes - sum(v.size_bytes for v in newest if key_of(v) in bound)
        for version in newest:
            if key_of(version) in bound:
                continue
            left_bytes -= version.size_bytes
            if left_bytes < 0:
                return
            yield version, "within the budget"


def _last_promoted(version: Version) -> tuple[datetime, str]:
    return version.promoted_at or version.registered_at, version.version.key


def _first_of_each(versions: Iterable[Version], n: int) -> Iterator[Version]:
    """Yield the first `n` of each component."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for version in versions:
        seen[version.service, version.component] += 1
        if seen[version.service, version.component] <= n:
            yield version
