"""What the files of a version are called in a store of artifacts, so that a node finds them without a registry."""

import json
from dataclasses import dataclass, replace
from typing import Self

from penstock.kernel.errors import PenstockError
from penstock.kernel.names import checked_component, checked_service
from penstock.kernel.semver import SemVer
from penstock.registry.manifest import checked_digest

#: The layout of the text, so that a later one cannot be mistaken for it.
_LAYOUT = "penstock.name/1"


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a version's files. As in the registry, versions of equal precedence have one name between them.

    Attributes:
        service, component: which part of what.
        version: its semantic version.
    """

    service: str
    component: str
    version: SemVer

    def __post_init__(self) -> None:
        """Refuse what cannot name a service or a component; InvalidName, InvalidComponent."""
        checked_service(self.service)
        checked_component(self.component)

    def __str__(self) -> str:
        return f"{self.service}/{self.component}@{self.version}"

    @property
    def path(self) -> str:
        """`tts/vocoder/1.3.0`: without build metadata, so that versions of equal precedence cannot both be named."""
        return f"{self.service}/{self.component}/{replace(self.version, build=())}"

    def text(self, digest: str) -> bytes:
        """Return what says, in canonical JSON, that these files are the artifact with this digest. Raises InvalidDigest."""
        fields = {
            "component": self.component,
            "digest": checked_digest(digest),
            "layout": _LAYOUT,
            "service": self.service,
            "version": str(self.version),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def read(cls, text: bytes) -> tuple[Self, str]:
        """Return the name and the digest in what `text` wrote; ValueError for anything else."""
        try:
            fields = json.loads(text)
            found = cls(fields["service"], fields["component"], SemVer.parse(fields["version"]))
            digest = str(fields["digest"])
            is_whole = found.text(digest) == text
        except (ValueError, TypeError, KeyError, RecursionError, PenstockError):
            is_whole = False
        if not is_whole:
            raise ValueError("it cannot be read")
        return found, digest
