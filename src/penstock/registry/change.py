"""What happened to the registry: one entry a change, chained by hashes as the journal's are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from penstock.kernel.chain import canonical_json, entry_hash, rfc3339


class ChangeKind(StrEnum):
    """What a change did. Past tense: it is a fact."""

    #: A version was put into the registry.
    REGISTERED = "registered"
    #: A version's stage changed.
    MOVED = "moved"
    #: A set of versions became what the service serves.
    PROMOTED = "promoted"
    #: Something was found against a promoted set as a whole, or that was taken back.
    JUDGED = "judged"
    #: An alias was pointed at a version.
    ALIASED = "aliased"
    #: An alias was taken away.
    UNALIASED = "unaliased"
    #: A version waits for its deletion.
    MARKED = "marked"
    #: It does not any longer.
    UNMARKED = "unmarked"
    #: A version was given up for good; its number stays taken.
    REMOVED = "removed"
    #: Lines of an export came in.
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the list of changes.

    Attributes:
        seq: 1, 2, 3 ... without gaps.
        at: aware UTC.
        service: which one; empty for an import.
        component: which one; empty for a change of several.
        kind: what happened.
        actor, reason: who did it, and why.
        facts: JSON values, e.g. the version, its stages before and after.
        hash: SHA-256, hex, over all of this and the hash of the change before.
    """

    seq: int
    at: datetime
    service: str
    component: str
    kind: ChangeKind
    actor: str
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""

    def hashed_fields(self) -> dict[str, Any]:
        """What the hash covers besides the hash before."""
        return {
            "seq": self.seq,
            "at": rfc3339(self.at),
            "service": self.service,
            "component": self.component,
            "kind": self.kind.value,
            "actor": self.actor,
            "reason": self.reason,
            "facts": dict(self.facts),
        }

    def as_json(self) -> dict[str, Any]:
        """The change with its hash."""
        return {**self.hashed_fields(), "hash": self.hash}

    @classmethod
    def chained(cls, previous: str, **fields: Any) -> Self:
        """Make the change that follows the one with hash `previous`; its facts come out as JSON brings them back."""
        facts = json.loads(canonical_json(dict(fields.pop("facts"))))
        bare = cls(**fields, facts=facts)
        return cls(**fields, facts=facts, hash=entry_hash(previous, bare.hashed_fields()))
