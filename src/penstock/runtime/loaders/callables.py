"""Anything else: a function of the user's reads the folder."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def reader(call: str | Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return folder -> whatever `call` makes of it; `call` is a function, or `module:function`.

    Raises ValueError, ImportError or AttributeError for a name that leads nowhere.
    """
    if not isinstance(call, str):
        return call
    module, colon, function = call.partition(":")
    if not (module and colon and function):
        raise ValueError(f"{call!r} is not module:function")
    found: Callable[[Path], Any] = getattr(import_module(module), function)
    return found
