"""The name of a version's files: one for equal precedence, and a text that cannot be taken for another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import InvalidComponent, InvalidDigest, InvalidName
from penstock.kernel.semver import SemVer
from penstock.registry.naming import Name

DIGEST = "sha256:" + "ab" * 32


def name_of(version: str) -> Name:
    return Name("tts", "vocoder", SemVer.parse(version))


def test_versions_of_equal_precedence_have_one_path() -> None:
    assert name_of("v1.3.0-rc.1+cu12").path == name_of("1.3.0-rc.1+cu13").path == "tts/vocoder/1.3.0-rc.1"
    assert name_of("3").path == "tts/vocoder/3.0.0"
    assert str(name_of("1.3.0+cu12")) == "tts/vocoder@1.3.0+cu12"


def test_what_was_written_is_read() -> None:
    text = name_of("1.3.0-RC").text(DIGEST)
    assert Name.read(text) == (name_of("1.3.0-RC"), DIGEST)
    assert Name.read(text)[0] != name_of("1.3.0-rc")


@given(st.binary() | st.integers(0, 160).map(lambda n: name_of("1.3.0").text(DIGEST)[:n]))
def test_what_is_no_whole_name_is_refused(text: bytes) -> None:
    if text != name_of("1.3.0").text(DIGEST):
        with pytest.raises(ValueError, match="cannot be read"):
            Name.read(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"sha256:", b"md5:"),
        (b'"1.3.0"', b'"1.3"'),
        (b'"1.3.0"', b"[]"),
        (b'"tts"', b'"../tts"'),
        (b'"tts"', b"7"),
        (b"name/1", b"name/2"),
        (b'"service"', b'"more":0,"service"'),
        (b":", b": "),
    ],
)
def test_what_was_changed_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Name.read(name_of("1.3.0").text(DIGEST).replace(old, new))


def test_what_leads_elsewhere_is_no_name() -> None:
    with pytest.raises(InvalidName):
        Name("..", "vocoder", SemVer(1))
    with pytest.raises(InvalidComponent):
        Name("tts", "a/b", SemVer(1))
    with pytest.raises(InvalidDigest):
        name_of("1.0.0").text("latest")
