"""Semantic versions: their order, and ranges of them.

Source: Semantic Versioning 2.0.0, semver.org (precedence: item 11); PEP 440 (`~=`, and `<2` without the pre-releases of 2).
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, total_ordering
from typing import Self

from penstock.kernel.errors import InvalidRange, InvalidSemVer

_MAX_LENGTH = 64
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
#: A directory of a model server: a 64-bit number, leading zeros allowed.
_BARE = re.compile(r"v?[0-9]{1,19}")
_CLAUSE = re.compile(r"(?P<op>~=|==|!=|>=|<=|>|<)\s*(?P<version>\S+)")
_PARTIAL = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})?")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class SemVer:
    """A semantic version. Equal and ordered by precedence: build metadata does not count.

    Attributes:
        major, minor, patch: >= 0.
        pre: identifiers after the dash, e.g. ("rc", "1"); empty for a release.
        build: identifiers after the plus sign.
        key: a text that sorts, byte by byte, in order of precedence; equal for equal precedence.
    """

    major: int
    minor: int = 0
    patch: int = 0
    pre: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = "".join(_sortable(str(n)) for n in (self.major, self.minor, self.patch))
        # "-" sorts before "~": a pre-release comes before its release.
        object.__setattr__(self, "key", numbers + ("-" + "".join(map(_pre_key, self.pre)) if self.pre else "~"))

    @staticmethod
    def parse(text: str) -> "SemVer":
        """Read `1.2.3-rc.1+build`, with or without a `v`, or a bare number N, which is N.0.0. Raises InvalidSemVer."""
        return _parsed(text)

    @property
    def release(self) -> tuple[int, int, int]:
        """The version without what follows a dash or a plus sign."""
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        pre = "-" + ".".join(self.pre) if self.pre else ""
        build = "+" + ".".join(self.build) if self.build else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{build}"

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, SemVer) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.key < other.key if isinstance(other, SemVer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=4096)  # a registry reads the same versions again and again
def _parsed(text: str) -> SemVer:
    if len(text) <= _MAX_LENGTH:
        if _BARE.fullmatch(text):
            return SemVer(int(text.removeprefix("v")))
        if found := _SEMVER.fullmatch(text):
            pre, build = (tuple(found[name].split(".")) if found[name] else () for name in ("pre", "build"))
            return SemVer(int(found["major"]), int(found["minor"]), int(found["patch"]), pre, build)
    raise InvalidSemVer(version=text)


def _sortable(digits: str) -> str:
    """A number as text that sorts as the number does: how many digits, then the digits."""
    return f"{len(digits):02}{digits}"


def _pre_key(identifier: str) -> str:
    # Numbers before words; "!" sorts before all that a word may hold, so that a word comes before the longer ones.
    return "0" + _sortable(identifier) if identifier.isdigit() else f"1{identifier}!"


_COMPARE: Mapping[str, Callable[[SemVer, SemVer], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Range:
    """Comparisons that must all hold, e.g. `>=1.1,<2`. `text` is how it was written, without blanks."""

    text: str
    clauses: tuple[tuple[str, SemVer], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read comparisons joined by commas: ==, !=, >=, <=, >, <, ~=. Missing parts of a version are 0.

        `~=1.2` is >=1.2,<2 and `~=1.2.3` is >=1.2.3,<1.3; a version alone means ==. Raises InvalidRange.
        """
        clauses: list[tuple[str, SemVer]] = []
        for part in text.split(","):
            stripped = part.strip()
            found = _CLAUSE.fullmatch(stripped)
            op, version = (found["op"], found["version"]) if found else ("==", stripped)
            try:
                clauses += _clauses(op, version)
            except InvalidSemVer:
                raise InvalidRange(range=text, part=stripped) from None
        return cls("".join(text.split()), tuple(clauses))

    def allows(self, version: SemVer) -> bool:
        """Whether every comparison holds. `<2` does not admit 2.0.0-rc.1: a pre-release is of what it leads to."""
        return all(_holds(op, version, bound) for op, bound in self.clauses)

    def __str__(self) -> str:
        return self.text


def _clauses(op: str, text: str) -> list[tuple[str, SemVer]]:
    has_patch = not _PARTIAL.fullmatch(text)
    version = SemVer.parse(text if has_patch or "." not in text else f"{text}.0")
    if op != "~=":
        return [(op, version)]
    upper = SemVer(version.major, version.minor + 1) if has_patch else SemVer(version.major + 1)
    return [(">=", version), ("<", upper)]


def _holds(op: str, version: SemVer, bound: SemVer) -> bool:
    if op == "<":
        return version < bound and (bool(bound.pre) or version.release != bound.release)
    return _COMPARE[op](version, bound)
