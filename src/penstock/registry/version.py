"""A version of a component, as the registry knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from penstock.kernel.chain import rfc3339, utc
from penstock.kernel.names import checked_component, checked_service
from penstock.kernel.semver import SemVer
from penstock.registry.metadata import Metadata
from penstock.registry.release import WHOLE, part_name
from penstock.registry.stage import Stage, next_stage

_TIMES = ("verified_at", "promoted_at", "marked_at", "removed_at")


@dataclass(frozen=True, slots=True)
class Version:
    """What a version is never changes; the stage and what comes after it does, by the registry's store alone.

    Attributes:
        service, component: which part of what; a service released whole has the component `model`.
        version: its semantic version.
        digest: `sha256:...` of the artifact's manifest; None where the files lie elsewhere.
        size_bytes: of all its files, >= 0.
        metadata: who, what, how good.
        registered_at: aware UTC.
        stage: see registry/stage.py.
        staged_at, staged_by, staged_why: when the stage last changed, who did it, and why.
        verified_at, promoted_at: when that last happened; None for never.
        marked_at: since when it waits for its deletion; None when it does not.
        removed_at: when its files were given up; its number stays taken.
    """

    service: str
    component: str
    version: SemVer
    digest: str | None
    size_bytes: int
    metadata: Metadata
    registered_at: datetime
    stage: Stage = Stage.REGISTERED
    staged_at: datetime | None = None
    staged_by: str = ""
    staged_why: str = ""
    verified_at: datetime | None = None
    promoted_at: datetime | None = None
    marked_at: datetime | None = None
    removed_at: datetime | None = None

    def __post_init__(self) -> None:
        checked_service(self.service)
        checked_component(self.component)
        if not isinstance(self.size_bytes, int) or self.size_bytes < 0:
            raise ValueError(f"{self.size_bytes!r} is no size in bytes")

    @property
    def name(self) -> str:
        """`vocoder 1.3.0`, as sentences say it."""
        return f"{self.component} {self.version}"

    @property
    def part_name(self) -> str:
        """`vocoder-1.3.0`, as a quarantine names it; of a service that is released whole, `1.3.0`."""
        return str(self.version) if self.component == WHOLE else part_name(self.component, str(self.version))

    @property
    def reference(self) -> str:
        """`tts/vocoder@1.3.0`."""
        return f"{self.service}/{self.component}@{self.version}"

    @property
    def complete(self) -> bool:
        """Whether its metadata has every required field."""
        return self.metadata.complete

    @property
    def why_unusable(self) -> str | None:
        """Return why it may not serve, or None."""
        if self.removed_at is not None:
            return "was removed"
        if self.stage is Stage.QUARANTINED:
            return f"is quarantined ({self.staged_why})"
        return None

    def moved(self, stage: Stage, *, at: datetime, actor: str, reason: str) -> Self:
        """Return it in another stage. Raises IllegalStage, ReasonMissing."""
        wanted = next_stage(self.stage, stage, name=self.reference, reason=reason)
        times: dict[str, Any] = {"verified_at": at} if stage is Stage.VERIFIED else {}
        times |= {"promoted_at": at, "marked_at": None} if stage is Stage.STABLE else {}
        times |= {"marked_at": None} if stage is Stage.CANARY else {}
        return replace(self, stage=wanted, staged_at=at, staged_by=actor, staged_why=reason, **times)

    def is_same_as(self, other: Self) -> bool:
        """Whether both are one version: the same files under the same number, whatever happened to them since."""
        fixed = ("service", "component", "digest", "size_bytes")
        alike = all(getattr(self, name) == getattr(other, name) for name in fixed)
        return alike and str(self.version) == str(other.version) and self.metadata == other.metadata

    def as_json(self) -> dict[str, Any]:
        """The version as `penstock get -o json` and the export have it; `from_json` is its inverse."""
        return {
            "service": self.service,
            "component": self.component,
            "version": str(self.version),
            "stage": self.stage.value,
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "registered_at": rfc3339(self.registered_at),
            "staged_at": rfc3339(self.staged_at) if self.staged_at else None,
            "staged_by": self.staged_by,
            "staged_why": self.staged_why,
            **{name: rfc3339(at) if (at := getattr(self, name)) else None for name in _TIMES},
            "missing": list(self.metadata.missing),
            "metadata": self.metadata.as_json(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], metadata: Metadata | None = None) -> Self:
        """Read what `as_json` wrote; `metadata`: where it has been read before. Raises KeyError, TypeError, ValueError or an UsageError for anything else."""
        times = {name: _time(fields[name]) for name in ("staged_at", *_TIMES)}
        return cls(
            service=fields["service"],
            component=fields["component"],
            version=SemVer.parse(fields["version"]),
            digest=fields["digest"],
            size_bytes=fields["size_bytes"],
            metadata=metadata or Metadata.from_json(fields["metadata"], allow_missing=bool(fields["missing"])),
            registered_at=utc(fields["registered_at"]),
            stage=Stage(fields["stage"]),
            staged_by=fields["staged_by"],
            staged_why=fields["staged_why"],
            **times,
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else utc(text)
