"""Where output goes: answers to stdout, everything else to stderr; JSON is one line a document."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from penstock.kernel.errors import PenstockError


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Terminal:
    """Writes answers, remarks and errors.

    Attributes:
        form: how answers are written.
        quiet: leave remarks and progress out.
    """

    form: Format = Format.TABLE
    quiet: bool = False

    @property
    def progress(self) -> TextIO:
        """Where progress belongs: with the answers for a person, apart from them for a script."""
        return sys.stderr if self.form is Format.JSON else sys.stdout

    def answer(self, answer: object, lines: Iterable[str]) -> None:
        """Write the answer as JSON, or as these lines."""
        for line in [json.dumps(answer)] if self.form is Format.JSON else lines:
            write(sys.stdout, line)

    def remark(self, text: str) -> None:
        """Say something beside the answer."""
        if not self.quiet:
            write(sys.stderr, text)

    def fail(self, error: PenstockError) -> None:
        """Say what went wrong and what to do; scripts get it on stdout too, as the last line."""
        write(sys.stderr, f"error: {error.message}")
        write(sys.stderr, f"  remedy: {error.remedy}")
        if self.form is Format.JSON:
            problem = {"code": error.code, "detail": error.message, "hint": error.remedy}
            facts = {
                name: value if isinstance(value, str | int | float) else str(value)
                for name, value in error.facts.items()
            }
            write(sys.stdout, json.dumps({"error": {**problem, "facts": facts}}))


def write(stream: TextIO, line: str) -> None:
    """Write one line at once. What could steer the terminal is made visible: reasons come from anybody."""
    stream.write(plain(line) + "\n")
    stream.flush()


def plain(text: str) -> str:
    """Return the text with everything unprintable made visible."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def wants_json(args: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON; needed where it could not be parsed."""
    joined = " ".join(args).replace("=", " ")
    return any(f"{option} json" in joined for option in ("-o", "--output")) or "-ojson" in args


def columns(table: Iterable[Sequence[str]], *, indent: str = "") -> Iterator[str]:
    """Yield rows with their columns aligned, two spaces apart."""
    rows = list(table)
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        widths[: len(row)] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=False)]
    for row in rows:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
