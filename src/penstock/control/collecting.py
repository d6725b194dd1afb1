"""Carrying out retention: what the rules give up is marked, and later removed with its files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.kernel.errors import VersionInUse
from penstock.ports.artifacts import GRACE_S, ArtifactStore, Swept
from penstock.ports.registry import RegistryStore
from penstock.registry.naming import Name
from penstock.registry.query import Query
from penstock.registry.retention import Collection, Key, Policy, collect, referenced
from penstock.registry.version import Version

#: What serves where nobody says so.
NOTHING: Mapping[Key, str] = {}


#: How many releases back everything is kept whole. Source: retention.referenced.
_N_RELEASES = 3


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do.

    Attributes:
        plan: what was decided.
        in_use: reference -> why it was neither marked nor removed: it came into use meanwhile.
        n_artifacts: whose files were given up.
        swept: contents that were removed.
    """

    plan: Collection
    in_use: Mapping[str, str]
    n_artifacts: int
    swept: Swept

    def as_json(self) -> dict[str, Any]:
        """As `penstock gc -o json` prints it."""
        names = {name: _names(getattr(self.plan, name)) for name in ("to_mark", "waiting", "to_remove", "to_unmark")}
        kept = [{"version": version.reference, "why": why} for version, why in self.plan.kept]
        return {
            "marked": [name for name in names["to_mark"] if name not in self.in_use],
            "waiting": names["waiting"],
            "removed": [name for name in names["to_remove"] if name not in self.in_use],
            "unmarked": names["to_unmark"],
            "kept": [*kept, *({"version": name, "why": why} for name, why in self.in_use.items())],
            "over_budget_bytes": self.plan.over_budget_bytes,
            "n_artifacts_removed": self.n_artifacts,
            "n_contents_removed": self.swept.n_blobs,
            "removed_bytes": self.swept.size_bytes,
        }


class Collecting:
    """One collection. `alone` is held while the registry ceases to name files."""

    def __init__(
        self, registry: RegistryStore, artifacts: ArtifactStore, alone: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._alone = alone

    def planned(
        self, versions: Sequence[Version], policy: Policy, *, in_use: Mapping[Key, str], now: datetime
    ) -> Collection:
        """Decide about these versions; `in_use` is beside what the registry refers to itself."""
        referred = dict(entry for name in {v.service for v in versions} for entry in self._referenced(name).items())
        return collect(versions, policy, in_use={**referred, **in_use}, now=now)

    def carried_out(self, plan: Collection, at: datetime, *, actor: str, reason: str) -> Collected:
        """Mark and remove versions, then the files that none needs any more."""
        became_used = self._carry_out(plan, at, actor=actor, reason=reason)
        n_artifacts = self._give_up_files()
        return Collected(plan, became_used, n_artifacts, self._artifacts.sweep())

    def _carry_out(self, plan: Collection, at: datetime, *, actor: str, reason: str) -> dict[str, str]:
        """Return what came into use since the plan was made, and why."""
        registry, became_used = self._registry, {}
        steps = (registry.unmark, plan.to_unmark), (registry.mark, plan.to_mark), (registry.remove, plan.to_remove)
        for change, version in ((change, version) for change, versions in steps for version in versions):
            try:
                change(version.service, version.component, str(version.version), at=at, actor=actor, reason=reason)
            except VersionInUse as error:
                became_used[version.reference] = error.message
        return became_used

    def _referenced(self, service: str) -> dict[Key, str]:
        components = self._registry.services().get(service, ())
        aliases = {component: self._registry.aliases(service, component) for component in components}
        return referenced(service, self._registry.promotions(service, limit=_N_RELEASES), aliases)

    def _give_up_files(self) -> int:
        """Remove the artifacts that only removed versions name, and what pushes that were killed left behind."""
        artifacts = self._artifacts
        with self._alone():  # a push that stored one of them looks again before it registers
            versions = self._registry.versions(Query(removed=True))
            needed = {v.digest for v in versions if v.removed_at is None}
            given_up = {v.digest for v in versions if v.removed_at is not None} - needed
            n_given_up = sum(artifacts.remove(d) for d in given_up if d is not None)
            return n_given_up + sum(artifacts.remove(d, grace_s=GRACE_S) for d in self._without_version(versions))

    def _without_version(self, versions: Iterable[Version]) -> set[str]:
        """Return the artifacts that no version ever had.

        What the store alone knows by name stays: this registry may have been restored from a copy, and forgotten a push.
        """
        artifacts = self._artifacts
        unknown = set(artifacts.digests() - {version.digest for version in versions})
        if unknown:  # seldom, so that names are seldom read
            known = {Name(version.service, version.component, version.version) for version in versions}
            unknown -= {artifacts.named(name) for name in artifacts.names() - known}
        return unknown


def _names(versions: tuple[Version, ...]) -> list[str]:
    return [version.reference for version in versions]
