"""Texts of JSON values and times: one for each, whoever writes it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from penstock.kernel.chain import canonical_json, rfc3339, utc


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


def test_times_are_read_with_their_zone_or_not_at_all() -> None:
    assert utc("2026-01-31T21:00:00+09:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert utc("2026-01-31T12:00Z").tzinfo is UTC
    with pytest.raises(ValueError, match=r"has no time zone; write e\.g\. 2026-01-31T12:00Z"):
        utc("2026-01-31T12:00")
