"""Whether a folder of weights can be loaded without running somebody else's code.

Fine: safetensors whose header adds up, and files that are no programs of any loader (ONNX, JSON, text, protocol buffers ...).
Refused: pickles (also inside zips, tars and NumPy files) unless the component allows them, then still each global name that
is neither known to be harmless nor allowed; what calls itself a pickle and cannot be read as one; members of archives
that lead elsewhere. Not judged: source code, shared libraries, and graphs whose operators read files (docs/reference/artifacts.md).
"""

import contextlib
import io
import logging
import pickletools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from picklescan.scanner import SafetyLevel, ScanResult, scan_pickle_bytes, scan_pytorch
from picklescan.torch import MAGIC_NUMBER, get_magic_number
from safetensors import SafetensorError, safe_open

from penstock.kernel.errors import InvalidArtifact, UnsafeArtifact
from penstock.stores.archives import BROKEN, Member, is_archive, is_tar, members, tar_members, zip_members
from penstock.stores.artifacts.source import SourceFile, files_of

#: What the usual loaders unpickle. Source: torch.load's and joblib's habits, picklescan's lists.
_PICKLE_ENDINGS = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill")
_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_ZIP_START, _SEVEN_ZIP_START = b"PK", b"7z\xbc\xaf\x27\x1c"
_HEAD_BYTES = 8
_MAX_DEPTH = 3
#: A message that nobody reads to the end helps nobody.
_MAX_NAMED = 5

#: What stands in the report is said by us, once.
logging.getLogger("picklescan").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Why a file must not be loaded.

    Attributes:
        path: of the file in the artifact; `archive.zip!member` for one inside another.
        what: one clause, which names the global where there is one.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def check_safe(source: Path, *, allow_pickles: bool = False, allowed_names: Collection[str] = ()) -> None:
    """Raise UnsafeArtifact, which names the findings, unless a folder or file is safe to load; see `findings_in`."""
    findings = findings_in(source, allow_pickles=allow_pickles, allowed_names=allowed_names)
    if findings:
        named = "; ".join(map(str, findings[:_MAX_NAMED]))
        more = f"; and {len(findings) - _MAX_NAMED} more" if len(findings) > _MAX_NAMED else ""
        raise UnsafeArtifact(source=source.name, findings=named + more)


def findings_in(
    source: Path, *, allow_pickles: bool = False, allowed_names: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return why a folder or file is not safe to load, sorted; nothing where it is.

    `allow_pickles` accepts pickles that use only names known to be harmless; `allowed_names` adds names to these, as
    `module.name`. Raises InvalidArtifact for what is no artifact, or cannot be read.
    """
    look = _Look(allow_pickles=allow_pickles, allowed_names=frozenset(allowed_names))
    try:
        return tuple(sorted({finding for file in files_of(source) for finding in look.at_file(file)}))
    except OSError as error:
        raise InvalidArtifact(source=error.filename or source, why=f"it cannot be read: {error.strerror}") from None


class _Look:
    """Looks into files, and into files inside files."""

    def __init__(self, *, allow_pickles: bool, allowed_names: frozenset[str]) -> None:
        self._allow_pickles = allow_pickles
        self._allowed_names = allowed_names

    def at_file(self, file: SourceFile) -> Iterator[Finding]:
        if file.path.endswith(".safetensors"):
            yield from _at_safetensors(file)
            return
        if is_archive(file.path):
            try:
                for member in members(file.place):
                    yield from self._at_member(member, file.path, depth=1)
            except (InvalidArtifact, UnsafeArtifact) as error:
                yield Finding(file.path, error.message)
            return
        with file.place.open("rb") as content:
            yield from self._at_content(content, file.path, depth=0)

    def _at_member(self, member: Member, of: str, *, depth: int) -> Iterator[Finding]:
        path = f"{of}!{ascii(member.path)[1:-1]}"
        if member.why_refused:
            yield Finding(path, member.why_refused)
            return
        try:
            with member.open() as content:
                yield from self._at_content(content, path, depth=depth)
        except BROKEN as error:
            yield Finding(path, f"it cannot be read: {error}")

    def _at_content(self, content: IO[bytes], path: str, *, depth: int) -> Iterator[Finding]:
        head = content.read(_HEAD_BYTES)
        content.seek(0)
        claims = path.lower().endswith(_PICKLE_ENDINGS)
        if depth > _MAX_DEPTH or head.startswith(_SEVEN_ZIP_START):
            yield Finding(path, "it cannot be looked into")
        elif head.startswith(_ZIP_START):
            yield from self._at_archive(zip_members(content), path, depth=depth)
        elif is_tar(path):
            yield from self._at_archive(tar_members(content), path, depth=depth)
        elif head.startswith(np.lib.format.MAGIC_PREFIX):
            yield from self._at_numpy(content, path)
        elif claims or (head.startswith(_PICKLE_STARTS) and _is_pickle(content)):
            yield from self._at_pickle(content, path)

    def _at_archive(self, found: Iterator[Member], path: str, *, depth: int) -> Iterator[Finding]:
        try:
            for member in found:
                yield from self._at_member(member, path, depth=depth + 1)
        except BROKEN as error:
            yield Finding(path, f"it cannot be read: {error}")

    def _at_numpy(self, content: IO[bytes], path: str) -> Iterator[Finding]:
        try:
            version = np.lib.format.read_magic(content)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = read(content)
        except ValueError as error:
            yield Finding(path, f"its header cannot be read: {error}")
            return
        if dtype.hasobject:
            yield from self._at_pickle(io.BytesIO(content.read()), path)

    def _at_pickle(self, content: IO[bytes], path: str) -> Iterator[Finding]:
        content.seek(0)
        if not _is_pickle(content):
            yield Finding(path, "it is named as a pickle is, and cannot be read as one")
            return
        content.seek(0)
        try:
            scanned = _scanned(content, path)
        except (*BROKEN, IndexError, KeyError, TypeError) as error:  # what picklescan makes of odd pickles
            yield Finding(path, f"it is a pickle that cannot be scanned: {error}")
            return
        names = {f"{found.module}.{found.name}": found.safety for found in scanned.globals}
        if not self._allow_pickles:
            used = f" that uses {', '.join(sorted(names))}" if names else ""
            yield Finding(path, f"it is a pickle{used}")
            return
        for name, safety in sorted(names.items()):
            if safety is not SafetyLevel.Innocuous and name not in self._allowed_names:
                yield Finding(path, f"it is a pickle that uses {name} ({safety.value})")
        if scanned.scan_err:
            yield Finding(path, "it is a pickle that cannot be scanned to its end")


def _at_safetensors(file: SourceFile) -> Iterator[Finding]:
    with file.place.open("rb"):  # says itself that it cannot be read
        pass
    try:
        with safe_open(file.place, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        yield Finding(file.path, f"it is no sound safetensors file: {error}")


def _scanned(content: IO[bytes], path: str) -> ScanResult:
    """Scan every pickle there is; of torch's old layout the five that torch reads, since raw tensors follow them."""
    is_old_torch = get_magic_number(content) == MAGIC_NUMBER
    content.seek(0)
    return scan_pytorch(content, path) if is_old_torch else scan_pickle_bytes(content, path)


def _is_pickle(content: IO[bytes]) -> bool:
    """Whether the content begins with a whole pickle; what follows (a second one, raw tensors) does not count here."""
    content.seek(0)
    with contextlib.suppress(ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, EOFError):
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return True
    return False
