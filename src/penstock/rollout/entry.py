"""The journal's entries: what happened, who did it, why, and with what evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an entry says happened. Past tense: an entry is a fact."""

    #: A running server became a service's first stable release.
    ADOPTED = "adopted"
    #: A rollout began: the canary is checked, no user sees it yet.
    STARTED = "started"
    #: The canary's share was set to a step's weight.
    STEPPED = "stepped"
    #: A person, a gate or a restart stopped the rollout where it is.
    HELD = "held"
    #: A held rollout goes on.
    RESUMED = "resumed"
    #: The judge took the canary's traffic away to test it again.
    WITHDRAWN = "withdrawn"
    #: The canary behaved, and got its traffic back.
    RESTORED = "restored"
    #: The canary serves everybody, and is still being watched.
    BAKING = "baking"
    #: The canary became the stable release.
    PROMOTED = "promoted"
    #: The canary, or the stable release, is being taken out of traffic.
    ROLLING_BACK = "rolling-back"
    #: It is out of traffic, and every live gateway said so.
    ROLLED_BACK = "rolled-back"
    #: The same, without quarantine: nothing was found against the version.
    ABORTED = "aborted"
    #: Neither release has a healthy endpoint.
    FELL_BACK = "fell-back"
    #: A version may not be released again.
    QUARANTINED = "quarantined"
    #: It may.
    UNQUARANTINED = "unquarantined"
    #: Stable's own servers differ for longer than was assumed: the judge's pod blocks are longer now.
    LENGTHENED = "lengthened"
    #: Every live gateway acknowledged a generation.
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before the journal gave it a place.

    Attributes:
        service: which one.
        kind: what happened.
        actor: who did it: a user's name, `judge`, `controller`.
        reason: one sentence.
        generation: the service's generation after this entry.
        facts: JSON values that the kind needs, e.g. the release, the weight, the verdict.
    """

    service: str
    kind: Kind
    actor: str
    reason: str
    generation: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact in the journal.

    Attributes:
        seq: 1, 2, 3 ... over all services, without gaps.
        at: aware UTC, when it was decided.
        hash: SHA-256, hex, over this entry and the hash of the one before.
    """

    seq: int
    at: datetime
    service: str
    kind: Kind
    actor: str
    reason: str
    generation: int
    facts: Mapping[str, Any]
    hash: str

    def as_json(self) -> dict[str, Any]:
        """The entry as `penstock history -o json` prints it: its facts stand beside its own fields."""
        own = {
            "seq": self.seq,
            "at": self.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),  # as the hash covers it
            "service": self.service,
            "actor": self.actor,
            "kind": self.kind.value,
            "reason": self.reason,
            "generation": self.generation,
            "hash": self.hash,
        }
        return {**self.facts, **own}


def unwritten(draft: Draft, at: datetime) -> Entry:
    """Return a draft as an entry without a place, to see what would come of it."""
    fields = {name: getattr(draft, name) for name in Draft.__slots__}
    return Entry(seq=0, at=at, **fields, hash="")
