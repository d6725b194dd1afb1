"""Every error says what happened, what to do, and has a code of its own; the tree is drawn as it is."""

import inspect
import re
import string

import pytest

from penstock.kernel import errors
from penstock.kernel.errors import PenstockError
from penstock.kernel.names import checked_service, checked_version

_ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, PenstockError)]


@pytest.mark.parametrize("cls", _ALL)
def test_the_docstring_is_message_and_remedy(cls: type[PenstockError]) -> None:
    facts = {name for _, name, _, _ in string.Formatter().parse(cls.__doc__ or "") if name}
    error = cls(**dict.fromkeys(facts, "X"))
    assert error.message.endswith((".", "!", "X", ":"))
    assert error.remedy
    assert "{" not in error.message + error.remedy
    assert str(error) == error.message


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in _ALL]
    assert len(set(codes)) == len(codes)


def test_the_tree_at_the_top_is_the_tree() -> None:
    drawn = re.findall(r"[├└│─ ]*([A-Z]\w+)", (errors.__doc__ or "").split("The first paragraph")[0])
    assert {name for name in drawn if hasattr(errors, name)} == {cls.__name__ for cls in _ALL}


@pytest.mark.parametrize("name", ["tts", "a", "voice-2", "x" * 63])
def test_good_service_names(name: str) -> None:
    assert checked_service(name) == name


@pytest.mark.parametrize("name", ["", "Tts", "2tts", "a_b", "a/b", "x" * 64, "tts "])
def test_bad_service_names(name: str) -> None:
    with pytest.raises(errors.InvalidName):
        checked_service(name)


@pytest.mark.parametrize("version", ["", "2 0", "-1", "a\nb", "版本", "x" * 65])
def test_bad_versions(version: str) -> None:
    with pytest.raises(errors.InvalidVersion):
        checked_version(version)
