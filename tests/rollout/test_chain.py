"""The chain's format is a promise: journals written today must verify with tomorrow's code."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.chain import GENESIS, entry_hash
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
