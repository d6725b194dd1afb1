"""Models for ONNX Runtime: one session for each version."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from penstock.kernel.errors import ExtraMissing
from penstock.runtime.loaders import only_file


def reader(*, file: str | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Callable[[Path], Any]:
    """Return folder -> `onnxruntime.InferenceSession`.

    Args:
        file: which file of the folder; else the only `*.onnx`.
        providers: where it runs, as ONNX Runtime calls them, the first that works.
    """

    def read(folder: Path) -> Any:
        try:
            import onnxruntime  # noqa: PLC0415 - a server without it must not need it
        except ImportError:
            raise ExtraMissing(what="the loader onnx", package="onnxruntime", extra="onnx") from None
        path = folder / file if file else only_file(folder, "*.onnx")
        return onnxruntime.InferenceSession(str(path), providers=list(providers))

    return read
