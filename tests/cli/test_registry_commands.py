"""Commands on versions and their files, on a state folder of their own; no control plane runs."""

import json
import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.exit_codes import ExitCode
from tests.api.served import Served
from tests.cli.conftest import METADATA, Command, Make

VERSION_FIELDS = {
    *("service", "component", "version", "stage", "digest", "size_bytes", "registered_at", "staged_at", "staged_by"),
    *("staged_why", "verified_at", "promoted_at", "marked_at", "removed_at", "missing", "metadata"),
}


def contents(state: Path) -> list[str]:
    return sorted(str(path.relative_to(state)) for path in (state / "artifacts").rglob("*") if path.is_file())


def n_changes(state: Path) -> int:
    with closing(sqlite3.connect(state / "registry.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM changes").fetchone()[0])


def test_the_program_itself_pushes_and_gives_the_files_back(state: Path, make: Make, tmp_path: Path) -> None:
    folder, into = make("v1.3.0"), tmp_path / "out"
    for args in (["push", "tts/vocoder", folder], ["pull", "tts/vocoder@1.3.0", into]):
        ran = subprocess.run(
            [Path(sys.executable).with_name("penstock"), *args, "-o", "json"],
            capture_output=True,
            check=True,
            env=os.environ,
        )
        said = json.loads(ran.stdout)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in into.iterdir()} == files
    assert said == {
        "version": "tts/vocoder@1.3.0",
        "digest": said["digest"],
        "n_files": 2,
        "size_bytes": sum(map(len, files.values())),
        "into": str(into),
    }


def test_a_push_reads_what_others_call_its_fields(penstock: Command, state: Path, make: Make) -> None:
    theirs = {"created_at": METADATA["created"], "torch_version": "2.13.0", "license": METADATA["licence"]}
    ours = {name: value for name, value in METADATA.items() if name not in ("created", "framework_version", "licence")}
    folder = make("1.2.0")
    (folder / "version.json").write_text(json.dumps({**ours, **theirs}), encoding="utf-8")
    pushed = penstock("push", "tts/vocoder", str(folder), "-o", "json")
    assert pushed.code == 0, pushed.err
    assert pushed.last["metadata"]["framework_version"] == "torch 2.13.0"
    assert pushed.last["missing"] == []


