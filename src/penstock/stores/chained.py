"""Rows whose hashes are chained, read back: whether each is what it was when it was written."""

import json
from typing import Any

from sqlalchemy import RowMapping

from penstock.kernel.chain import canonical_json, entry_hash


def flaw_in(row: RowMapping, seq: int, previous: str) -> str | None:
    """Return why a stored row cannot be entry `seq` after the entry with hash `previous`; None if it can."""
    fields: dict[str, Any] = {name: row[name] for name in row if name not in {"previous_hash", "hash"}}
    if row["seq"] != seq:
        return f"it is missing, entry {row['seq']} follows"
    if row["previous_hash"] != previous:
        return "it does not follow the entry before it"
    try:
        fields["facts"] = json.loads(row["facts"])
        if canonical_json(fields["facts"]) == row["facts"] and entry_hash(previous, fields) == row["hash"]:
            return None
    except (TypeError, ValueError):
        pass
    return "it was changed after it was written"
