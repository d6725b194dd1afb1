"""One line of recorded counts: the schema and the code agree on what is one."""

import json
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.judge.counts import Measure
from penstock.simulation.lines import SHAPES, Line, Shape, line_of

SCHEMA = json.loads((files("penstock.simulation") / "recorded.schema.json").read_text(encoding="utf-8"))
VALID = jsonschema_rs.validator_for(SCHEMA)

HEAD = {"t": 12.0, "arm": "canary", "metric": "m"}
GOOD: list[tuple[dict[str, Any], Shape, dict[str, Any]]] = [
    ({"n": 50, "bad": 1}, Shape.SHARE, {"n": 50, "bad": 1}),
    ({"n": 5.0, "bad": 1.0}, Shape.SHARE, {"n": 5, "bad": 1}),
    ({"scores": [4.1, 4]}, Shape.SCORES, {"values": (4.1, 4.0)}),
    ({"histogram": {"0.1": 5, "0.25": 2}}, Shape.HISTOGRAM, {"bins": {100.0: 5, 250.0: 2}}),
    ({"buckets": {"+Inf": 8, "0.25": 7, "0.1": 5}}, Shape.BUCKETS, {"bins": {100.0: 5, 250.0: 2, float("inf"): 1}}),
    ({"events": 1, "exposure_s": 10}, Shape.EVENTS, {"n": 1, "exposure_s": 10.0}),
    ({"value": 0.8}, Shape.LEVEL, {"values": (0.8,)}),
    ({"values": [1, 2]}, Shape.LEVELS, {"values": (1.0, 2.0)}),
    ({"outcomes": {"cat": 3}}, Shape.OUTCOMES, {"outcomes": {"cat": 3}}),
    ({"n": 12, "weight_pct": 10}, Shape.USERS, {"n": 12, "values": (0.1,)}),
]


def parsed(fields: dict[str, Any]) -> Line:
    return line_of(json.dumps(fields).encode())


@pytest.mark.parametrize(("counts", "shape", "measure"), GOOD)
def test_every_shape_becomes_a_measure(counts: dict[str, Any], shape: Shape, measure: dict[str, Any]) -> None:
    line = parsed(HEAD | counts)
    assert (line.at_s, line.shape, line.probes, line.node, line.seq) == (12.0, shape, False, "", None)
    assert line.measure == Measure("m", True, "all", **measure)


def test_samples_are_binned_by_their_edges() -> None:
    line = parsed(HEAD | {"samples_s": [0.1, 0.1, 2.5]})
    assert sorted(line.measure.bins.values()) == [1, 2]
    assert max(line.measure.bins) == pytest.approx(2500.0, rel=0.02)


