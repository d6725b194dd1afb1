"""What is a version in a tree on disk, what is written about it, and what is left alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.kernel.errors import InvalidMetadata, UsageError
from penstock.kernel.semver import SemVer
from penstock.ports.layouts import Laid
from penstock.stores.layouts import DiskLayouts

LAYOUTS = DiskLayouts()


def file(place: Path, content: str = "weights") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content, encoding="utf-8")
    return place


def found(root: Path) -> list[tuple[str | None, str, bool]]:
    return [(laid.component, str(laid.version), laid.is_numbered) for laid in LAYOUTS.read(root).versions]


def laid(folder: Path) -> Laid:
    return Laid(None, SemVer(1), folder, 0, is_numbered=False)


def test_folders_of_components_hold_folders_of_versions(tmp_path: Path) -> None:
    for version in ("v1.10.0", "v1.9.0", "2.0.0-rc.1"):
        file(tmp_path / "vocoder" / version / "deep" / "weights")
        file(tmp_path / "vocoder" / version / "version.json", "{}")
    file(tmp_path / "acoustic" / "3" / "version.json", "{}")
    file(tmp_path / "BigVGAN" / "3" / "weights")
    assert found(tmp_path) == [
        ("BigVGAN", "3.0.0", True),
        ("acoustic", "3.0.0", False),
        ("vocoder", "1.9.0", False),
        ("vocoder", "1.10.0", False),
        ("vocoder", "2.0.0-rc.1", False),
    ]
    sizes = [laid.size_bytes for laid in LAYOUTS.read(tmp_path).versions]
    assert sizes == [7, 2, 9, 9, 9]


def test_a_saved_model_is_one_folder_of_numbers(tmp_path: Path) -> None:
    for number in ("9", "10", "0003"):
        file(tmp_path / number / "saved_model.pb")
        file(tmp_path / number / "variables" / "variables.index")
    assert found(tmp_path) == [(None, "3.0.0", True), (None, "9.0.0", True), (None, "10.0.0", True)]


def test_what_triton_is_told_about_a_model_is_a_field_of_its_versions(tmp_path: Path) -> None:
    config = 'name: "ranker"\nplatform: "onnxruntime_onnx"\n'
    file(tmp_path / "ranker" / "config.pbtxt", config)
    file(tmp_path / "ranker" / "1" / "model.onnx")
    file(tmp_path / "ensemble" / "config.pbtxt", "")
    (tmp_path / "ensemble" / "1").mkdir()
    tree = LAYOUTS.read(tmp_path)
    assert tree.left_alone == ("ensemble",)
    (version,) = tree.versions
    assert (version.component, version.is_numbered) == ("ranker", True)
    assert LAYOUTS.fields(version) == {"config.pbtxt": config}


def test_what_is_no_version_is_left_alone_and_named(tmp_path: Path) -> None:
    good = file(tmp_path / "vocoder" / "v1.3.0" / "weights").parent
    (tmp_path / "vocoder" / "latest").symlink_to("v1.3.0")
    (tmp_path / "vocoder" / "v1.4.0").symlink_to("v1.3.0")
    (tmp_path / "serving").symlink_to("vocoder")
    (tmp_path / "vocoder" / "v2.0.0").mkdir()
    file(tmp_path / "vocoder" / "1.3" / "weights")
    file(tmp_path / "vocoder" / "7", "a file")
    file(tmp_path / "vocoder" / "notes.txt")
    file(tmp_path / "logs" / "today" / "log")
    file(tmp_path / "README.md")
    tree = LAYOUTS.read(tmp_path)
    assert [laid.folder for laid in tree.versions] == [good]
    inside = ("1.3", "7", "latest", "notes.txt", "v1.4.0", "v2.0.0")
    assert tree.left_alone == ("README.md", "logs", "serving", *(f"vocoder/{name}" for name in inside))


def test_a_link_inside_a_version_leaves_its_size_open(tmp_path: Path) -> None:
    folder = file(tmp_path / "v1.0.0" / "weights").parent
    (folder / "more").symlink_to("weights")
    assert [laid.size_bytes for laid in LAYOUTS.read(tmp_path).versions] == [0]


@pytest.mark.parametrize(
    ("name", "says"),
    [("gone", "No such file or directory"), ("file", "Not a directory"), ("empty", "holds no versions")],
)
def test_a_root_without_versions_is_refused(tmp_path: Path, name: str, says: str) -> None:
    file(tmp_path / "file")
    file(tmp_path / "empty" / "vocoder" / "weights")
    with pytest.raises(UsageError, match=says):
        LAYOUTS.read(tmp_path / name)


def test_nothing_written_is_no_field(tmp_path: Path) -> None:
    assert LAYOUTS.fields(laid(tmp_path)) == {}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ('{"status": "stable"}', {"status": "stable"}),
        ('{"loss": NaN, "best": -Infinity}', {"loss": "NaN", "best": "-Infinity"}),
        ("\ufeff" + json.dumps({"note": "更好"}), {"note": "更好"}),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, content: str, fields: dict[str, Any]) -> None:
    file(tmp_path / "version.json", content)
    assert LAYOUTS.fields(laid(tmp_path)) == fields


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "it is not JSON"),
        (b"[]", "it holds no fields"),
        (b'{"note": "\xff"}', "it is not JSON: 'utf-8'"),
        (b'{"note": "\\ud800"}', "it is not JSON: 'utf-8'"),
        (b"[" * 100_000, "it is not JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "version.json").write_bytes(content)
    with pytest.raises(InvalidMetadata, match=f"version.json: {says}"):
        LAYOUTS.fields(laid(tmp_path))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda place: place.symlink_to("/etc/hostname")])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "version.json")
    with pytest.raises(InvalidMetadata, match="it is not a plain file"):
        LAYOUTS.fields(laid(tmp_path))
    make(tmp_path / "config.pbtxt")
    assert LAYOUTS.fields(laid(tmp_path / "1")) == {}


def test_a_pipe_is_no_component(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    file(tmp_path / "vocoder" / "1.0.0" / "weights")
    assert LAYOUTS.read(tmp_path).left_alone == ("pipe",)
