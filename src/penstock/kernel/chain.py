"""One text for a JSON value, one for a time, and hashes that are chained so that a change to any link shows.

The journal and the registry's list of changes use these functions, so that either still verifies in another store.
Source: Haber and Stornetta, How to time-stamp a digital document, 1991 (linking); SHA-256, FIPS 180-4.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: What the first entry's hash covers in place of a predecessor.
GENESIS = "0" * 64


def canonical_json(value: object) -> str:
    """Return the one text of a JSON value: sorted keys, no blanks, no escapes that are not needed.

    Raises ValueError for what JSON has no text for: NaN, infinities, lone surrogates, other types.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"not a JSON value: {error}") from None
    text.encode()  # a lone surrogate has no UTF-8 form: UnicodeEncodeError is a ValueError
    return text


def rfc3339(at: datetime) -> str:
    """Return an aware time as UTC with microseconds, `2026-01-31T12:00:00.000000Z`; a naive one raises ValueError."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc(text: str) -> datetime:
    """Read a time that says its zone, as UTC; a naive one raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone; write e.g. {text}Z")
    return at.astimezone(UTC)


def entry_hash(previous: str, fields: Mapping[str, Any]) -> str:
    """Return SHA-256, hex, over an entry's fields (all but its hash) and the hash of the entry before."""
    return hashlib.sha256(canonical_json({**fields, "previous_hash": previous}).encode()).hexdigest()
