"""What others wrote about their versions is understood where it can be, kept as it was found where it cannot."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import InvalidMetadata
from penstock.kernel.semver import SemVer
from penstock.registry.foreign import SPELLINGS, check_number, metadata_of, renamed, stage_of
from penstock.registry.metadata import REQUIRED, Metadata, Metric
from penstock.registry.stage import Stage
from penstock.testing.contracts.registry_place import metadata_fields

SEED: dict[str, Any] = {
    "created": "2024-05-01",
    "metrics": {"mos": 4.1, "snr_db": 31},
    "training_set": "studio-3",
    "torch_version": "2.1.0+cu118",
    "cuda_version": "11.8",
    "dependencies": {"numpy": "1.24"},
    "status": "stable",
}


def test_plain_spellings_become_fields_and_the_rest_stays_as_it_came() -> None:
    metadata = metadata_of(SEED)
    assert metadata.created == datetime(2024, 5, 1, tzinfo=UTC)
    assert metadata.metrics == {"mos": Metric(4.1, "not stated"), "snr_db": Metric(31, "not stated")}
    assert metadata.framework_version == "torch 2.1.0+cu118"
    assert metadata.cuda_version == "11.8"
    assert metadata.extra == {"dependencies": {"numpy": "1.24"}, "status": "stable"}
    given = {"created", "metrics", "training_set", "framework_version", "cuda_version"}
    assert metadata.missing == tuple(name for name in REQUIRED if name not in given)
    assert Metadata.from_json(json.loads(json.dumps(metadata.as_json())), allow_missing=True) == metadata


def test_fields_that_are_all_there_are_read_as_they_are() -> None:
    fields = metadata_fields(requires={"acoustic": "<2"}, torch_version="2.1")
    assert metadata_of(fields) == Metadata.from_json(fields)
    with pytest.raises(InvalidMetadata, match=r"metrics\.mos\.value"):
        metadata_of(metadata_fields(metrics={"mos": 4.1}))


@pytest.mark.parametrize(
    ("written", "field", "value", "as_found"),
    [
        ({"created_at": "2024-05-01T10:00:00+02:00"}, "created", datetime(2024, 5, 1, 8, tzinfo=UTC), None),
        ({"created": "2024-05-01 10:00:00"}, "created", datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01 10:00:00"),
        ({"created_at": 1714557600}, "created", datetime(2024, 5, 1, 10, tzinfo=UTC), 1714557600),
        ({"created": 1714557600000}, "created", None, 1714557600000),
        ({"created": "last May"}, "created", None, "last May"),
        ({"created": True}, "created", None, True),
        ({"license": "MIT"}, "licence", "MIT", None),
        ({"sample_rate": 24000}, "sample_rate_hz", 24000, None),
        ({"sample_rate": "24k"}, "sample_rate_hz", None, "24k"),
        ({"torch_version": "torch 2.1"}, "framework_version", "torch 2.1", None),
        ({"torch_version": 2.1}, "framework_version", None, 2.1),
        ({"tensorflow_version": "2.16"}, "framework_version", "tensorflow 2.16", None),
        ({"cuda_version": None}, "cuda_version", None, None),
        ({"author": None}, "author", None, None),
        ({"languages": "zh"}, "languages", None, "zh"),
        ({"metrics": {"mos": {"value": 4, "unit": "MOS 1..5"}}}, "metrics", {"mos": Metric(4, "MOS 1..5")}, None),
        ({"metrics": {"mos": {"value": 4}}}, "metrics", {"mos": Metric(4, "not stated")}, None),
        ({"metrics": {"mos": 4, "by": "ear"}}, "metrics", {"mos": Metric(4, "not stated")}, {"by": "ear"}),
        ({"metrics": {"loss": "NaN"}}, "metrics", {}, {"loss": "NaN"}),
        ({"metrics": [4.1]}, "metrics", {}, [4.1]),
        ({"metrics": {}}, "metrics", {}, None),
    ],
)
def test_a_value_is_understood_or_kept_as_it_was_found(
    written: dict[str, Any], field: str, value: Any, as_found: Any
) -> None:
    metadata = metadata_of(written)
    (name,) = written
    assert getattr(metadata, field) == value
    assert metadata.extra.get("as_found", {}).get(name) == as_found
    is_given = value not in (None, {}) or written == {"cuda_version": None}
    assert (field not in metadata.missing) == is_given
    assert Metadata.from_json(json.loads(json.dumps(metadata.as_json())), allow_missing=True) == metadata


def test_a_second_spelling_of_what_is_known_is_kept() -> None:
    metadata = metadata_of({"torch_version": "2.1", "tensorflow_version": "2.16", "license": "MIT", "licence": "GPL"})
    assert (metadata.framework_version, metadata.licence) == ("torch 2.1", "GPL")
    assert metadata.extra == {"license": "MIT", "as_found": {"tensorflow_version": "2.16"}}


@pytest.mark.parametrize("field", ["requires", "trained_with", "mel"])
def test_what_a_version_needs_must_not_get_lost(field: str) -> None:
    with pytest.raises(InvalidMetadata, match=field):
        metadata_of({field: ["numpy"]})
    assert metadata_of({field: None}).extra == {}


@pytest.mark.parametrize(
    ("status", "stage"),
    [
        ("stable", Stage.STABLE),
        (" Stable ", Stage.STABLE),
        ("unstable", Stage.REGISTERED),
        (None, Stage.REGISTERED),
    ],
)
def test_a_status_means_a_stage(status: Any, stage: Stage) -> None:
    assert stage_of({"status": status}) is stage
    assert stage_of({}) is Stage.REGISTERED


@pytest.mark.parametrize("status", ["beta", "", True, ["stable"]])
def test_any_other_status_is_refused_by_name(status: Any) -> None:
    with pytest.raises(InvalidMetadata, match="neither stable nor unstable") as raised:
        stage_of({"status": status})
    assert repr(status) in raised.value.message


def test_a_file_of_another_version_is_refused() -> None:
    for fits in ({}, {"version": "v1.3.0"}, {"version": "spring"}, {"version": 3}):
        check_number(fits, SemVer(1, 3))
    with pytest.raises(InvalidMetadata, match=r"it says 1\.2\.0, not 1\.3\.0"):
        check_number({"version": "1.2.0"}, SemVer(1, 3))


def test_other_spellings_are_ours_where_metadata_must_be_complete() -> None:
    theirs = {"created_at": "2026-11-01", "torch_version": "2.13.0", "license": "MIT", "colour": "red"}
    assert renamed(theirs) == {
        "created": "2026-11-01",
        "framework_version": "torch 2.13.0",
        "licence": "MIT",
        "colour": "red",
    }
    both = {"torch_version": "2.13.0", "framework_version": "jax 0.9", "license": "MIT", "licence": "Apache-2.0"}
    assert renamed(both) == both
    assert renamed({"torch_version": "2.13.0", "tensorflow_version": "3.0"}) == {
        "framework_version": "torch 2.13.0",
        "tensorflow_version": "3.0",
    }


NAMES = st.sampled_from([*SPELLINGS, *REQUIRED, "status", "colour"])
TEXTS = st.text("2024-05T:Z v.é", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES))
def test_whatever_is_written_comes_in_and_no_value_gets_lost(written: dict[str, Any]) -> None:
    if all(name in written for name in REQUIRED):
        return
    metadata = metadata_of(written)
    assert Metadata.from_json(metadata.as_json(), allow_missing=True) == metadata
    ours = {SPELLINGS.get(name, (name, ""))[0] for name in written}
    read = ours - set(metadata.missing)
    kept = {*metadata.extra, *metadata.extra.get("as_found", {})}
    assert all(
        name in kept or SPELLINGS.get(name, (name, ""))[0] in read or value in (None, {})
        for name, value in written.items()
    )
