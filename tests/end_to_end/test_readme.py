"""The README's quickstart does what it says, with its own words."""

import re
import shlex
from pathlib import Path

from tests.end_to_end.stage import Stage

_README = Path(__file__).parents[2] / "README.md"
#: The quickstart's plan takes minutes; its steps may be fewer and shorter here.
_SOON = ("--steps", "20,100", "--dwell", "1s", "--longest-stall", "2s", "--min-requests", "20")


def commands() -> list[list[str]]:
    """Return the penstock commands of the quickstart, each as its words, without the program's name."""
    quickstart = _README.read_text(encoding="utf-8").split("<!-- quickstart")[1].split("Everything else:")[0]
    blocks = re.findall(r"```sh\n(.*?)```", quickstart, re.DOTALL)
    words = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert all(line[0] == "penstock" for line in words)
    return [line[1:] for line in words]


def test_the_quickstart_runs(stage: Stage) -> None:
    up, release, rollback = commands()
    stable, canary = stage.server("1.5.0"), stage.server("1.6.0")
    places = {"http://127.0.0.1:6006": stable.url, "http://127.0.0.1:6007": canary.url}

    def here(words: list[str]) -> list[str]:
        return [re.sub(r"http://127\.0\.0\.1:600[67]", lambda found: places[found[0]], word) for word in words]

    assert up[0] == "up"
    stage.up(here(up)[1].removeprefix("tts="))
    with stage.users():
        promoted = stage.penstock(*here(release), *_SOON)
        assert (promoted.code, promoted.last["outcome"]) == (0, "promoted")
        undone = stage.penstock(*rollback)
        assert (undone.code, undone.last["release"]) == (0, "1.5.0")
        reasons = [entry["reason"] for entry in stage.penstock("history", "tts").last]
    assert "users hear crackling" in reasons
