"""Versions that a model server only numbers: nothing beside them says how good they are."""

from collections.abc import Iterable
from enum import StrEnum

from penstock.kernel.semver import SemVer


class Numbers(StrEnum):
    """Which of them are taken to be stable."""

    #: The one that the server serves when nobody tells it otherwise.
    #: Source: TensorFlow Serving, serving_config.md; Triton, model_configuration.md (version policy `latest`).
    HIGHEST = "highest"
    #: Each served in its turn.
    ALL = "all"
    NONE = "none"


def stable_among(numbers: Iterable[SemVer], which: Numbers) -> frozenset[SemVer]:
    """Return the numbers of one model that are taken to be stable."""
    every = frozenset(numbers)
    if which is Numbers.HIGHEST:
        return frozenset({max(every)}) if every else every
    return every if which is Numbers.ALL else frozenset()
