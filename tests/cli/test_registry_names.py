"""Choosing among versions, and naming them: filters of list, aliases."""

from pathlib import Path

import pytest

from penstock.cli.exit_codes import ExitCode
from tests.cli.conftest import Command, Make


def listed(penstock: Command, *args: str) -> list[str]:
    found = penstock("list", *args, "-o", "json")
    assert found.code == ExitCode.OK, found.err
    return [version["version"] for version in found.last]


def test_versions_are_chosen_by_what_is_known_of_them(penstock: Command, three: Path, make: Make) -> None:
    other = make("v2.0.0", owner="voices", languages=["de"], change_note="A warmer voice", created="2026-11-02")
    penstock("push", "tts/vocoder", str(other), "--stage", "verified")
    penstock("push", "tts/acoustic", str(make("v9.0.0")))
    of_vocoder = "tts/vocoder"
    assert listed(penstock, of_vocoder, "--stage", "stable") == ["1.3.0", "1.2.0", "1.1.0"]
    assert listed(penstock, of_vocoder, "--stage", "stable", "--limit", "1", "--offset", "1") == ["1.2.0"]
    assert listed(penstock, of_vocoder, "--owner", "voices") == ["2.0.0"]
    assert listed(penstock, of_vocoder, "--language", "de") == ["2.0.0"]
    assert listed(penstock, of_vocoder, "--text", "WARMER") == ["2.0.0"]
    assert listed(penstock, "tts", "--stage", "registered") == ["9.0.0"]
    assert listed(penstock, of_vocoder, "--owner", "voices", "--stage", "stable") == []
    assert listed(penstock, of_vocoder, "--limit", "0") == []


def test_versions_are_chosen_by_when_they_were_registered(penstock: Command, three: Path, make: Make) -> None:
    before = penstock("get", "tts/vocoder@1.3.0", "-o", "json").last["registered_at"]
    penstock("push", "tts/vocoder", str(make("v2.0.0")))
    after = penstock("get", "tts/vocoder@2.0.0", "-o", "json").last["registered_at"]
    assert listed(penstock, "tts/vocoder", "--since", before) == ["2.0.0", "1.3.0"]
    assert listed(penstock, "tts/vocoder", "--since", after) == ["2.0.0"]
    assert listed(penstock, "tts/vocoder", "--since", "2999-01-01") == []


def test_versions_are_chosen_by_whether_they_go_or_went(penstock: Command, three: Path, make: Make) -> None:
    penstock("push", "tts/vocoder", str(make("v0.9.0")))
    penstock("gc", "--keep-last", "0")
    assert listed(penstock, "tts/vocoder", "--marked") == ["0.9.0"]
    penstock("gc", "--keep-last", "0", "--grace", "0")
    assert listed(penstock, "tts/vocoder", "--marked") == []
    assert listed(penstock, "tts/vocoder") == ["1.3.0", "1.2.0", "1.1.0"]
    assert listed(penstock, "tts/vocoder", "--removed") == ["1.3.0", "1.2.0", "1.1.0", "0.9.0"]
    assert "registered, removed" in penstock("list", "tts/vocoder", "--removed").out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tts/vocoder", "--stage", "good"], "'good' is not one of registered, verified, canary"),
        (["tts/vocoder", "--since", "spring"], "--since 'spring' is neither a day nor a time with its zone"),
        (["tts/vocoder", "--since", "2026-01-31T12:00"], "neither a day nor a time with its zone"),
        (["tts/vocoder", "--limit", "-1"], "greater than or equal to 0"),
        (["tts/vocoder", "--offset", "9" * 30], "less than or equal to 1000000000"),
        (["--owner", "speech"], "--owner chooses among versions; name whose"),
    ],
)
def test_a_filter_that_cannot_be_meant_says_why(penstock: Command, three: Path, args: list[str], says: str) -> None:
    refused = penstock("list", *args)
    assert refused.code == ExitCode.USAGE
    assert says in refused.err


def test_an_alias_names_a_version_until_it_is_moved_or_taken_away(penstock: Command, three: Path) -> None:
    said = penstock("registry", "alias", "tts/vocoder@1.2.0", "night", "--actor", "ann", "-o", "json")
    assert (said.code, said.last) == (ExitCode.OK, {"alias": "night", "version": "tts/vocoder@1.2.0"})
    assert "night" in penstock("get", "tts/vocoder@night", "-o", "json").last["aliases"]
    moved = penstock("registry", "alias", "tts/vocoder@latest", "night")
    assert moved.out == "tts/vocoder@night is 1.3.0\n"
    assert penstock("get", "tts/vocoder@night", "-o", "json").last["version"] == "1.3.0"
    gone = penstock("registry", "unalias", "tts/vocoder", "night", "-o", "json")
    assert (gone.code, gone.last) == (ExitCode.OK, {"alias": "night", "of": "tts/vocoder"})
    assert penstock("get", "tts/vocoder@night").code == ExitCode.ERROR
    assert penstock("get", "tts/vocoder@1.3.0").code == ExitCode.OK


def test_what_an_alias_names_is_not_collected(penstock: Command, three: Path, make: Make) -> None:
    penstock("push", "tts/vocoder", str(make("v0.9.0")))
    penstock("registry", "alias", "tts/vocoder@0.9.0", "museum")
    said = penstock("gc", "--keep-last", "0", "-o", "json").last
    assert said["marked"] == []
    assert {"version": "tts/vocoder@0.9.0", "why": "it is museum"} in said["kept"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["alias", "tts/vocoder", "night"], ExitCode.USAGE, "'tts/vocoder' names no version"),
        (["alias", "tts/vocoder@7.0.0", "night"], ExitCode.ERROR, "no version '7.0.0'"),
        (["alias", "tts/vocoder@1.2.0", "latest"], ExitCode.USAGE, "'latest' follows from promotions"),
        (["alias", "tts/vocoder@1.2.0", "v7"], ExitCode.USAGE, "an alias is lower-case letters"),
        (["unalias", "tts/vocoder", "night"], ExitCode.ERROR, "night"),
        (["unalias", "tts/vocoder@1.2.0", "night"], ExitCode.USAGE, "an alias is taken from a component"),
    ],
)
def test_an_alias_that_cannot_be_meant_says_why(
    penstock: Command, three: Path, args: list[str], code: ExitCode, says: str
) -> None:
    refused = penstock("registry", *args)
    assert refused.code == code
    assert says in refused.err


def test_a_quarantined_version_gets_no_alias(penstock: Command, three: Path) -> None:
    penstock("mark", "tts/vocoder@1.2.0", "quarantined", "--reason", "crackles")
    assert penstock("registry", "alias", "tts/vocoder@1.2.0", "night").code == ExitCode.REFUSED
