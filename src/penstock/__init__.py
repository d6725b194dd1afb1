"""Penstock meters a new AI model into live traffic, judges it, and shuts it off when it is worse.

The rooms and who may import whom: ARCHITECTURE.md. This file imports nothing until it is asked for: `import penstock` costs
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.runtime import Pipeline, Slot
    from penstock.stores.weights import Weights

__all__ = ["Pipeline", "Slot", "Weights"]

_ROOMS = {"Pipeline": "penstock.runtime", "Slot": "penstock.runtime", "Weights": "penstock.stores.weights"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
