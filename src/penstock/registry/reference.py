"""How people name a version: `tts/vocoder@1.3.0`, `tts/vocoder@latest`, `tts@champion`, `models:/tts/3`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from penstock.kernel.errors import InvalidName, InvalidReference, InvalidSemVer
from penstock.kernel.names import checked_component, checked_service
from penstock.kernel.semver import SemVer
from penstock.registry.release import WHOLE

_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MLFLOW = "models:/"


class Word(StrEnum):
    """Selectors whose meaning follows from stages and promotions."""

    #: The highest version among the stable ones.
    LATEST = "latest"
    #: The one that serves: the last promoted.
    CHAMPION = "champion"
    #: The same.
    STABLE = "stable"
    #: The last promoted before the one that serves, that is neither quarantined nor removed.
    PREVIOUS = "previous"
    #: What an alias of this name says; without one the highest verified or canary version above the champion.
    CHALLENGER = "challenger"


#: Words that cannot be made aliases.
RESERVED = frozenset(Word) - {Word.CHALLENGER}


def checked_alias(alias: str) -> str:
    """Return `alias`, or raise InvalidReference: lower-case letters, digits, - and _; no version, no reserved word."""
    if not _ALIAS.fullmatch(alias) or _as_version(alias) is not None:
        raise InvalidReference(reference=alias, why="an alias is lower-case letters, digits, dashes, and no version")
    if alias in RESERVED:
        raise InvalidReference(reference=alias, why=f"{alias!r} follows from promotions and cannot be set")
    return alias


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference, read.

    Attributes:
        service, component: which part; `model` for a service released whole.
        selector: an exact version, a Word or the name of an alias.
    """

    service: str
    component: str = WHOLE
    selector: SemVer | str = Word.LATEST.value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read SERVICE[/COMPONENT][@SELECTOR], models:/NAME@ALIAS or models:/NAME/VERSION; raise InvalidReference.

        Without a selector the latest is meant.
        """
        name, at, selector = text.removeprefix(_MLFLOW).partition("@")
        if at and not selector:
            raise InvalidReference(reference=text, why="nothing follows the @")
        if text.startswith(_MLFLOW) and not at:
            name, _, selector = name.rpartition("/")
        service, slash, component = name.partition("/")
        try:
            return cls(
                checked_service(service),
                checked_component(component) if slash else WHOLE,
                _selector(selector or Word.LATEST.value),
            )
        except InvalidName as error:
            raise InvalidReference(reference=text, why=error.message.rstrip(".")) from None
        except ValueError as error:
            raise InvalidReference(reference=text, why=str(error)) from None

    def __str__(self) -> str:
        return f"{self.service}/{self.component}@{self.selector}"


def _selector(text: str) -> SemVer | str:
    version = _as_version(text)
    if version is None and not _ALIAS.fullmatch(text):
        raise ValueError(f"{text!r} is neither a semantic version nor the name of an alias")
    return text if version is None else version


def _as_version(text: str) -> SemVer | None:
    try:
        return SemVer.parse(text)
    except InvalidSemVer:
        return None
