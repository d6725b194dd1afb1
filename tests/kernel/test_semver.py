"""Semantic versions: a total order, the one python-semver has; ranges."""

import pytest
import semver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import InvalidRange, InvalidSemVer
from penstock.kernel.semver import Range, SemVer

_numbers = st.integers(0, 12) | st.integers(0, 10**15)
_words = st.from_regex(r"0|[1-9][0-9]{0,3}|[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True)
_identifiers = st.lists(_words, min_size=1, max_size=3).map(".".join)


@st.composite
def texts(draw: st.DrawFn) -> str:
    numbers = ".".join(str(draw(_numbers)) for _ in range(3))
    pre = "-" + draw(_identifiers) if draw(st.booleans()) else ""
    build = "+" + draw(_identifiers) if draw(st.booleans()) else ""
    return (numbers + pre + build)[:64].rstrip("-+.")


def readable(text: str) -> bool:
    return semver.Version.is_valid(text)


_versions = texts().filter(readable)
#: The first examples compile patterns, which takes its time on a busy machine; this is no test of speed.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_patient
@given(_versions, _versions)
def test_the_order_is_the_one_of_python_semver(a: str, b: str) -> None:
    ours, theirs = (SemVer.parse(a), SemVer.parse(b)), (semver.Version.parse(a), semver.Version.parse(b))
    assert (ours[0] < ours[1]) == (theirs[0] < theirs[1])
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert (ours[0] >= ours[1]) == (theirs[0] >= theirs[1])


@_patient
@given(_versions, _versions, _versions)
def test_the_order_is_total_and_transitive_and_the_keys_have_it(a: str, b: str, c: str) -> None:
    x, y, z = (SemVer.parse(text) for text in (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert (x < y) == (x.key.encode() < y.key.encode())
    assert not (x <= y <= z) or x <= z
    assert x != y or hash(x) == hash(y)


@_patient
@given(_versions)
def test_what_is_written_is_read_again(text: str) -> None:
    version = SemVer.parse(text)
    assert str(version) == text
    assert SemVer.parse(f"v{text}"[:64]) == version or len(text) == 64


@_patient
@given(st.text(max_size=12) | _versions)
def test_what_is_read_is_what_python_semver_reads(text: str) -> None:
    ours = text.removeprefix("v")
    try:
        SemVer.parse(text)
    except InvalidSemVer:
        assert not readable(ours)
    else:
        assert readable(ours) or (ours.isascii() and ours.isdigit())


def test_precedence_as_the_specification_lists_it() -> None:
    """Source: Semantic Versioning 2.0.0, item 11."""
    rising = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ]
    assert sorted(rising, key=lambda text: SemVer.parse(text).key) == rising


def test_build_metadata_is_kept_and_does_not_count() -> None:
    assert SemVer.parse("1.0.0+a") == SemVer.parse("1.0.0+b")
    assert str(SemVer.parse("1.0.0+a")) == "1.0.0+a"
    assert SemVer.parse("1.0.0") != "1.0.0"
    with pytest.raises(TypeError):
        _ = SemVer.parse("1.0.0") < "2"


@pytest.mark.parametrize(
    ("directory", "version"), [("3", "3.0.0"), ("00012", "12.0.0"), ("v7", "7.0.0"), ("0", "0.0.0")]
)
def test_a_bare_number_is_a_major_version(directory: str, version: str) -> None:
    assert str(SemVer.parse(directory)) == version


@pytest.mark.parametrize(
    "text",
    ["", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3.4", "-1", "\uff11.2.3", "1" * 20, "1.0.0-" + "a" * 60],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidSemVer, match="semantic version"):
        SemVer.parse(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.1,<2", ["1.1.0", "1.99.0", "1.1.1-rc.1"], ["1.0.9", "2.0.0", "2.0.0-rc.1", "1.1.0-rc.1"]),
        ("==1.2.0", ["1.2.0", "1.2.0+b"], ["1.2.1", "1.2.0-rc.1"]),
        ("1.2.0", ["1.2.0"], ["1.2.1"]),
        ("3", ["3.0.0"], ["3.0.1"]),
        ("!=1.2", ["1.2.1"], ["1.2.0"]),
        (" > 1.2 , <= 1.4.0 ", ["1.2.1", "1.4.0"], ["1.2.0", "1.4.1"]),
        ("<2.0.0-rc.2", ["2.0.0-rc.1", "1.0.0"], ["2.0.0-rc.2", "2.0.0"]),
        ("~=1.2", ["1.2.0", "1.9.0"], ["1.1.9", "2.0.0", "2.0.0-a"]),
        ("~=1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0", "1.3.0-a"]),
        ("~=1.2.3-rc.1", ["1.2.3-rc.2", "1.2.3"], ["1.3.0"]),
    ],
)
def test_ranges(text: str, inside: list[str], outside: list[str]) -> None:
    range_ = Range.parse(text)
    assert [v for v in inside + outside if range_.allows(SemVer.parse(v))] == inside
    assert str(range_) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["", ">=", ">=1.1,", "^1.2", "1.x", ">=1.2 <2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidRange, match="not a range of versions"):
        Range.parse(text)