def test_an_equal_push_changes_nothing(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v1.3.0")
    first = penstock("push", "tts/vocoder", str(folder), "--reason", "less crackling", "-o", "json").last
    before = contents(state), n_changes(state)
    again = penstock("push", "tts/vocoder", str(folder), "--reason", "another", "-o", "json")
    assert (contents(state), n_changes(state)) == before
    assert set(first) == VERSION_FIELDS | {"is_new", "dry_run"}
    assert first["is_new"]
    assert again.last == {**first, "is_new": False}
    assert (first["stage"], first["staged_why"]) == ("registered", "less crackling")
    assert again.err == ""


def test_other_files_under_a_number_that_is_taken_are_refused_and_not_stored(
    penstock: Command, state: Path, make: Make
) -> None:
    folder = make("v1.3.0")
    penstock("push", "tts/vocoder", str(folder))
    before = contents(state)
    (folder / "weights.txt").write_text("other weights\n", encoding="utf-8")
    refused = penstock("push", "tts/vocoder", str(folder))
    assert refused.code == ExitCode.CONFLICT
    assert "1.3.0 is there already" in refused.err
    assert contents(state) == before


def test_metadata_is_laid_over_what_lies_beside_the_weights(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v2", licence="MIT")
    meta = folder.parent / "meta.yaml"
    meta.write_text("licence: Apache-2.0\nchange_note: 更好\n", encoding="utf-8")
    pushed = penstock("push", "tts", str(folder), "--meta", str(meta), "--stage", "verified", "-o", "json").last
    assert (pushed["component"], pushed["version"], pushed["stage"]) == ("model", "2.0.0", "verified")
    assert pushed["verified_at"] == pushed["registered_at"]
    assert pushed["metadata"]["licence"] == "Apache-2.0"
    assert pushed["metadata"]["change_note"] == "更好"


def test_what_is_pushed_as_stable_is_promoted_once(penstock: Command, state: Path, make: Make) -> None:
    stable = ("--stage", "stable", "--reason", "it serves", "-o", "json")
    older, newer = make("v1.2.0", status="unstable"), make("v1.3.0")
    looked = penstock("push", "tts/vocoder", str(older), *stable, "--dry-run").last
    assert (looked["stage"], looked["is_new"]) == ("stable", True)
    pushed = [penstock("push", "tts/vocoder", str(folder), *stable).last for folder in (older, newer)]
    assert all(version["stage"] == "stable" and version["promoted_at"] for version in pushed)
    assert pushed[0]["metadata"]["status"] == "unstable"
    before = n_changes(state)
    assert penstock("push", "tts/vocoder", str(older), *stable).last["is_new"] is False
    assert n_changes(state) == before
    words = {word: penstock("get", f"tts/vocoder@{word}", "-o", "json").last for word in ("champion", "previous")}
    assert {word: version["version"] for word, version in words.items()} == {"champion": "1.3.0", "previous": "1.2.0"}
    assert words["champion"]["staged_why"] == "it serves"


def test_what_does_not_fit_is_not_pushed_as_stable(penstock: Command, three: Path, make: Make) -> None:
    folder, before = make("v2.0.0", requires={"vocoder": "<1.3"}), contents(three)
    for only_looking in (["--dry-run"], []):
        refused = penstock("push", "tts/acoustic", str(folder), "--stage", "stable", *only_looking)
        assert refused.code == ExitCode.REFUSED
        assert "acoustic 2.0.0 needs vocoder <1.3, not 1.3.0" in refused.err
    assert contents(three) == before
    assert penstock("push", "tts/acoustic", str(folder)).code == ExitCode.OK


def test_one_file_is_pushed_under_its_own_name(penstock: Command, state: Path, tmp_path: Path) -> None:
    meta, weights = tmp_path / "meta.json", tmp_path / "weights.txt"
    meta.write_text(json.dumps(METADATA), encoding="utf-8")
    weights.write_text("weights", encoding="utf-8")
    pushed = penstock("push", "tts", str(weights), "--version", "1.0.0", "--meta", str(meta), "-o", "json")
    assert (pushed.code, pushed.last["size_bytes"]) == (ExitCode.OK, 7)


def test_a_dry_run_only_looks(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v1.3.0")
    looked = penstock("push", "tts/vocoder", str(folder), "--dry-run", "-o", "json").last
    assert (looked["is_new"], looked["dry_run"]) == (True, True)
    assert contents(state) == []
    pushed = penstock("push", "tts/vocoder", str(folder), "-o", "json").last
    assert (pushed["digest"], pushed["is_new"]) == (looked["digest"], True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tts/vocoder", "v1.3.0", "--version", "one"], "'one' is not a semantic version"),
        (["tts/vocoder", "nowhere"], "there is nothing at nowhere"),
        (["tts/vocoder", "weights"], "'weights' is no semantic version; say it with --version"),
        (["tts/vocoder@1.3.0", "v1.3.0"], "is said with --version"),
        (["tts/vocoder", "v1.3.0", "--stage", "canary"], "'canary' is not one of registered, verified, stable"),
        (["tts/vocoder", "v1.3.0", "--meta", "gone.yaml"], "gone.yaml cannot be read: No such file"),
        (["tts/vocoder", "v1.3.0", "--meta", "broken.json"], "broken.json is not JSON"),
        (["Tts", "v1.3.0"], "'Tts' cannot name a service"),
    ],
)
def test_a_push_that_cannot_be_meant_says_why(
    penstock: Command, state: Path, make: Make, monkeypatch: pytest.MonkeyPatch, args: list[str], says: str
) -> None:
    make("v1.3.0")
    monkeypatch.chdir(make("weights").parent)
    Path("broken.json").write_text("{", encoding="utf-8")
    refused = penstock("push", *args)
    assert refused.code == ExitCode.USAGE
    assert says in refused.err
    assert not (state / "artifacts").exists()


def test_missing_metadata_is_named(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v1.3.0")
    kept = {name: value for name, value in METADATA.items() if name != "licence"}
    (folder / "version.json").write_text(json.dumps(kept), encoding="utf-8")
    refused = penstock("push", "tts/vocoder", str(folder), "-o", "json")
    assert refused.code == ExitCode.USAGE
    assert refused.last["error"]["facts"]["field"] == "licence"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def test_a_pickle_is_refused_by_name_also_where_pickles_are_allowed(penstock: Command, state: Path, make: Make) -> None:
    folder = make("v1.3.0")
    (folder / "weights.pkl").write_bytes(pickle.dumps(Evil()))
    for allowed in ([], ["--allow-pickles"]):
        refused = penstock("push", "tts/vocoder", str(folder), *allowed)
        assert refused.code == ExitCode.REFUSED
        assert "weights.pkl" in refused.err
        assert "posix.system" in refused.err
    assert not (state / "artifacts").exists()
    (folder / "weights.pkl").write_bytes(pickle.dumps({"bias": [0.5]}))
    assert penstock("push", "tts/vocoder", str(folder)).code == ExitCode.REFUSED
    assert penstock("push", "tts/vocoder", str(folder), "--allow-pickles").code == ExitCode.OK


def test_versions_are_listed_the_highest_first(penstock: Command, three: Path, make: Make) -> None:
    penstock("push", "tts/acoustic", str(make("v9.0.0")))
    listed = penstock("list", "tts/vocoder", "-o", "json").last
    assert [version["version"] for version in listed] == ["1.3.0", "1.2.0", "1.1.0"]
    assert all(set(version) == VERSION_FIELDS for version in listed)
    assert len(penstock("list", "tts", "-o", "json").last) == 4
    unknown = penstock("list", "asr")
    assert unknown.code == ExitCode.ERROR
    assert "it has: tts/acoustic, tts/vocoder" in unknown.err


def test_a_version_is_shown_by_any_selector(penstock: Command, three: Path) -> None:
    shown = {
        word: penstock("get", f"tts/vocoder@{word}", "-o", "json").last for word in ("champion", "previous", "1.1.0")
    }
    assert {word: version["version"] for word, version in shown.items()} == {
        "champion": "1.3.0",
        "previous": "1.2.0",
        "1.1.0": "1.1.0",
    }
    assert set(shown["champion"]) == VERSION_FIELDS | {"aliases"}
    assert shown["champion"]["aliases"] == ["champion", "latest", "stable"]
    assert "naturalness 4.2 (MOS 1..5)" in penstock("get", "tts/vocoder").out


def test_plain_list_and_get_still_ask_the_control_plane(penstock: Command, three: Path) -> None:
    assert penstock("list").code == ExitCode.UNREACHABLE
    assert penstock("get", "tts").code == ExitCode.UNREACHABLE


def test_a_version_goes_through_its_stages_with_who_and_why(penstock: Command, state: Path, make: Make) -> None:
    penstock("push", "tts/vocoder", str(make("v1.3.0")))
    by = ("--actor", "ann", "--reason", "listened to it")
    marked = penstock("mark", "tts/vocoder@1.3.0", "verified", *by, "-o", "json").last
    assert (marked["stage"], marked["staged_by"], marked["staged_why"]) == ("verified", "ann", "listened to it")
    assert penstock("mark", "tts/vocoder@1.3.0", "verified", *by).code == ExitCode.OK
    assert penstock("mark", "tts/vocoder@1.3.0", "stable", *by, "-o", "json").last["promoted_at"] is not None
    assert penstock("mark", "tts/vocoder@1.3.0", "quarantined").code == ExitCode.USAGE
    assert penstock("mark", "tts/vocoder@1.3.0", "quarantined", *by).code == ExitCode.OK
    assert penstock("mark", "tts/vocoder@1.3.0", "stable", *by).code == ExitCode.REFUSED
    assert penstock("mark", "tts/vocoder@1.3.0", "fine", *by).code == ExitCode.USAGE
    assert penstock("mark", "tts/vocoder", "retired", *by).code == ExitCode.USAGE
    assert penstock("mark", "tts/vocoder@1.9.0", "retired", *by).code == ExitCode.ERROR


def test_no_collection_leaves_fewer_than_three_stable_versions(penstock: Command, three: Path, make: Make) -> None:
    for name in ("v1.4.0", "v1.5.0"):
        penstock("push", "tts/vocoder", str(make(name)))
        penstock("mark", f"tts/vocoder@{name}", "stable")
    before = n_changes(three)
    said = penstock("gc", "--keep-last", "0", "--budget", "0B", "--grace", "0", "--dry-run", "-o", "json").last
    assert said["marked"] == ["tts/vocoder@1.2.0", "tts/vocoder@1.1.0"]
    assert {kept["version"] for kept in said["kept"]} == {f"tts/vocoder@1.{n}.0" for n in (3, 4, 5)}
    assert all(kept["why"] for kept in said["kept"])
    assert said["over_budget_bytes"] > 0
    assert n_changes(three) == before


def test_a_collection_marks_first_and_removes_after_the_grace_time(penstock: Command, three: Path, make: Make) -> None:
    old = penstock("push", "tts/vocoder", str(make("v0.9.0")), "-o", "json").last
    manifest = "artifacts/manifests/sha256/" + old["digest"].removeprefix("sha256:")
    keep = ("--keep-last", "0", "-o", "json")
    assert penstock("gc", "-o", "json").last["marked"] == []
    assert penstock("gc", *keep).last["marked"] == ["tts/vocoder@0.9.0"]
    assert penstock("gc", *keep).last["waiting"] == ["tts/vocoder@0.9.0"]
    assert manifest in contents(three)
    done = penstock("gc", *keep, "--grace", "0").last
    assert (done["removed"], done["n_artifacts_removed"]) == (["tts/vocoder@0.9.0"], 1)
    assert manifest not in contents(three)
    gone = penstock("pull", "tts/vocoder@0.9.0", str(three / "out"))
    assert gone.code == ExitCode.REFUSED
    assert penstock("pull", "tts/vocoder@1.1.0", str(three / "out")).code == ExitCode.OK


def test_files_that_another_version_has_too_stay(penstock: Command, three: Path, tmp_path: Path) -> None:
    same = penstock("push", "tts/vocoder", str(tmp_path / "v1.1.0"), "--version", "0.9.0", "-o", "json").last
    penstock("gc", "--keep-last", "0")
    done = penstock("gc", "--keep-last", "0", "--grace", "0", "-o", "json").last
    assert (done["removed"], done["n_artifacts_removed"]) == (["tts/vocoder@0.9.0"], 0)
    assert penstock("get", "tts/vocoder@1.1.0", "-o", "json").last["digest"] == same["digest"]
    assert penstock("pull", "tts/vocoder@1.1.0", str(tmp_path / "out")).code == ExitCode.OK


def test_what_a_control_plane_serves_stays(penstock: Command, state: Path, make: Make, served: Served) -> None:
    for name in ("v1.5.0", "v0.9.0"):
        penstock("push", "tts", str(make(name)))
    said = penstock("gc", "--keep-last", "0", "-o", "json")
    assert said.last["marked"] == ["tts/model@0.9.0"]
    assert said.last["kept"] == [{"version": "tts/model@1.5.0", "why": "stable of tts"}]
    assert said.err == ""


@pytest.mark.parametrize(
    "args",
    [("--budget", "much"), ("--keep-within", "soon"), ("--keep-last", "-1"), ("--grace", "99999999999d"), ("asr",)],
)
def test_a_collection_that_cannot_be_meant_is_refused(penstock: Command, three: Path, args: tuple[str, ...]) -> None:
    refused = penstock("gc", *args)
    assert refused.code in {ExitCode.USAGE, ExitCode.ERROR}
    assert "error: " in refused.err


def test_an_export_comes_back_in_another_folder(penstock: Command, three: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "registry.jsonl", str(tmp_path / "other")
    assert penstock("registry", "export", str(file), "-o", "json").last == {"n_lines": 7, "file": str(file)}
    assert penstock("registry", "export").out == file.read_text(encoding="utf-8")
    taken = penstock("registry", "import", str(file), "--state", other, "-o", "json")
    assert (taken.code, taken.last) == (ExitCode.OK, {"n_added": 6, "n_present": 0, "conflicts": []})
    again = penstock("registry", "import", str(file), "--state", other, "-o", "json").last
    assert again == {"n_added": 0, "n_present": 6, "conflicts": []}
    assert penstock("registry", "export", "--state", other).out == file.read_text(encoding="utf-8")


def test_lines_that_cannot_be_taken_in_are_named(penstock: Command, three: Path, tmp_path: Path) -> None:
    file = tmp_path / "registry.jsonl"
    penstock("registry", "export", str(file))
    file.write_text(file.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")
    taken = penstock("registry", "import", str(file), "-o", "json")
    assert taken.code == ExitCode.CONFLICT
    assert [conflict.partition(":")[0] for conflict in taken.last["conflicts"]] == ["line 8"]
    assert penstock("registry", "import", str(tmp_path / "gone")).code == ExitCode.USAGE
    assert penstock("registry", "export", str(tmp_path / "gone" / "file")).code == ExitCode.USAGE


def test_where_a_rollback_would_go_is_known_without_a_control_plane(penstock: Command, three: Path) -> None:
    planned = penstock("rollback", "tts/vocoder", "--dry-run", "-o", "json")
    assert planned.code == ExitCode.OK
    assert planned.last["target"] == "vocoder-1.2.0"
    assert "v1.2.0 is fine" in planned.last["why"]
    assert [c["release"] for c in planned.last["candidates"]] == ["vocoder-1.2.0", "vocoder-1.1.0"]
    assert set(planned.last["candidates"][0]) == {"release", "versions", "changes", "number", "why", "against"}
    assert "no server was asked" in planned.err
    assert penstock("rollback", "tts/vocoder", "--dry-run", "-q").err == ""

    penstock("mark", "tts/vocoder@1.2.0", "quarantined", "--reason", "crackles")
    planned = penstock("rollback", "tts/vocoder", "--dry-run", "-o", "json")
    assert planned.last["target"] == "vocoder-1.1.0"
    assert "crackles" in planned.last["candidates"][-1]["against"]


def test_a_rollback_looks_as_far_back_as_it_must(penstock: Command, three: Path, make: Make) -> None:
    later = [f"tts/vocoder@1.{n}.0" for n in range(4, 10)]
    for name in later:
        penstock("push", "tts/vocoder", str(make("v" + name.partition("@")[2])))
        penstock("mark", name, "stable")
    for name in ("tts/vocoder@1.3.0", "tts/vocoder@1.2.0", *later[:-1]):
        penstock("mark", name, "quarantined", "--reason", "crackles")
    assert penstock("rollback", "tts/vocoder", "--dry-run", "-o", "json").last["target"] == "vocoder-1.1.0"
    penstock("mark", "tts/vocoder@1.1.0", "quarantined", "--reason", "crackles")
    planned = penstock("rollback", "tts/vocoder", "--dry-run", "-o", "json")
    assert (planned.code, planned.last["target"]) == (ExitCode.CONFLICT, None)
    assert "crackles" in planned.last["why"]


def test_a_rollback_plan_needs_a_control_plane_or_a_version(penstock: Command, state: Path) -> None:
    assert penstock("rollback", "asr", "--dry-run").code == ExitCode.UNREACHABLE
