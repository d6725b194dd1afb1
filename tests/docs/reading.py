"""Reading our own Markdown: files, links, anchors, fenced blocks, tables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for room in ("docs", "examples", "benchmarks") for page in (ROOT / room).rglob("*.md"))]
)

_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return [body for name, body in _FENCED.findall(text_of(page)) if name == language]


def links(page: Path) -> list[str]:
    """Return where the page's links go, but for other sites."""
    targets = _LINK.findall(_FENCED.sub("", text_of(page)))
    return [target for target in targets if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the names of the page's headings, as code hosts make them."""
    headings = _HEADING.findall(_FENCED.sub("", text_of(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(page: Path) -> list[str]:
    """Return what stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", _FENCED.sub("", text_of(page)))


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, down to the next one."""
    _, _, rest = text_of(page).partition(f"# {heading}\n")
    assert rest, f"{page} has no section {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return a table's rows by what stands in their first cell between backticks."""
    table = (line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {first.strip().strip("`"): [cell.strip() for cell in cells] for first, *cells in table}


def commands(script: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of penstock in a shell script; nothing is run."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command and Path(command[0]).name == "penstock":
                    yield command[1:]
                command = []
            else:
                command.append(word)
