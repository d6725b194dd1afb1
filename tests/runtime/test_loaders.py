"""Real weights in real libraries, swapped under load."""

import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from penstock.kernel.errors import ExtraMissing, SwapRefused, UnknownLoader
from penstock.runtime import Slot
from penstock.runtime.loaders import loader


def folder(root: Path, version: str) -> Path:
    made = root / "vocoder" / version
    made.mkdir(parents=True)
    return made


def write_onnx(path: Path, gain: float) -> None:
    """Write a model that multiplies its input."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "gain"], ["y"])],
        "gain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [helper.make_tensor("gain", TensorProto.FLOAT, [1], [gain])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


class Linear:
    """A layer whose weights are all the same number, so that a mixture of two versions shows."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.weight = tensors["weight"]

    def __call__(self) -> float:
        seen = set(torch.linalg.multi_dot([torch.ones(1, 64), self.weight, torch.ones(64, 1)]).flatten().tolist())
        return float(seen.pop())


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_torch_weights_swap_under_load_without_mixing(tmp_path: Path, kind: str) -> None:
    for version, value in (("1.0.0", 1.0), ("v2.0.0", 2.0)):
        tensors = {"weight": torch.full((64, 64), value)}
        path = folder(tmp_path, version) / f"model.{kind}"
        save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    slot = Slot("vocoder", load=loader("torch", tmp_path, "vocoder", build=Linear), warm_up=lambda model: model())
    slot.swap("1.0.0")

    def ask(_: int) -> tuple[str, float]:
        with slot.lease() as model:
            return slot.version or "", model()

    with ThreadPoolExecutor(3) as pool:
        asked = pool.map(ask, range(300))
        for number in range(10):
            slot.swap("2.0.0" if number % 2 == 0 else "1.0.0")
        assert {answer for _, answer in asked} <= {64.0 * 64.0, 2 * 64.0 * 64.0}


def test_a_pickle_that_would_run_code_is_refused_and_the_old_one_serves(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, folder(tmp_path, "1.0.0") / "model.pt")

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (folder(tmp_path, "2.0.0") / "model.pt").write_bytes(pickle.dumps(Evil()))
    slot = Slot("vocoder", load=loader("torch", tmp_path, "vocoder"))
    slot.swap("1.0.0")
    with pytest.raises(SwapRefused, match=r"1\.0\.0 still serves"):
        slot.swap("2.0.0")
    assert not (tmp_path / "ran").exists()


def test_onnx_sessions_swap(tmp_path: Path) -> None:
    write_onnx(folder(tmp_path, "1.0.0") / "model.onnx", 2.0)
    write_onnx(folder(tmp_path, "2.0.0") / "model.onnx", 3.0)
    slot = Slot("vocoder", load=loader("onnx", tmp_path, "vocoder"))
    for version, gain in (("1.0.0", 2.0), ("2.0.0", 3.0)):
        slot.swap(version)
        with slot.lease() as session:
            (answer,) = session.run(None, {"x": np.ones(4, dtype=np.float32)})
        assert answer.tolist() == [gain] * 4


def test_anything_that_a_function_reads(tmp_path: Path) -> None:
    (folder(tmp_path, "1.0.0") / "words.txt").write_text("hello")
    slot = Slot("vocoder", load=loader("callable", tmp_path, "vocoder", call=f"{__name__}:read_words"))
    slot.swap("1.0.0")
    with slot.lease() as words:
        assert words == "hello"
    plain = loader("callable", tmp_path, "vocoder", call=lambda where: where.name)
    assert plain("1.0.0") == "1.0.0"


def read_words(where: Path) -> str:
    return (where / "words.txt").read_text()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownLoader, match="callable, onnx, torch"):
        loader("jax", tmp_path, "vocoder")
    with pytest.raises(ValueError, match="is not module:function"):
        loader("callable", tmp_path, "vocoder", call="nothing")
    load = loader("torch", tmp_path, "vocoder")
    with pytest.raises(FileNotFoundError, match=r"has no folder 3\.0\.0"):
        load("3.0.0")
    empty = folder(tmp_path, "3.0.0")
    with pytest.raises(FileNotFoundError, match=re.escape("has no file *.safetensors or *.pt")):
        load("3.0.0")
    for name in ("a.pt", "b.pt"):
        (empty / name).touch()
    with pytest.raises(FileNotFoundError, match="say which with file="):
        load("3.0.0")


def test_a_library_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_onnx(folder(tmp_path, "1.0.0") / "model.onnx", 2.0)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExtraMissing, match="needs onnxruntime"):
        loader("onnx", tmp_path, "vocoder")("1.0.0")
