"""What an artifact consists of: which files, each known by its SHA-256. Two artifacts with equal files are one artifact.

The digest covers the canonical JSON text of the manifest, so that whoever holds the digest can check every byte.
Source: the manifests of the OCI image specification, reduced to files; SHA-256, FIPS 180-4.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from penstock.kernel.errors import InvalidArtifact, InvalidDigest

#: The layout of the text, so that a later one cannot be mistaken for it.
_LAYOUT = "penstock.artifact/1"
_PREFIX = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")
#: What a file system or a terminal may take for something else than a letter of a name.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_MAX_PATH_BYTES = 1024
_MAX_NAME_BYTES = 255
_FILE_FIELDS = {"path", "sha256", "size_bytes"}


def checked_digest(text: str) -> str:
    """Return an artifact's digest, `sha256:` and 64 hexadecimal digits, or raise InvalidDigest."""
    if not text.startswith(_PREFIX) or not _HEX.fullmatch(text.removeprefix(_PREFIX)):
        raise InvalidDigest(digest=text)
    return text


def hex_of(digest: str) -> str:
    """Return the 64 hexadecimal digits of a digest, or raise InvalidDigest."""
    return checked_digest(digest).removeprefix(_PREFIX)


def why_unfit(path: str) -> str | None:
    """Return why a path cannot be that of an artifact's file, or None where it can.

    It must lead downwards from the artifact's folder on every system: relative, parts divided by `/`, no `.` or `..`.
    """
    parts = path.split("/")
    reasons = {
        "it is empty": not path,
        "it is absolute": path.startswith("/"),
        "it has a part '..'": ".." in parts,
        "it has an empty part or a part '.'": not {"", "."}.isdisjoint(parts),
        "it has a control character, a backslash or bytes that are not UTF-8": bool(_UNFIT.search(path)),
        "it is too long": _is_too_long(parts),
    }
    return next((why for why, applies in reasons.items() if applies), None)


def _is_too_long(parts: list[str]) -> bool:
    sizes = [len(part.encode(errors="surrogatepass")) for part in parts]
    return max(sizes) > _MAX_NAME_BYTES or sum(sizes) + len(sizes) - 1 > _MAX_PATH_BYTES


@dataclass(frozen=True, slots=True, order=True)
class ArtifactFile:
    """One file.

    Attributes:
        path: from the artifact's folder, `weights/model.safetensors`; see `why_unfit`.
        sha256: of its bytes, 64 hexadecimal digits.
        size_bytes: >= 0.
    """

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        """Refuse what could not be stored or written back; InvalidArtifact names it."""
        if why := why_unfit(self.path):
            raise InvalidArtifact(source=repr(self.path), why=why)
        if not _HEX.fullmatch(self.sha256):
            raise InvalidArtifact(source=self.path, why=f"{self.sha256!r} is not a SHA-256 in hexadecimal digits")
        if self.size_bytes < 0:
            raise InvalidArtifact(source=self.path, why="its size is below zero")


@dataclass(frozen=True)
class Manifest:
    """The files of one artifact, sorted by path; at least one, and no path lies inside another one.

    Raises InvalidArtifact for files that cannot be an artifact together.
    """

    files: tuple[ArtifactFile, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise InvalidArtifact(source="the artifact", why="it has no file")
        object.__setattr__(self, "files", tuple(sorted(self.files)))
        _check_paths([file.path for file in self.files])

    @classmethod
    def of(cls, files: Iterable[ArtifactFile]) -> Self:
        return cls(tuple(files))

    @classmethod
    def parse(cls, text: bytes, *, digest: str | None = None) -> Self:
        """Read what `text` wrote, and check that it is the artifact with this digest; InvalidArtifact says what is wrong."""
        try:
            fields = json.loads(text)
            manifest = cls.of(_file_from(entry) for entry in _entries(fields))
        except (ValueError, RecursionError) as error:
            raise InvalidArtifact(source="the manifest", why=f"it cannot be read: {error}") from None
        if manifest.text != text:
            raise InvalidArtifact(source="the manifest", why="it is not written canonically")
        if digest is not None and manifest.digest != digest:
            raise InvalidArtifact(source="the manifest", why=f"it is that of {manifest.digest}")
        return manifest

    @cached_property
    def text(self) -> bytes:
        """The canonical JSON: sorted keys, no blanks, no escapes that are not needed."""
        files = [{"path": f.path, "sha256": f.sha256, "size_bytes": f.size_bytes} for f in self.files]
        fields = {"layout": _LAYOUT, "files": files}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        return _PREFIX + hashlib.sha256(self.text).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Of all files; equal files count each time."""
        return sum(file.size_bytes for file in self.files)

    @property
    def blobs(self) -> dict[str, int]:
        """SHA-256 -> size in bytes of each different content."""
        return {file.sha256: file.size_bytes for file in self.files}


def _check_paths(paths: list[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise InvalidArtifact(source=repr(path), why="it is there twice")
        seen.add(path)
    for path in paths:
        parts = path.split("/")
        if folder := next((p for n in range(1, len(parts)) if (p := "/".join(parts[:n])) in seen), None):
            raise InvalidArtifact(source=repr(path), why=f"{folder!r} is a file already")


def _entries(fields: Any) -> list[Any]:
    if (
        isinstance(fields, dict)
        and fields.get("layout") == _LAYOUT
        and isinstance(entries := fields.get("files"), list)
    ):
        return entries
    raise ValueError(f"not a manifest of layout {_LAYOUT}")


def _file_from(entry: Any) -> ArtifactFile:
    if not isinstance(entry, dict) or set(entry) != _FILE_FIELDS:
        raise ValueError("a file has a path, a sha256 and a size_bytes, and nothing else")
    path, sha256, size_bytes = entry["path"], entry["sha256"], entry["size_bytes"]
    if not isinstance(path, str) or not isinstance(sha256, str) or type(size_bytes) is not int:
        raise ValueError("path and sha256 are texts, size_bytes is a whole number")
    return ArtifactFile(path, sha256, size_bytes)
