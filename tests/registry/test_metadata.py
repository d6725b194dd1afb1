"""Metadata is complete, or refused by the name of the missing field."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from penstock.kernel.errors import InvalidMetadata
from penstock.kernel.semver import SemVer
from penstock.registry.metadata import NULLABLE, REQUIRED, Metadata, Metric
from penstock.testing.contracts.registry_place import metadata_fields


def test_what_is_read_is_written_again() -> None:
    fields = metadata_fields(
        requires={"acoustic": ">=1.1,<2"}, mel={"n_mels": 80}, trained_with={"acoustic": "1.2.0"}, colour="red"
    )
    metadata = Metadata.from_json(fields)
    assert metadata.complete
    assert metadata.created == datetime(2026, 1, 30, 8, tzinfo=UTC)
    assert metadata.metrics == {"mos": Metric(4.2, "MOS 1..5")}
    assert metadata.languages == ("en", "zh")
    assert metadata.trained_with == {"acoustic": SemVer(1, 2)}
    assert metadata.extra == {"colour": "red"}
    written = json.loads(json.dumps(metadata.as_json()))
    assert written == {**fields, "created": "2026-01-30T08:00:00.000000Z"}
    assert Metadata.from_json(written) == metadata


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str) -> None:
    fields = metadata_fields()
    del fields[name]
    with pytest.raises(InvalidMetadata, match=f"{name}: it is missing"):
        Metadata.from_json(fields)


def test_all_that_is_missing_is_named_at_once() -> None:
    fields = metadata_fields()
    del fields["owner"], fields["licence"]
    with pytest.raises(InvalidMetadata, match=r"owner: it is missing \(also: licence\)"):
        Metadata.from_json(fields)


def test_what_others_wrote_may_miss_fields_which_are_listed() -> None:
    metadata = Metadata.from_json({"created": "2026-01-30", "author": "ann"}, allow_missing=True)
    assert metadata.created == datetime(2026, 1, 30, tzinfo=UTC)
    assert not metadata.complete
    assert metadata.missing == tuple(name for name in REQUIRED if name not in ("created", "author"))
    assert metadata.as_json() == {"created": "2026-01-30T00:00:00.000000Z", "author": "ann"}
    assert Metadata.from_json(metadata.as_json(), allow_missing=True) == metadata


@pytest.mark.parametrize("name", REQUIRED)
def test_null_says_that_a_field_does_not_apply_where_that_can_be(name: str) -> None:
    if name in NULLABLE:
        metadata = Metadata.from_json(metadata_fields(**{name: None}))
        assert getattr(metadata, name) is None
        assert metadata.complete
        assert Metadata.from_json(metadata.as_json()) == metadata
        return
    with pytest.raises(InvalidMetadata, match=f"{name}: it cannot be null"):
        Metadata.from_json(metadata_fields(**{name: None}))


def test_times_of_other_zones_are_utc() -> None:
    tokyo = datetime(2026, 1, 30, 8, tzinfo=timezone(timedelta(hours=9)))
    assert Metadata.from_json(metadata_fields(created=tokyo.isoformat())).created == tokyo.astimezone(UTC)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("created", "2026-01-30T08:00:00", "no time zone; write e.g. 2026-01-30T08:00:00Z"),
        ("created", "yesterday", "isoformat"),
        ("created", 5, "a text"),
        ("author", " ", "not empty"),
        ("owner", ["ann"], "a text"),
        ("sample_rate_hz", 0, "above 0"),
        ("sample_rate_hz", True, "above 0"),
        ("sample_rate_hz", 24000.0, "above 0"),
        ("languages", "en", "a list of texts"),
        ("languages", [], "not empty"),
        ("languages", [5], "a text"),
        ("metrics", {}, "at least one"),
        ("metrics", [4.2], "an object"),
        ("requires", {"acoustic": "^1"}, "not a range"),
        ("requires", {"acoustic": 1}, "a text"),
        ("trained_with", {"acoustic": "1.2"}, "not a semantic version"),
        ("mel", 80, "an object"),
        ("requires", None, "cannot be null"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_name(name: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidMetadata, match=f"{name}: .*{why}"):
        Metadata.from_json(metadata_fields(**{name: value}))


@pytest.mark.parametrize(
    ("metric", "part"),
    [
        (4.2, "value: it is missing"),
        ({"value": 4.2}, "unit: it is missing"),
        ({"value": "4.2", "unit": "MOS"}, "value: it must be a finite number"),
        ({"value": float("nan"), "unit": "MOS"}, "value: it must be a finite number"),
        ({"value": True, "unit": "MOS"}, "value: it must be a finite number"),
        ({"value": 10**400, "unit": "MOS"}, "value: it must be a finite number"),
    ],
)
def test_a_metric_has_a_value_and_a_unit(metric: Any, part: str) -> None:
    with pytest.raises(InvalidMetadata, match=rf"metrics\.mos\.{part}"):
        Metadata.from_json(metadata_fields(metrics={"mos": metric}))


def test_a_unit_is_not_empty() -> None:
    with pytest.raises(InvalidMetadata, match="metrics: it must be a text"):
        Metadata.from_json(metadata_fields(metrics={"mos": {"value": 4.2, "unit": ""}}))
