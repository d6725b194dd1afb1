"""What the registry's commands refuse, with what is wrong in one sentence, and nothing lost."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from penstock.cli.exit_codes import ExitCode
from tests.cli.conftest import METADATA, Command, Make

PROGRAM = [sys.executable, "-m", "penstock"]
#: As root every file can be read; the tests run as one or the other.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def ran(*args: str | Path, lines: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the program without the right to read what its owner may not."""
    return subprocess.run([*UNPRIVILEGED, *PROGRAM, *args], capture_output=True, text=True, check=False, input=lines)


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("module", ["penstock", "penstock.cli.main"])
def test_the_program_is_run_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("penstock ")


def test_a_name_is_allowed_by_name(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v1.3.0")
    (folder / "model.pkl").write_bytes(pickle.dumps(Fraction(1, 3)))
    refused = penstock("push", "tts/vocoder", str(folder), "--allow-pickles")
    assert (refused.code, "fractions.Fraction" in refused.err) == (ExitCode.REFUSED, True)
    assert "--allow-name MODULE.NAME" in refused.err
    (tree := folder.parent / "tree" / "vocoder").mkdir(parents=True)
    assert penstock("push", "tts/vocoder", str(folder), "--allow-name", "fractions.Fraction").code == ExitCode.OK
    folder.rename(tree / "v1.3.0")
    adopt = ("registry", "adopt", "asr", str(tree.parent))
    assert penstock(*adopt, "--allow-name", "os.system").code == ExitCode.ERROR
    assert penstock(*adopt, "--allow-name", "os.system", "--allow-name", "fractions.Fraction").code == ExitCode.OK


def test_a_push_as_verified_verifies_what_is_there(penstock: Command, state: Path, make: Make) -> None:
    folder = str(make("v1.3.0"))
    penstock("push", "tts/vocoder", folder)
    verified = ("push", "tts/vocoder", folder, "--stage", "verified", "--reason", "checked")
    assert penstock(*verified, "--dry-run", "-o", "json").last["stage"] == "verified"
    assert penstock("get", "tts/vocoder@1.3.0", "-o", "json").last["stage"] == "registered"
    done = penstock(*verified)
    assert done.out.startswith("is there already, and is verified now: tts/vocoder@1.3.0 (verified, ")
    assert penstock("get", "tts/vocoder@1.3.0", "-o", "json").last["staged_why"] == "checked"
    assert penstock(*verified).out.startswith("nothing to do")
    penstock("mark", "tts/vocoder@1.3.0", "stable")
    assert penstock(*verified, "-o", "json").last["stage"] == "stable"
    penstock("mark", "tts/vocoder@1.3.0", "quarantined", "--reason", "crackles")
    for only_looking in (["--dry-run"], []):
        refused = penstock(*verified, *only_looking)
        assert (refused.code, "is quarantined and cannot become verified" in refused.err) == (ExitCode.CONFLICT, True)


@pytest.mark.parametrize(
    ("depth", "says"), [(200, "nested more than 100 deep"), (100_000, "is not JSON: maximum recursion depth")]
)
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_metadata_that_is_nested_too_deeply_is_refused(
    penstock: Command, state: Path, make: Make, depth: int, says: str, ending: str
) -> None:
    folder = make("v1.3.0")
    meta = folder.parent / f"meta.{ending}"
    meta.write_text(f'{{"note": {deep(depth if ending == "json" else min(depth, 5_000))}}}', encoding="utf-8")
    refused = penstock("push", "tts/vocoder", str(folder), "--meta", str(meta))
    assert refused.code == ExitCode.USAGE
    if ending == "json":
        assert says in refused.err


def test_lines_that_are_nested_too_deeply_are_left_out(penstock: Command, three: Path, tmp_path: Path) -> None:
    file = tmp_path / "registry.jsonl"
    penstock("registry", "export", str(file))
    version = json.loads(file.read_text(encoding="utf-8").splitlines()[1])
    version["metadata"]["note"] = json.loads(deep(200))
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(version)}\n{deep(100_000)}\n")
    taken = penstock("registry", "import", str(file), "-o", "json")
    assert taken.code == ExitCode.CONFLICT
    assert [conflict.partition(":")[0] for conflict in taken.last["conflicts"]] == ["line 8", "line 9"]
    assert "note: it is nested more than 100 deep" in taken.last["conflicts"][0]


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (Path.mkdir, "version.json cannot be read: Is a directory"),
        (lambda place: place.symlink_to("nowhere"), "version.json is a link that leads nowhere"),
    ],
)
def test_what_is_wrong_with_a_version_json_is_said(
    penstock: Command, state: Path, make: Make, put: Callable[[Path], None], says: str
) -> None:
    folder = make("v1.3.0")
    (folder / "version.json").unlink()
    put(folder / "version.json")
    refused = penstock("push", "tts/vocoder", str(folder))
    assert (refused.code, says in refused.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"change_note": "another"}, "with other metadata (change_note)"),
        ({}, "with other files."),
    ],
)
def test_what_differs_from_what_is_registered_is_said(
    penstock: Command, state: Path, make: Make, change: dict[str, str], says: str
) -> None:
    folder = make("v1.3.0")
    penstock("push", "tts/vocoder", str(folder))
    meta = folder.parent / "meta.json"
    meta.write_text(json.dumps(METADATA | change), encoding="utf-8")
    if not change:
        (folder / "weights.txt").write_text("others", encoding="utf-8")
    refused = penstock("push", "tts/vocoder", str(folder), "--meta", str(meta))
    assert (refused.code, f"vocoder 1.3.0 is there already, {says}" in refused.err) == (ExitCode.CONFLICT, True)


