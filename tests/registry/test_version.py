"""Versions and promotions go through JSON unchanged; their names are checked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from penstock.kernel.errors import InvalidComponent, InvalidName
from penstock.registry.promotion import Promotion
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import AT, sample_version


def test_a_version_is_read_as_it_was_written() -> None:
    version = sample_version("1.2.0-rc.1+b", digest="sha256:ab", requires={"acoustic": "<2"})
    version = version.moved(Stage.VERIFIED, at=AT, actor="ci", reason="Fine.")
    version = replace(version, marked_at=AT + timedelta(1), removed_at=AT + timedelta(2))
    assert Version.from_json(version.as_json()) == version
    assert (version.name, version.reference) == ("vocoder 1.2.0-rc.1+b", "tts/vocoder@1.2.0-rc.1+b")
    assert version.why_unusable == "was removed"
    assert version.complete


def test_a_promotion_is_read_as_it_was_written() -> None:
    promotion = Promotion("tts", 3, {"vocoder": "1.0.0"}, AT, "ann", "Because.", "It hums.")
    assert Promotion.from_json(promotion.as_json()) == promotion


def test_whatever_happens_to_a_version_it_is_the_same() -> None:
    version = sample_version("1.0.0")
    assert version.moved(Stage.CANARY, at=AT, actor="ann", reason="").is_same_as(version)
    assert not sample_version("1.0.0+a").is_same_as(version)
    assert not sample_version("1.0.0", size_bytes=1).is_same_as(version)


def test_names_and_sizes_are_checked() -> None:
    with pytest.raises(InvalidName):
        sample_version("1.0.0", service="TTS")
    with pytest.raises(InvalidComponent, match="a component"):
        sample_version("1.0.0", "a/b")
    assert sample_version("1.0.0", "emotion_encoder").component == "emotion_encoder"
    with pytest.raises(ValueError, match="no size"):
        sample_version("1.0.0", size_bytes=-1)
