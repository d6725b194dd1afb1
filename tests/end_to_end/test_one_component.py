"""The tutorial on one component does what it says, with its own words: real speech, real weights, a real gateway."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.programs import SPEECH
from tests.end_to_end.stage import Result, Stage

_TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "one-component.md"
#: The tutorial's steps last seconds; here they may be shorter.
_SOON = ("--steps", "20,100", "--dwell", "1s", "--longest-stall", "2s", "--min-requests", "20")
_TEXTS = ("Your order has been shipped.", "今天天气很好, 我们出去走走吧。", "Are you sure?")
BODIES = [json.dumps({"text": text, "emotion": "happy"}).encode() for text in _TEXTS]

#: What each command of the tutorial ends with, in its order; whatever is promoted or rolled back: what serves then.
ENDS = (
    *(["push", 0, ""],) * 3,
    ["up", 0, ""],
    ["push", 0, ""],
    ["release", 0, "acoustic 1.1.0, vocoder 1.0.0"],
    ["push", 0, ""],
    ["release", 0, "acoustic 1.1.0, vocoder 1.2.0"],
    ["rollback", 0, ""],
    ["rollback", 0, "acoustic 1.1.0, vocoder 1.0.0"],
    ["release", 6, "quarantined"],
    ["push", 6, "unsafe-artifact"],
    ["push", 0, ""],
    ["push", 0, ""],
    ["release", 6, "incompatible"],
    ["release", 0, "acoustic 2.0.0, vocoder 2.0.0"],
    ["rollback", 0, "acoustic 1.1.0, vocoder 1.0.0"],
)


def commands() -> list[list[str]]:
    """Return the penstock commands of the tutorial, each as its words, without the program's name."""
    blocks = re.findall(r"```sh\n(.*?)```", _TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    words = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in words if line[:1] == ["penstock"]]


@pytest.fixture
def voices(tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the tutorial makes, and a store and a cache for the weights that are this test's own."""
    monkeypatch.setenv("PENSTOCK_STATE", str(stage.state_dir))
    monkeypatch.setenv("PENSTOCK_WEIGHTS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "voices"
    subprocess.run([sys.executable, str(SPEECH), "--make", str(root)], check=True, capture_output=True, timeout=180)
    return root


def test_the_walk_through_runs(stage: Stage, voices: Path) -> None:
    walk = commands()
    assert [words[0] for words in walk] == [end[0] for end in ENDS]
    serving: list[str] = []

    def step(words: list[str], code: int, end: str) -> Result:
        plan = _SOON if "--watch" in words else ()
        here = [word.replace("voices", str(voices), 1) if word.startswith("voices/") else word for word in words]
        result = stage.penstock(*here, *plan)
        assert result.code == code, (words, result)
        if code:
            assert result.last["error"]["code"] == end
        elif end:
            versions = stage.status()["stable"]["versions"]
            assert f"acoustic {versions['acoustic']}, vocoder {versions['vocoder']}" == end, words
            assert versions["emotion"] == "1.0.0"
            serving.append(end)
        return result

    n_before = next(i for i, words in enumerate(walk) if words[0] == "up")
    for words, (_, code, end) in zip(walk[:n_before], ENDS, strict=False):
        step(words, code, end)
    servers = stage.components(3)
    stage.up(*servers)
    with stage.users(bodies=BODIES, rate_hz=30) as load:
        results = [
            step(words, code, end)
            for words, (_, code, end) in zip(walk[n_before + 1 :], ENDS[n_before + 1 :], strict=True)
        ]
    assert len(load.requests) > 200
    assert not [request for request in load.requests if request.status != 200]
    assert len(serving) == 5
    refused = next(result.last["error"] for result in results if "incompatible" in result.out)
    assert "--version 2.0.0 --also acoustic=2.0.0" in str(refused)
    in_registry = {(v["component"], v["version"]): v["stage"] for v in stage.penstock("list", "tts").last}
    assert in_registry[("vocoder", "1.2.0")] == "quarantined"
    assert in_registry[("acoustic", "1.1.0")] == in_registry[("vocoder", "1.0.0")] == "stable"
