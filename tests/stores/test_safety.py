"""What is refused as unsafe to load, and that it is named; with the files that torch, NumPy and pickle really write."""

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from penstock.kernel.errors import UnsafeArtifact
from penstock.stores.safety import check_safe, findings_in

WEIGHTS = {"w": np.zeros(3, dtype=np.float32)}


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


def wrote(folder: Path, path: str, content: bytes) -> Path:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return folder


def saved(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def numpy_saved(save: Callable[..., None], *arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


TORCH = saved({"w": torch.zeros(3)})
OLD_TORCH = saved({"w": torch.zeros(3)}, _use_new_zipfile_serialization=False)


def test_what_holds_no_program_is_fine(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    for path, content in {
        "model.onnx": b"\x08\x07",
        "config.json": b"{}",
        "graph.pbtxt": b"node {}",
        "notes.txt": b"notes",
        "variables/variables.data-00000-of-00001": b"\x80\x04\x95" + bytes(100),  # begins as a pickle by chance
        "a.npy": numpy_saved(np.save, np.zeros(3)),
        "b.npz": numpy_saved(np.savez, np.zeros(3)),
        "code.zip": zipped(("a/b.txt", b"b")),
        "more.tar.gz": tarred(("a/b.txt", b"b")),
    }.items():
        wrote(tmp_path, path, content)
    assert findings_in(tmp_path) == ()
    check_safe(tmp_path)


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("m.pt", TORCH, "m.pt!archive/data.pkl: it is a pickle that uses collections.OrderedDict"),
        ("m.ckpt", OLD_TORCH, "m.ckpt: it is a pickle"),
        ("m.pkl", pickle.dumps([1]), "m.pkl: it is a pickle"),
        ("evil.pkl", pickle.dumps(Evil()), "evil.pkl: it is a pickle that uses posix.system"),
        ("old.bin", pickle.dumps(Evil(), protocol=0), "old.bin: it is a pickle that uses posix.system"),
        ("weights", pickle.dumps(Evil()), "weights: it is a pickle that uses posix.system"),
        ("o.npy", numpy_saved(np.save, np.array([Evil()], dtype=object)), "posix.system"),
        ("o.npz", numpy_saved(np.savez, np.array([Evil()], dtype=object)), "o.npz!arr_0.npy: it is a pickle"),
        ("a.zip", zipped(("in/side.pkl", pickle.dumps(Evil()))), "a.zip!in/side.pkl: it is a pickle that uses posix"),
        ("a.zip", zipped(("b.zip", zipped(("c.pkl", pickle.dumps(Evil()))))), "a.zip!b.zip!c.pkl: it is a pickle"),
        ("a.tgz", tarred(("c.pkl", pickle.dumps(Evil()))), "a.tgz!c.pkl: it is a pickle that uses posix.system"),
        ("a.tar.gz", tarred(("m.pt", saved(Evil()))), "a.tar.gz!m.pt!archive/data.pkl: it is a pickle that uses posix"),
        ("cut.pt", TORCH[:400], "cut.pt: it cannot be read: File is not a zip file"),
        ("cut.pkl", pickle.dumps([1] * 100)[:-9], "cut.pkl: it is named as a pickle is, and cannot be read as one"),
        ("noise.bin", bytes(range(256)), "noise.bin: it is named as a pickle is, and cannot be read as one"),
        ("empty.pt", b"", "empty.pt: it is named as a pickle is, and cannot be read as one"),
        ("m.7z", b"7z\xbc\xaf\x27\x1c" + bytes(50), "m.7z: it cannot be looked into"),
        ("bad.npy", b"\x93NUMPY\x01\x00\xff", "bad.npy: its header cannot be read"),
        ("bad.safetensors", b"\xff" * 50, "bad.safetensors: it is no sound safetensors file"),
        ("evil.safetensors", pickle.dumps(Evil()), "evil.safetensors: it is no sound safetensors file"),
        ("up.zip", zipped(("../../up.txt", b"")), "up.zip!../../up.txt: it has a part '..'"),
        ("up.tar.gz", tarred(("/etc/cron.d/x", b"")), "up.tar.gz!/etc/cron.d/x: it is absolute"),
        ("bomb.zip", b"", "it is no archive that can be read"),
    ],
)
def test_what_is_unsafe_is_refused_and_named(path: str, content: bytes, named: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeArtifact) as caught:
        check_safe(wrote(tmp_path, path, content))
    assert named in caught.value.message
    assert "\n" not in caught.value.message


def test_a_cut_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "m.safetensors")
    os.truncate(tmp_path / "m.safetensors", (tmp_path / "m.safetensors").stat().st_size - 1)
    (finding,) = findings_in(tmp_path)
    assert finding.path == "m.safetensors"


@pytest.mark.parametrize("content", [TORCH, OLD_TORCH])
def test_an_allowed_pickle_may_use_harmless_names_only(content: bytes, tmp_path: Path) -> None:
    wrote(tmp_path, "m.pt", content)
    check_safe(tmp_path, allow_pickles=True)
    wrote(tmp_path, "evil.pt", saved({"w": Evil()}))
    with pytest.raises(UnsafeArtifact, match=r"posix\.system \(dangerous\)"):
        check_safe(tmp_path, allow_pickles=True)


def test_names_are_allowed_one_by_one(tmp_path: Path) -> None:
    wrote(tmp_path, "module.pt", saved(torch.nn.Linear(2, 2)))
    found = findings_in(tmp_path, allow_pickles=True)
    assert [str(finding) for finding in found] == [
        "module.pt!archive/data.pkl: it is a pickle that uses __builtin__.set (suspicious)",
        "module.pt!archive/data.pkl: it is a pickle that uses torch._utils._rebuild_parameter (suspicious)",
        "module.pt!archive/data.pkl: it is a pickle that uses torch.nn.modules.linear.Linear (suspicious)",
    ]
    allowed = ["__builtin__.set", "torch._utils._rebuild_parameter", "torch.nn.modules.linear.Linear"]
    check_safe(tmp_path, allow_pickles=True, allowed_names=allowed)
    assert findings_in(tmp_path, allowed_names=allowed)  # names alone allow no pickle


def test_a_second_pickle_in_the_same_file_is_scanned_too(tmp_path: Path) -> None:
    wrote(tmp_path, "two.pkl", pickle.dumps([1]) + pickle.dumps(Evil()))
    with pytest.raises(UnsafeArtifact, match=r"posix\.system"):
        check_safe(tmp_path, allow_pickles=True)


def test_many_findings_are_counted_not_poured_out(tmp_path: Path) -> None:
    for i in range(9):
        wrote(tmp_path, f"{i}.pkl", pickle.dumps([i]))
    with pytest.raises(UnsafeArtifact, match="; and 4 more"):
        check_safe(tmp_path)


def test_looking_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {mark}",)

    for path, content in {"a.pkl": pickle.dumps(Touch()), "b.pt": saved(Touch())}.items():
        wrote(tmp_path / "in", path, content)
    assert len(findings_in(tmp_path / "in", allow_pickles=True)) == 2
    assert not mark.exists()
