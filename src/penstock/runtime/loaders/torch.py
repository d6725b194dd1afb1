"""Weights for torch: safetensors first, else a pickle of plain tensors, which torch itself keeps from running code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.runtime.loaders import only_file

_PATTERNS = ("*.safetensors", "*.pt", "*.pth", "*.ckpt")


def reader(
    build: Callable[[dict[str, Any]], Any] | None = None, *, file: str | None = None, device: str = "cpu"
) -> Callable[[Path], Any]:
    """Return folder -> model.

    Args:
        build: tensors by name -> model; without it, the tensors are the model.
        file: which file of the folder; else the only one.
        device: where tensors go.
    """

    def read(folder: Path) -> Any:
        path = folder / file if file else only_file(folder, *_PATTERNS)
        tensors = _tensors_in(path, device)
        return build(tensors) if build else tensors

    return read


def _tensors_in(path: Path, device: str) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - a server without it must not need it

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415 - it imports torch

        return dict(load_file(path, device=device))
    return dict(torch.load(path, map_location=device, weights_only=True))