def test_who_and_where_is_kept() -> None:
    who = {"pod": "a", "user": "ann", "node": "x", "seq": 3, "probes": True, "arm": "stable"}
    line = parsed(HEAD | {"n": 1, "bad": 0} | who)
    assert (line.probes, line.node, line.seq) == (True, "x", 3)
    assert (line.measure.canary, line.measure.pod, line.measure.user) == (False, "a", "ann")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"t": 1', "not JSON"),
        (b"", "not JSON"),
        (b"nonsense", "nothing that can be read at column 1"),
        (b"{} {}", "more than one value, from column 3"),
        (b"[1, 2]", "a line is one object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"t": NaN}', "NaN is not a number in JSON"),
        (b"{}", "t and arm and metric are missing"),
        (b'{"t": 1, "arm": "canary", "metric": "m"}', "it counts nothing"),
        (b'{"t": 1, "arm": "canary", "metric": "m", "n": 1}', "n do not make a count"),
    ],
)
def test_what_is_no_line_is_one_sentence(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        line_of(text)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"n": 1, "bad": 2}, "bad is 2 of n 1"),
        ({"n": -1, "bad": 0}, "n is -1; it is a whole number"),
        ({"n": 1, "bad": 0.5}, "bad is 0.5"),
        ({"n": True, "bad": 0}, "n is true"),
        ({"n": 1, "bad": 0, "t": -1}, "t is -1; it is a number from 0"),
        ({"n": 1, "bad": 0, "t": "1"}, "t is "),
        ({"n": 1, "bad": 0, "arm": ["canary"]}, "arm is "),
        ({"n": 1, "bad": 0, "metric": ""}, "metric is "),
        ({"n": 1, "bad": 0, "pod": 5}, "pod is 5; it is a text"),
        ({"n": 1, "bad": 0, "probes": 1}, "probes is 1; it is true or false"),
        ({"n": 1, "bad": 0, "seq": None}, "seq is null"),
        ({"n": 1, "bad": 0, "podd": "a"}, "did you mean pod?"),
        ({"n": 1, "bad": 0, "zzzz": "a"}, "the known ones are arm, "),
        ({"scores": 4.1}, "scores is 4.1; it is a list"),
        ({"scores": ["x" * 99]}, "xxx..."),
        ({"samples_s": [-1]}, "samples_s is -1"),
        ({"histogram": []}, "histogram is "),
        ({"histogram": {"nan": 1}}, 'the edge "nan"'),
        ({"histogram": {"0.0": 1}}, 'the edge "0.0"'),
        ({"buckets": {"0.1": 1}}, 'no "\\+Inf"'),
        ({"buckets": {"0.1": 2, "+Inf": 1}}, "falls from 2 to 1"),
        ({"buckets": 1}, "buckets is 1"),
        ({"events": 1, "exposure_s": 0}, "exposure_s is 0"),
        ({"outcomes": [1]}, "outcomes is "),
        ({"n": 1, "weight_pct": 101}, "weight_pct is 101"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed(HEAD | fields)


def test_what_equals_a_number_that_was_read_before_is_still_no_number() -> None:
    """In Python 1, 1.0 and True are equal, so that remembered counts must be told apart by their types."""
    expected = parsed(HEAD | {"n": 1, "bad": 1}).measure
    assert parsed(HEAD | {"n": 1.0, "bad": 1}).measure == expected
    with pytest.raises(ValueError, match="n is true"):
        parsed(HEAD | {"n": True, "bad": 1})
    with pytest.raises(ValueError, match=r"bad is \[1\]"):
        parsed(HEAD | {"n": 1, "bad": [1]})


def test_edges_that_are_the_same_number_are_one() -> None:
    assert parsed(HEAD | {"histogram": {"0.1": 1, ".10": 2}}).measure.bins == {100.0: 3}
    assert parsed(HEAD | {"buckets": {"0.1": 1, ".10": 1, "+Inf": 1}}).measure.bins == {100.0: 1, float("inf"): 0}


def test_the_schema_is_one_and_has_every_field_and_shape() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    shapes = {frozenset(one["required"]) for one in SCHEMA["oneOf"]}
    assert shapes == set(SHAPES)
    assert set(SCHEMA["properties"]) >= frozenset().union(*shapes)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.sampled_from([0.5, 5.0, -0.0, 1e13, 10**10, 2**53, "", "canary", "stable", "x" * 201, "-"]),
    st.lists(st.sampled_from([1, -1, 0.5, None, "x", True]), max_size=2),
    st.dictionaries(
        st.sampled_from(
            ["0.1", "1", "1.", ".5", "1e2", "1e-3", "1e400", "0", "0.0", "+Inf", "inf", " 1", "1_0", "cat", ""]
        ),
        st.sampled_from([0, 1, 5, 5.0, -1, 0.5, "1", None]),
        max_size=3,
    ),
)


@settings(max_examples=500)
@given(
    st.sampled_from([counts for counts, _, _ in GOOD]),
    st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), values, max_size=2),
    st.sets(st.sampled_from(["t", "arm", "metric", "n", "bad"]), max_size=1),
)
@example({"scores": []}, {}, set())
def test_the_schema_and_the_code_agree(counts: dict[str, Any], changed: dict[str, Any], left_out: set[str]) -> None:
    fields = {name: value for name, value in (HEAD | counts | changed).items() if name not in left_out}
    try:
        parsed(fields)
        refused = ""
    except ValueError as error:
        refused = str(error)
    beyond = "cannot be more bad" in refused or "buckets falls" in refused  # no schema can say that
    assert VALID.is_valid(fields) == (not refused or beyond), refused
