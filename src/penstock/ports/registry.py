"""The registry of versions: what exists, what is known about it, what was promoted when, and what may be deleted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from penstock.registry.change import Change
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.stage import Stage
from penstock.registry.version import Version


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        n_added: lines that brought something.
        n_present: lines whose content was there already.
        conflicts: one sentence a line that was left out, beginning with its number: `line 17: ...`.
    """

    n_added: int
    n_present: int
    conflicts: tuple[str, ...]


class RegistryStore(Protocol):
    """Calls block; each may come from any thread, and several processes may share one registry.

    Laws:
    - A change that returned survives a power cut; one that raised changed nothing. Each is one transaction, which also
      appends to the list of changes who did it, when, why and what; that list is chained by hashes and never changes.
    - What a version is never changes. A number of equal precedence is never given twice, not even after a removal
      (PrecedenceTaken); registering the very same version again changes nothing and returns what is there.
    - Stages change as registry/stage.py says (IllegalStage). An unknown version is UnknownVersion.
    - A quarantined or removed version is never promoted nor given an alias (Quarantined, Removed). `latest`, `previous`
      and a `challenger` that nobody set pass it over; what names it otherwise (its number, an alias, `champion`) still
      finds it, unless it was removed (Removed).
    - Versions that do not fit each other are never promoted together (Incompatible, with what would fit).
    - `champion` is the last promoted version; `latest` the highest stable; see registry/reference.py for the others.
    - A version that serves, is a canary, bears an alias or is one of the last three stable ones is neither marked for deletion
      nor removed (VersionInUse); one that comes into use after it was marked is not marked any longer. Only what is marked is
      removed.
    - Promoting what serves already, moving into the stage it has, setting an alias where it points, marking what is marked:
      each changes nothing and is no mistake.
    - Times come in, aware; they come out as UTC.
    - A full disk or a read-only file raises RegistryUnwritable; the next change may succeed.
    """

    def register(self, version: Version, *, actor: str, reason: str) -> Version:
        """Put a version in, in the stage it has (`registered`, or another one where it comes from elsewhere).

        Return it as it is in the registry. Its times are kept as they are. Raises PrecedenceTaken.
        """
        ...

    def version(self, service: str, component: str, version: str) -> Version:
        """Return a version, also one that was removed. Raises UnknownVersion, InvalidSemVer."""
        ...

    def versions(self, query: Query) -> list[Version]:
        """Return versions by service, component, and then the highest first."""
        ...

    def services(self) -> dict[str, tuple[str, ...]]:
        """Return the components of every service that has a version."""
        ...

    def resolve(self, ref: Ref) -> Version:
        """Return the version that is meant. Raises UnknownVersion, NothingSelected, Removed."""
        ...

    def move(
        self, service: str, component: str, version: str, stage: Stage, *, at: datetime, actor: str, reason: str
    ) -> Version:
        """Change a version's stage; for a set that serves together use `promote`. Raises IllegalStage, ReasonMissing, Removed."""
        ...

    def promote(self, service: str, versions: Mapping[str, str], *, at: datetime, actor: str, reason: str) -> Promotion:
        """Record that `service` serves everybody with these versions; components that are not named stay as they are.

        The named versions become stable. Rolling back is promoting an earlier version again.
        """
        ...

    def judge(
        self, service: str, number: int, *, unhealthy: str | None, at: datetime, actor: str, reason: str
    ) -> Promotion:
        """Say what was found against a promoted set as a whole, or that nothing is (None). Raises NothingSelected."""
        ...

    def promotions(self, service: str, *, limit: int | None = None) -> list[Promotion]:
        """Return the service's promotions, newest first."""
        ...

    def history(self, service: str, component: str | None = None, *, limit: int = 5) -> History:
        """Return what a rollback is chosen from: the last `limit` promotions.

        For a rollback of one component: of each of the last `limit` versions that it served with, and of the present one,
        the last promotion; and its `limit` highest stable versions. Where none of those will do, ask for more.
        """
        ...

    def set_alias(
        self, service: str, component: str, alias: str, version: str, *, at: datetime, actor: str, reason: str
    ) -> None:
        """Point an alias at a version. Promoting a version ends its alias `challenger`. Raises InvalidReference."""
        ...

    def delete_alias(self, service: str, component: str, alias: str, *, at: datetime, actor: str, reason: str) -> None:
        """Take an alias away. Raises NothingSelected where there is none."""
        ...

    def aliases(self, service: str, component: str) -> dict[str, str]:
        """Return alias -> version: the ones that were set, and every Word that selects something."""
        ...

    def mark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        """Let a version wait for its deletion."""
        ...

    def unmark(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        """Keep it after all."""
        ...

    def remove(self, service: str, component: str, version: str, *, at: datetime, actor: str, reason: str) -> Version:
        """Give up a marked version; whoever stores its files may delete them afterwards. Removing again changes nothing."""
        ...

    def changes(
        self, *, service: str | None = None, component: str | None = None, after_seq: int = 0, limit: int | None = None
    ) -> list[Change]:
        """Return changes, oldest first."""
        ...

    def verify(self) -> int:
        """Recompute the chain of changes and return its length; RegistryDamaged at the first that breaks it."""
        ...

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield the whole state as of now, one JSON object at a time, as docs/reference/registry.md has it."""
        ...

    def import_(
        self,
        lines: Iterable[object],
        *,
        at: datetime,
        actor: str,
        reason: str,
        progress: Callable[[int], None] = ...,
    ) -> Imported:
        """Take in what `export` yielded; repeating it changes nothing. `progress` is told how many lines are done.

        What is there stays as it is; a line that contradicts it, or cannot be read, is left out and named.
        """
        ...

    def close(self) -> None:
        """Give up connections; closing twice is no mistake."""
        ...
