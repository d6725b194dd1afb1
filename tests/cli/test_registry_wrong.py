"""Wrong input to the registry's commands: one sentence, the right exit code, and nothing lost."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.exit_codes import ExitCode
from tests.cli.conftest import METADATA, Command, Make

#: Source: linux/prctl.h, linux/capability.h.
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
_NESTED = "[" * 100_000


def without_roots_privilege() -> None:
    """Let file modes hold for root as well, from the next program on."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


def penstock_as_others(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", *map(str, args)]
    return subprocess.run(
        command, preexec_fn=without_roots_privilege, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_version_pushed_as_verified_later_is_verified(penstock: Command, state: Path, make: Make) -> None:
    folder = str(make("1.2.0"))
    assert penstock("push", "tts/vocoder", folder, "-o", "json").last["stage"] == "registered"
    again = penstock("push", "tts/vocoder", folder, "--stage", "verified", "--reason", "heard", "-o", "json")
    assert (again.code, again.last["stage"], again.last["is_new"]) == (0, "verified", False)
    assert penstock("push", "tts/vocoder", folder, "-o", "json").last["stage"] == "verified"


def test_json_that_is_nested_too_deep_is_refused(penstock: Command, state: Path, make: Make, tmp_path: Path) -> None:
    folder = make("1.2.0")
    (folder / "version.json").write_text(_NESTED, encoding="utf-8")
    pushed = penstock("push", "tts/vocoder", str(folder))
    assert (pushed.code, "version.json is not JSON" in pushed.err) == (ExitCode.USAGE, True)
    (tmp_path / "export.jsonl").write_text(_NESTED + "\n", encoding="utf-8")
    imported = penstock("registry", "import", str(tmp_path / "export.jsonl"), "-o", "json")
    assert (imported.code, len(imported.last["conflicts"])) == (ExitCode.CONFLICT, 1)


def test_a_file_that_says_it_is_another_version_is_refused(penstock: Command, state: Path, make: Make) -> None:
    pushed = penstock("push", "tts/vocoder", str(make("1.4.0", version="9.9.9")))
    assert (pushed.code, "it says 9.9.9, not 1.4.0" in pushed.err) == (ExitCode.USAGE, True)


def test_other_content_under_a_taken_number_is_told_apart(penstock: Command, state: Path, make: Make) -> None:
    folder = make("1.2.0")
    assert penstock("push", "tts/vocoder", str(folder)).code == 0
    meta = folder.parent / "meta.json"
    meta.write_text(json.dumps({"owner": "bob"}), encoding="utf-8")
    assert "with other metadata" in penstock("push", "tts/vocoder", str(folder), "--meta", str(meta)).err
    (folder / "weights.txt").write_text("others", encoding="utf-8")
    assert "with other files" in penstock("push", "tts/vocoder", str(folder)).err


def test_a_person_makes_no_canary(penstock: Command, state: Path, make: Make) -> None:
    assert penstock("push", "tts/vocoder", str(make("1.2.0"))).code == 0
    marked = penstock("mark", "tts/vocoder@1.2.0", "canary", "--reason", "why not")
    assert (marked.code, "only a rollout" in marked.err) == (ExitCode.USAGE, True)


def test_two_versions_are_not_pulled_into_one_folder(
    penstock: Command, state: Path, make: Make, tmp_path: Path
) -> None:
    first, second = make("1.2.0"), make("1.3.0")
    (first / "extra.txt").write_text("only here", encoding="utf-8")
    for folder in (first, second):
        assert penstock("push", "tts/vocoder", str(folder)).code == 0
    into = tmp_path / "pulled"
    assert penstock("pull", "tts/vocoder@1.2.0", str(into)).code == 0
    assert penstock("pull", "tts/vocoder@1.2.0", str(into)).code == 0
    refused = penstock("pull", "tts/vocoder@1.3.0", str(into))
    assert (refused.code, "holds extra.txt" in refused.err) == (ExitCode.CONFLICT, True)
    assert (into / "weights.txt").read_text(encoding="utf-8") == "weights of 1.2.0\n"


def test_weights_that_cannot_be_read_are_not_called_unsafe(state: Path, make: Make) -> None:
    folder = make("1.2.0")
    weights = folder / "weights.safetensors"
    weights.touch(mode=0o000)
    pushed = penstock_as_others("push", "tts/vocoder", folder)
    assert (pushed.returncode, "Permission denied" in pushed.stderr, "not safe" in pushed.stderr) == (
        ExitCode.USAGE,
        True,
        False,
    )


@pytest.mark.parametrize("closed", ["lost+found", "vocoder/1.4.0", "vocoder/config.pbtxt"])
def test_what_cannot_be_read_keeps_nothing_else_of_a_tree_out(state: Path, tmp_path: Path, closed: str) -> None:
    root = tmp_path / "models"
    for version in ("1.2.0", "1.3.0"):
        folder = root / "vocoder" / version
        folder.mkdir(parents=True)
        (folder / "weights.txt").write_text(version, encoding="utf-8")
        (folder / "version.json").write_text(json.dumps(METADATA), encoding="utf-8")
    place = root / closed
    if place.suffix == ".pbtxt":
        place.touch(mode=0o000)
    else:
        place.mkdir(mode=0o000)
    try:
        done = penstock_as_others("registry", "adopt", "tts", root, "-o", "json")
    finally:
        place.chmod(0o700)
    said = json.loads(done.stdout)
    assert "Traceback" not in done.stderr
    if closed == "vocoder/config.pbtxt":
        assert {refused["folder"] for refused in said["refused"]} == {"vocoder/1.2.0", "vocoder/1.3.0"}
        return
    assert {version["folder"] for version in said["versions"]} == {"vocoder/1.2.0", "vocoder/1.3.0"}
    assert [*(r["folder"] for r in said["refused"]), *said["left_alone"]] == [closed]