def test_what_cannot_be_read_in_a_tree_does_not_keep_the_rest_out(state: Path, make: Make, tmp_path: Path) -> None:
    tree = tmp_path / "models"
    for component in ("vocoder", "ranker"):
        (tree / component).mkdir(parents=True)
    for name in ("v1.0.0", "v1.1.0", "v1.2.0"):
        make(name).rename(tree / "vocoder" / name)
    make("1").rename(tree / "ranker" / "1")
    (tree / "ranker" / "config.pbtxt").write_text("", encoding="utf-8")
    (tree / "lost+found").mkdir()
    closed = [tree / "lost+found", tree / "vocoder" / "v1.1.0", tree / "ranker" / "config.pbtxt"]
    (tree / "vocoder" / "v1.2.0").chmod(0o444)
    (tree / "old" / "v0.9.0").mkdir(parents=True)
    (tree / "old").chmod(0o444)
    for place in closed:
        place.chmod(0)
    done = ran("registry", "adopt", "tts", tree, "-o", "json")
    for place in (*closed, tree / "vocoder" / "v1.2.0", tree / "old"):
        place.chmod(0o755)
    assert (done.returncode, done.stderr) == (ExitCode.ERROR, "")
    said = json.loads(done.stdout)
    assert [version["version"] for version in said["versions"]] == ["tts/vocoder@1.0.0"]
    assert said["left_alone"] == ["lost+found", "old"]
    why = {one["folder"]: one["why"].lower() for one in said["refused"]}
    assert set(why) == {"vocoder/v1.1.0", "vocoder/v1.2.0", "ranker/1"}
    assert all("permission denied" in words for words in why.values())


def test_an_export_comes_in_through_a_pipe(penstock: Command, three: Path, tmp_path: Path) -> None:
    lines = penstock("registry", "export").out
    for n, file in enumerate(("-", "/dev/stdin")):
        taken = ran("registry", "import", file, "--state", tmp_path / str(n), "-o", "json", lines=lines)
        assert (taken.returncode, taken.stderr) == (ExitCode.OK, "")
        assert json.loads(taken.stdout) == {"n_added": 6, "n_present": 0, "conflicts": []}
    assert penstock("registry", "export", "--state", str(tmp_path / "0")).out == lines


def test_an_export_that_is_killed_leaves_nothing_once_the_next_is_done(
    penstock: Command, three: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    script = (
        "import os, pathlib, signal\n"
        "from penstock.bootstrap.catalogue import write_whole\n"
        "def lines():\n"
        "    yield 'half'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(pathlib.Path('registry.jsonl'), lines())\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=folder, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in folder.iterdir() if path.name == "registry.jsonl"] == []
    assert len(list(folder.iterdir())) == 1
    assert penstock("registry", "export", str(folder / "registry.jsonl")).code == ExitCode.OK
    assert [path.name for path in folder.iterdir()] == ["registry.jsonl"]
    assert os.access(folder / "registry.jsonl", os.W_OK)


def test_what_a_service_serves_with_is_shown_as_a_whole(penstock: Command, three: Path, make: Make) -> None:
    penstock("push", "tts/acoustic", str(make("v9.0.0")), "--stage", "stable", "--reason", "warmer")
    shown = penstock("get", "tts@stable", "-o", "json").last
    assert (shown["number"], shown["versions"]) == (4, {"acoustic": "9.0.0", "vocoder": "1.3.0"})
    assert (shown["reason"], set(shown) >= {"at", "actor"}) == ("warmer", True)
    assert "acoustic  9.0.0" in penstock("get", "tts@champion").out
    refused = penstock("get", "tts@previous")
    assert (refused.code, "write tts/COMPONENT@previous" in refused.err) == (ExitCode.USAGE, True)
    penstock("push", "asr/encoder", str(make("v1.0.0")))
    refused = penstock("get", "asr@stable")
    assert "nothing was promoted yet; write asr/COMPONENT@stable" in refused.err


def test_who_quarantines_what_serves_is_told_that_it_serves_on(penstock: Command, three: Path) -> None:
    why = ("quarantined", "--reason", "crackles")
    assert penstock("mark", "tts/vocoder@1.1.0", *why).err == ""
    done = penstock("mark", "tts/vocoder@1.3.0", *why)
    assert done.code == ExitCode.OK
    assert done.err == "tts/vocoder@1.3.0 serves on; `penstock rollback tts/vocoder` takes it away\n"
