"""Where the speech example is found, and what is asked of it."""

from pathlib import Path

import pytest

from penstock.cli.demo import servers
from penstock.kernel.errors import ExampleMissing


def test_a_checkout_has_the_example_at_its_root() -> None:
    assert (servers.speech_dir() / "__main__.py").is_file()


def package_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = root / "lib" / "penstock"
    package.mkdir(parents=True)
    monkeypatch.setattr("penstock.__file__", str(package / "__init__.py"))
    return package


def test_a_wheel_carries_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = package_at(tmp_path, monkeypatch) / "_examples" / "speech"
    speech.mkdir(parents=True)
    (speech / "__main__.py").touch()
    assert servers.speech_dir() == speech


def test_a_missing_example_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_at(tmp_path, monkeypatch)
    with pytest.raises(ExampleMissing, match="_examples/speech") as caught:
        servers.speech_dir()
    assert "pip install" in caught.value.remedy


def test_users_ask_for_short_and_long_texts_in_both_languages() -> None:
    texts = servers.load_texts()
    assert all(texts)
    assert {text.isascii() for text in texts} == {True, False}
    assert max(map(len, texts)) > 5 * min(map(len, texts))


def test_the_report_hears_short_and_long_in_both_languages() -> None:
    sentences = servers.load_sentences()
    assert [(kind, text.isascii()) for kind, text in sentences] == [
        ("short", True),
        ("short", False),
        ("long", True),
        ("long", False),
    ]
