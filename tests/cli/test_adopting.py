"""Whole trees of versions are taken over as they lie on disk: components', TensorFlow Serving's, Triton's."""

import json
import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import save_file

from penstock.cli.exit_codes import ExitCode
from tests.cli.conftest import Command

ADOPT = ("registry", "adopt")
CONFIG = 'name: "ranker"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\n'


def lay(root: Path, name: str, **fields: object) -> Path:
    """Lay out a version as a training script of 2024 did."""
    folder = root / name
    folder.mkdir(parents=True)
    save_file({"weight": np.full(4, len(name), np.float32)}, folder / "model.safetensors")
    seed = {"metrics": {"mos": 4.0}, "training_set": "studio-3", "torch_version": "2.1.0", "cuda_version": "11.8"}
    (folder / "version.json").write_text(json.dumps({**seed, **fields}), encoding="utf-8")
    return folder


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Two components with a history, and what else lies about in such trees."""
    root = tmp_path / "models"
    lay(root, "acoustic/1.0.0", created="2024-03-01", status="stable")
    lay(root, "acoustic/1.1.0", created="2024-05-02", status="stable", dependencies={"numpy": "1.26"})
    lay(root, "vocoder/v1.2.0", created="2024-04-11", status="stable")
    lay(root, "vocoder/v1.3.0", created="2024-06-20", status="stable")
    lay(root, "vocoder/v1.4.0", created="2024-07-05", status="unstable")
    (root / "vocoder" / "latest").symlink_to("v1.3.0")
    (root / "README.md").write_text("our voices", encoding="utf-8")
    return root


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    for number in ("1", "2", "10"):
        folder = tmp_path / "fraud_model" / number
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"\x08\x01" + number.encode())
        (folder / "variables" / "variables.index").write_bytes(b"index " + number.encode())
    return tmp_path / "fraud_model"


@pytest.fixture
def triton(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for factor in (2, 3):
        folder = root / "ranker" / str(factor)
        folder.mkdir(parents=True)
        x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
        weight = onnx.helper.make_tensor("weight", onnx.TensorProto.FLOAT, [1], [factor])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Mul", ["x", "weight"], ["y"])], "ranker", [x], [y], [weight]
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
        onnx.save(model, folder / "model.onnx")
    (root / "ranker" / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
    (root / "ensemble" / "1").mkdir(parents=True)
    (root / "ensemble" / "config.pbtxt").write_text('platform: "ensemble"\n', encoding="utf-8")
    return root


def n_changes(state: Path) -> int:
    with closing(sqlite3.connect(state / "registry.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM changes").fetchone()[0])


def stages(penstock: Command, service: str) -> dict[str, str]:
    listed = penstock("list", service, "-o", "json").last
    return {f"{version['component']} {version['version']}": version["stage"] for version in listed}


def selected(penstock: Command, name: str, *words: str) -> list[str | None]:
    """Return what words select; None where nothing is."""
    results = (penstock("get", f"{name}@{word}", "-o", "json") for word in words)
    return [result.last["version"] if result.code == ExitCode.OK else None for result in results]


def refusals(penstock: Command, *args: str) -> dict[str, str]:
    """Adopt, and return folder -> why it was refused."""
    done = penstock(*ADOPT, *args, "-o", "json")
    assert done.code == ExitCode.ERROR
    return {one["folder"]: one["why"] for one in done.last["refused"]}


def test_a_tree_of_components_comes_in_with_its_history(penstock: Command, state: Path, voices: Path) -> None:
    done = penstock(*ADOPT, "tts", str(voices), "-o", "json")
    assert done.code == ExitCode.OK
    assert done.last["promoted"] == [
        {"acoustic": "1.0.0"},
        {"vocoder": "1.2.0"},
        {"acoustic": "1.1.0"},
        {"vocoder": "1.3.0"},
    ]
    assert done.last["serving"] == {"acoustic": "1.1.0", "vocoder": "1.3.0"}
    assert done.last["left_alone"] == ["README.md", "vocoder/latest"]
    assert stages(penstock, "tts") == {
        "acoustic 1.1.0": "stable",
        "acoustic 1.0.0": "stable",
        "vocoder 1.4.0": "registered",
        "vocoder 1.3.0": "stable",
        "vocoder 1.2.0": "stable",
    }
    assert selected(penstock, "tts/vocoder", "latest", "champion", "previous") == ["1.3.0", "1.3.0", "1.2.0"]
    planned = penstock("rollback", "tts/vocoder", "--dry-run", "-o", "json").last
    assert planned["target"] == "acoustic-1.1.0+vocoder-1.2.0"
    assert "vocoder 1.2.0 was created 2024-04-11" in planned["why"]
    assert "adopted from models" in planned["why"]


def test_what_is_known_of_a_version_is_kept_and_what_is_not_is_shown(
    penstock: Command, state: Path, voices: Path, tmp_path: Path
) -> None:
    table = penstock(*ADOPT, "tts", str(voices)).out
    assert "not known of 5 versions: author, owner, change_note, sample_rate_hz" in table
    assert "4 releases promoted; serves: acoustic 1.1.0, vocoder 1.3.0" in table
    known = penstock("get", "tts/acoustic@1.1.0", "-o", "json").last
    assert known["metadata"] == {
        "created": "2024-05-02T00:00:00.000000Z",
        "metrics": {"mos": {"value": 4.0, "unit": "not stated"}},
        "training_set": "studio-3",
        "framework_version": "torch 2.1.0",
        "cuda_version": "11.8",
        "dependencies": {"numpy": "1.26"},
        "status": "stable",
    }
    assert known["missing"][:2] == ["author", "owner"]
    penstock("pull", "tts/acoustic@1.1.0", str(tmp_path / "out"))
    there = voices / "acoustic" / "1.1.0"
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == {
        f.name: f.read_bytes() for f in there.iterdir()
    }


def test_a_dry_run_shows_what_would_happen(penstock: Command, state: Path, voices: Path) -> None:
    would = penstock(*ADOPT, "tts", str(voices), "--dry-run", "-o", "json").last
    assert penstock("list", "tts/vocoder").code == ExitCode.ERROR
    assert not (state / "artifacts").exists()
    assert "would come in" in penstock(*ADOPT, "tts", str(voices), "--dry-run").out
    did = penstock(*ADOPT, "tts", str(voices), "-o", "json").last
    assert would == {**did, "dry_run": True}


def test_adopting_again_changes_nothing_and_takes_what_is_new(penstock: Command, state: Path, voices: Path) -> None:
    penstock(*ADOPT, "tts", str(voices))
    before = n_changes(state)
    again = penstock(*ADOPT, "tts", str(voices), "-o", "json")
    assert (again.code, again.last["promoted"], n_changes(state)) == (ExitCode.OK, [], before)
    assert not any(version["is_new"] for version in again.last["versions"])
    assert "was there" in penstock(*ADOPT, "tts", str(voices)).out
    lay(voices, "vocoder/v1.5.0", created="2024-08-01", status="stable")
    more = penstock(*ADOPT, "tts", str(voices), "-o", "json").last
    assert more["promoted"] == [{"vocoder": "1.5.0"}]
    assert [version["version"] for version in more["versions"] if version["is_new"]] == ["tts/vocoder@1.5.0"]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def test_versions_that_are_refused_are_named_and_the_others_come_in(
    penstock: Command, state: Path, voices: Path
) -> None:
    (lay(voices, "vocoder/v2.0.0", status="stable") / "model.pkl").write_bytes(pickle.dumps(Evil()))
    (lay(voices, "vocoder/v2.1.0") / "shared").symlink_to("../v1.3.0")
    (lay(voices, "vocoder/v2.2.0") / "version.json").write_text("{", encoding="utf-8")
    lay(voices, "vocoder/v2.3.0", status="beta")
    lay(voices, "vocoder/v2.4.0", version="1.4.0")
    lay(voices, "vocoder/v2.5.0", requires=["numpy"])
    lay(voices, "vocoder/1.3.0", status="stable")
    lay(voices, "BigVGAN/v1.0.0")
    why = refusals(penstock, "tts", str(voices))
    parts = {
        "vocoder/v2.0.0": "model.pkl: it is a pickle that uses posix.system",
        "vocoder/v2.1.0": "symbolic link",
        "vocoder/v2.2.0": "version.json: it is not JSON",
        "vocoder/v2.3.0": "'beta' is neither stable nor unstable",
        "vocoder/v2.4.0": "it says 1.4.0, not 2.4.0",
        "vocoder/v2.5.0": "requires: it must be an object",
        "vocoder/v1.3.0": "vocoder/1.3.0 has that number already",
        "BigVGAN/v1.0.0": "'BigVGAN' cannot name a component",
    }
    assert set(why) == set(parts)
    assert {folder for folder, part in parts.items() if part not in why[folder]} == set()
    assert selected(penstock, "tts/vocoder", "champion", "previous") == ["1.3.0", "1.2.0"]
    assert refusals(penstock, "tts", str(voices)) == why


def test_pickles_with_harmless_names_come_in_where_they_are_allowed(
    penstock: Command, state: Path, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "models", "vocoder/1.0.0", status="stable")
    torch.save({"weight": torch.ones(2)}, folder / "model.pt")
    assert "model.pt" in refusals(penstock, "tts", str(tmp_path / "models"))["vocoder/1.0.0"]
    assert penstock("list", "tts").code == ExitCode.ERROR
    assert penstock(*ADOPT, "tts", str(tmp_path / "models"), "--allow-pickles").code == ExitCode.OK
    assert selected(penstock, "tts/vocoder", "champion") == ["1.0.0"]


def test_what_does_not_fit_what_serves_is_verified_and_told(penstock: Command, state: Path, voices: Path) -> None:
    lay(voices, "acoustic/2.0.0", created="2024-09-01", status="stable", requires={"vocoder": ">=2"})
    done = penstock(*ADOPT, "tts", str(voices), "-o", "json")
    assert done.code == ExitCode.OK
    assert done.last["unfit"] == [
        {"version": "tts/acoustic@2.0.0", "why": "acoustic 2.0.0 needs vocoder >=2, not 1.3.0"}
    ]
    assert stages(penstock, "tts")["acoustic 2.0.0"] == "verified"
    assert selected(penstock, "tts/acoustic", "latest", "challenger") == ["1.1.0", "2.0.0"]
    assert penstock(*ADOPT, "tts", str(voices), "-o", "json").last["unfit"] == []


def test_other_files_under_a_number_that_is_taken_are_refused(penstock: Command, state: Path, voices: Path) -> None:
    penstock(*ADOPT, "tts", str(voices))
    file = voices / "vocoder" / "v1.4.0" / "version.json"
    file.write_text(file.read_text(encoding="utf-8").replace("unstable", "stable"), encoding="utf-8")
    why = refusals(penstock, "tts", str(voices))
    assert "vocoder 1.4.0 is there already" in why["vocoder/v1.4.0"]
    assert stages(penstock, "tts")["vocoder 1.4.0"] == "registered"


def test_of_a_saved_model_the_highest_number_serves(penstock: Command, state: Path, saved_model: Path) -> None:
    done = penstock(*ADOPT, "fraud", str(saved_model), "-o", "json")
    assert (done.code, done.last["promoted"]) == (ExitCode.OK, [{"model": "10.0.0"}])
    assert stages(penstock, "fraud") == {
        "model 10.0.0": "stable",
        "model 2.0.0": "registered",
        "model 1.0.0": "registered",
    }
    assert "input_signature" in done.last["versions"][0]["missing"]
    assert selected(penstock, "fraud", "latest", "champion", "previous") == ["10.0.0", "10.0.0", None]


def test_who_knows_better_says_which_numbers_are_stable(penstock: Command, state: Path, saved_model: Path) -> None:
    penstock(*ADOPT, "fraud", str(saved_model), "--stable", "none")
    assert set(stages(penstock, "fraud").values()) == {"registered"}
    penstock(*ADOPT, "fraud/scorer", str(saved_model), "--stable", "all")
    assert selected(penstock, "fraud/scorer", "latest", "champion", "previous") == ["10.0.0", "10.0.0", "2.0.0"]
    assert penstock("rollback", "fraud/scorer", "--dry-run", "-o", "json").last["target"] == "scorer-2.0.0"


def test_the_models_of_a_triton_repository_are_components(
    penstock: Command, state: Path, triton: Path, tmp_path: Path
) -> None:
    done = penstock(*ADOPT, "search", str(triton), "-o", "json")
    assert (done.code, done.last["left_alone"]) == (ExitCode.OK, ["ensemble"])
    assert stages(penstock, "search") == {"ranker 3.0.0": "stable", "ranker 2.0.0": "registered"}
    known = penstock("get", "search/ranker", "-o", "json").last
    assert known["metadata"] == {"config.pbtxt": CONFIG}
    assert {"input_signature", "output_signature"} < set(known["missing"])
    assert f"config.pbtxt  {' '.join(CONFIG.split())}" in penstock("get", "search/ranker").out
    penstock("pull", "search/ranker@champion", str(tmp_path / "out"))
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.array([5.0], np.float32)})
    assert answer.tolist() == [15.0]


def test_another_configuration_of_a_model_is_not_another_version(penstock: Command, state: Path, triton: Path) -> None:
    penstock(*ADOPT, "search", str(triton))
    (triton / "ranker" / "config.pbtxt").write_text(CONFIG.replace("8", "16"), encoding="utf-8")
    assert penstock(*ADOPT, "search", str(triton)).code == ExitCode.OK
    assert penstock("get", "search/ranker", "-o", "json").last["metadata"] == {"config.pbtxt": CONFIG}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("tts", "gone"), "gone cannot be read as a folder: No such file or directory"),
        (("tts", "models/README.md"), "Not a directory"),
        (("tts", "models/acoustic/1.0.0"), "holds no versions"),
        (("tts/vocoder", "models"), "holds folders of components (acoustic, vocoder): name the service alone"),
        (("Tts", "models"), "'Tts' cannot name a service"),
        (("tts/Vocoder", "models/vocoder"), "'Vocoder' cannot name a component"),
        (("tts/", "models"), "names no component"),
        (("tts", "models", "--stable", "some"), "--stable"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    penstock: Command, state: Path, voices: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(voices.parent)
    refused = penstock(*ADOPT, *args)
    assert refused.code == ExitCode.USAGE
    assert says in refused.err
    assert not (state / "artifacts").exists()


def test_where_nothing_comes_in_that_is_said(penstock: Command, state: Path, tmp_path: Path) -> None:
    lay(tmp_path / "models", "vocoder/1.0.0", status="beta")
    done = penstock(*ADOPT, "tts", str(tmp_path / "models"))
    assert done.code == ExitCode.ERROR
    assert done.out.splitlines()[0].startswith("refused: vocoder/1.0.0: ")
    assert done.out.splitlines()[-1] == "0 releases promoted; serves: nothing that is known"
