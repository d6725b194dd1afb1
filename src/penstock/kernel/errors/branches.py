"""The root of all errors, and its six branches."""

import inspect
from typing import ClassVar

__all__ = [
    "BrokenError",
    "ConflictError",
    "NotFoundError",
    "PenstockError",
    "RefusedError",
    "UnreachableError",
    "UsageError",
]


class PenstockError(Exception):
    """Something went wrong that Penstock has no better word for: {detail}

    Remedy: run `penstock doctor`.
    """

    code: ClassVar[str] = "error"

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        message, _, remedy = inspect.cleandoc(type(self).__doc__ or type(self).__name__).partition("\n\nRemedy:")
        self.message = " ".join(message.split()).format(**facts)
        self.remedy = " ".join(remedy.split()).format(**facts)
        super().__init__(self.message)


class UsageError(PenstockError):
    """The request cannot be meant as written: {detail}

    Remedy: see `penstock --help`.
    """

    code = "usage"


class NotFoundError(PenstockError):
    """There is no such thing: {detail}

    Remedy: see `penstock list`.
    """

    code = "not-found"


class ConflictError(PenstockError):
    """That does not fit the present state: {detail}

    Remedy: see `penstock status`.
    """

    code = "conflict"


class RefusedError(PenstockError):
    """That is refused: {detail}

    Remedy: see `penstock explain`.
    """

    code = "refused"


class UnreachableError(PenstockError):
    """Somebody does not answer: {detail}

    Remedy: see `penstock doctor`.
    """

    code = "unreachable"


class BrokenError(PenstockError):
    """A part of Penstock failed: {detail}

    Remedy: see `penstock doctor`.
    """

    code = "broken"
