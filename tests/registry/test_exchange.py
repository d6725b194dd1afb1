"""Lines of an export: written, read, and refused with what is wrong with them."""

import json
from typing import Any

import pytest

from penstock.kernel.chain import GENESIS, entry_hash
from penstock.registry.change import Change, ChangeKind
from penstock.registry.exchange import HEADER, Alias, read, written
from penstock.registry.promotion import Promotion
from penstock.registry.query import words_of
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import AT, sample_version

VERSION = sample_version("1.0.0")
LINES: tuple[Version | Promotion | Alias, ...] = (
    VERSION,
    Promotion("tts", 1, {"vocoder": "1.0.0"}, AT, "ann", "Because."),
    Alias("tts", "vocoder", "night", "1.0.0"),
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_what_is_written_is_read_again(line: Version | Promotion | Alias) -> None:
    assert read(json.loads(json.dumps(written(line)))) == line


def test_the_first_line_says_what_follows() -> None:
    assert read(HEADER) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("text", "not a JSON object"),
        ({}, "no field 'kind'"),
        ({"kind": "star"}, "a line of the kind 'star' is not known"),
        ({**HEADER, "layout": 2}, "layout 2 is not known"),
        ({**written(VERSION), "version": "1.2"}, "'1.2' is not a semantic version"),
        ({**written(VERSION), "stage": "great"}, "great"),
        ({**written(VERSION), "registered_at": "2026-01-31T12:00:00"}, "no time zone"),
        ({**written(VERSION), "metadata": 5}, "a field cannot be read"),
        ({**written(LINES[1]), "versions": 5}, "a field cannot be read"),
        ({**written(LINES[2]), "alias": "latest"}, "follows from promotions"),
    ],
)
def test_what_cannot_be_read_is_refused(line: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(line)


def test_a_change_is_chained_to_the_one_before() -> None:
    fields: dict[str, Any] = {
        "seq": 1,
        "at": AT,
        "service": "tts",
        "component": "",
        "actor": "ann",
        "reason": "Because.",
    }
    change = Change.chained(GENESIS, kind=ChangeKind.PROMOTED, facts={"pair": (1, 2)}, **fields)
    assert change.facts == {"pair": [1, 2]}
    assert change.hash == entry_hash(GENESIS, change.hashed_fields())
    assert change.as_json() == {**change.hashed_fields(), "hash": change.hash}
    with pytest.raises(ValueError, match="JSON"):
        Change.chained(GENESIS, kind=ChangeKind.PROMOTED, facts={"n": float("nan")}, **fields)


def test_the_words_of_a_version_are_found_whatever_the_case() -> None:
    version = sample_version("1.0.0", owner="Straße", training_set=None)
    assert words_of(version) == "1.0.0\nann\nstrasse\nfewer crackles."
