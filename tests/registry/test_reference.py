"""How people name versions."""

import pytest

from penstock.kernel.errors import InvalidReference
from penstock.registry.reference import Ref, checked_alias


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tts/vocoder@1.3.0", "tts/vocoder@1.3.0"),
        ("tts/vocoder@v1.3.0-rc.1", "tts/vocoder@1.3.0-rc.1"),
        ("tts/vocoder@3", "tts/vocoder@3.0.0"),
        ("tts/emotion_encoder", "tts/emotion_encoder@latest"),
        ("tts", "tts/model@latest"),
        ("tts@stable", "tts/model@stable"),
        ("tts@my-night_alias", "tts/model@my-night_alias"),
        ("models:/tts@champion", "tts/model@champion"),
        ("models:/tts/3", "tts/model@3.0.0"),
        ("models:/tts/latest", "tts/model@latest"),
        ("models:/tts/vocoder/3", "tts/vocoder@3.0.0"),
        ("models:/tts/vocoder@challenger", "tts/vocoder@challenger"),
    ],
)
def test_what_is_meant(text: str, meant: str) -> None:
    assert str(Ref.parse(text)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "@latest", "tts@", "TTS", "tts/", "tts/a/b", "tts/a b", "tts@1.2", "tts@Latest", "tts@a@b", "models:/", "models:/tts", "models:/TTS/3"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="names no version"):
        Ref.parse(text)


@pytest.mark.parametrize("alias", ["latest", "previous", "champion", "stable", "v3", "12", "1.2.3", "Night", "", "a b"])
def test_what_is_no_alias_is_refused(alias: str) -> None:
    with pytest.raises(InvalidReference):
        checked_alias(alias)


def test_an_alias() -> None:
    assert [checked_alias(alias) for alias in ("night", "challenger", "a_b-2")] == ["night", "challenger", "a_b-2"]
