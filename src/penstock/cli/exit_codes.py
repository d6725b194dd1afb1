"""Exit codes: what scripts branch on. Stable; changes go to the changelog."""

from collections.abc import Mapping
from enum import IntEnum

from penstock.kernel.errors import (
    ConflictError,
    PenstockError,
    RefusedError,
    TelemetryUnavailable,
    UnreachableError,
    UsageError,
)


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0
    ERROR = 1
    USAGE = 2
    ROLLED_BACK = 3
    #: A person has to look, or a person stopped it.
    PAUSED = 4
    TIMEOUT = 5
    #: Refused, or quarantined.
    REFUSED = 6
    CONFLICT = 7
    UNREACHABLE = 8
    #: Ctrl-C. Source: the shell's custom, 128 + SIGINT.
    INTERRUPTED = 130


#: The nearest ancestor's code counts.
_BY_ERROR: Mapping[type[PenstockError], ExitCode] = {
    PenstockError: ExitCode.ERROR,
    UsageError: ExitCode.USAGE,
    ConflictError: ExitCode.CONFLICT,
    RefusedError: ExitCode.REFUSED,
    UnreachableError: ExitCode.UNREACHABLE,
    TelemetryUnavailable: ExitCode.ERROR,
}

_BY_OUTCOME: Mapping[str, ExitCode] = {
    "promoted": ExitCode.OK,
    "rolled_back": ExitCode.ROLLED_BACK,
    "paused": ExitCode.PAUSED,
    "aborted": ExitCode.PAUSED,
    "timeout": ExitCode.TIMEOUT,
    "promote": ExitCode.OK,
    "rollback": ExitCode.ROLLED_BACK,
    "withdraw": ExitCode.PAUSED,
    "undecided": ExitCode.PAUSED,
}


def code_of_error(error: PenstockError) -> ExitCode:
    return next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)


def code_of_outcome(word: str) -> ExitCode:
    """Return the code of how a rollout ended, or of what a replay comes to; an unknown word is an error."""
    return _BY_OUTCOME.get(word, ExitCode.ERROR)
