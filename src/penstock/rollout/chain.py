"""How the journal's entries are chained, so that a change to any of them shows.

Every store of a journal uses these functions, so that a journal moved from one to another still verifies.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.chain import canonical_json, entry_hash, rfc3339
from penstock.rollout.entry import Draft, Entry


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return what an entry's hash covers besides the hash before."""
    return {
        "seq": entry.seq,
        "at": rfc3339(entry.at),
        "service": entry.service,
        "kind": entry.kind.value,
        "actor": entry.actor,
        "reason": entry.reason,
        "generation": entry.generation,
        "facts": entry.facts,
    }


def chained(draft: Draft, *, seq: int, at: datetime, previous: str) -> Entry:
    """Give a draft its place after the entry with hash `previous`.

    The facts come out as JSON brings them back (tuples as lists, keys as strings); ValueError where they are not JSON.
    """
    # Twice through JSON: keys that only become strings on the way sort differently the second time.
    facts = json.loads(canonical_json(dict(draft.facts)))
    utc = at.astimezone(UTC) if at.tzinfo else at
    entry = Entry(seq, utc, draft.service, draft.kind, draft.actor, draft.reason, draft.generation, facts, hash="")
    return replace(entry, hash=entry_hash(previous, fields_of(entry)))
