"""The chain's format is a promise: journals written today must verify with tomorrow's code."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.chain import GENESIS, canonical_json, entry_hash, rfc3339
from penstock.rollout.chain import chained, fields_of
from penstock.rollout.entry import Draft, Kind

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
DRAFT = Draft("tts", Kind.STEPPED, "judge", "Grüße 你好", 3, {"weight": 500, "a": [1.5, None]})


def test_the_hash_of_a_known_entry() -> None:
    # Golden: sha256 of the canonical JSON, computed with the standard library's json and hashlib alone.
    assert (
        chained(DRAFT, seq=1, at=AT, previous=GENESIS).hash
        == "7fc40cd5d2aee56ec16f53b526a3a4e679898fa81859a8aa3f1221733b54d45b"
    )


def test_text_is_canonical() -> None:
    assert canonical_json({"b": 1, "a": ["ü", None, 0.1]}) == '{"a":["ü",null,0.1],"b":1}'


def test_times_are_utc_with_microseconds() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert rfc3339(datetime(2026, 1, 31, 21, 0, tzinfo=tokyo)) == "2026-01-31T12:00:00.000000Z"
    with pytest.raises(ValueError, match="no time zone"):
        rfc3339(datetime(2026, 1, 31))  # noqa: DTZ001 - that is what is refused


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"", "\ud800", {(1, 2): 3}, {1: 2, "1": 3}])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        canonical_json(value)


@pytest.mark.parametrize("name", ["seq", "at", "service", "kind", "actor", "reason", "generation", "facts"])
def test_every_field_counts(name: str) -> None:
    entry = chained(DRAFT, seq=1, at=AT, previous=GENESIS)
    fields = fields_of(entry)
    assert entry_hash(GENESIS, fields) == entry.hash
    assert entry_hash(GENESIS, fields | {name: "other"}) != entry.hash
    assert entry_hash("1" * 64, fields) != entry.hash


@given(st.dictionaries(st.integers(), st.integers()))
def test_facts_settle_in_one_step(facts: dict[int, int]) -> None:
    """What is stored and read back hashes as it did before, also when keys were numbers."""
    entry = chained(Draft("tts", Kind.HELD, "judge", "", 1, {"facts": facts}), seq=1, at=AT, previous=GENESIS)
    again = chained(Draft("tts", Kind.HELD, "judge", "", 1, entry.facts), seq=1, at=AT, previous=GENESIS)
    assert again == entry
