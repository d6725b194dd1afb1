"""Keeping a catalogue of versions: their files in the store of artifacts, what is known of them in the registry.

Files come first and go last, so that whatever the registry names can be pulled: a push stores them before it registers,
a collection gives the version up before it removes them. What is registered gets its name in the store, by which nodes find
it without the registry; a push that was killed before that is finished by pushing again.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from penstock.control.collecting import NOTHING, Collected, Collecting
from penstock.kernel.errors import (
    ArtifactDamaged,
    NameTaken,
    NotFoundError,
    NothingToRollBack,
    UnknownName,
    UnknownVersion,
)
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import SAFE_ONLY, ArtifactStore, Progress, Swept, Trust, silent
from penstock.ports.clock import Clock
from penstock.ports.registry import Imported, RegistryStore
from penstock.registry.going_back import Candidate, choose_going_back, rollback_candidates
from penstock.registry.manifest import Manifest
from penstock.registry.metadata import Metadata
from penstock.registry.naming import Name
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.release import WHOLE, set_name
from penstock.registry.retention import Key, Policy
from penstock.registry.rules import check_fit, check_free
from penstock.registry.stage import Stage
from penstock.registry.version import Version


class Look(Protocol):
    """What can be told of files before they are stored, or handed out."""

    def check(self, source: Path, trust: Trust) -> None:
        """Raise UnsafeArtifact, which names what is not safe to load, SignatureRefused where the key's owner did not sign it."""
        ...

    def proving(self, into: Path, key: Path, digest: str, *, called: str) -> AbstractContextManager[Path]:
        """Yield a folder to write an artifact to; on leaving it becomes `into`, or SignatureRefused and it is gone."""
        ...

    def manifest(self, source: Path) -> Manifest:
        """Return the artifact that a folder or a file would be."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a catalogue works with.

    Attributes:
        registry: what is known of versions.
        artifacts: their files; used by no other registry, since a collection removes what this one does not name.
        clock: says when.
        look: at files that are to be stored or handed out.
        alone: held while the registry begins or ceases to name files; waits for other processes.
    """

    registry: RegistryStore
    artifacts: ArtifactStore
    clock: Clock
    look: Look
    alone: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of a push: the version as it is in the registry, whether it is new there, or else went into another stage."""

    version: Version
    is_new: bool
    is_moved: bool = False


class Catalogue:
    """Versions with their files. Calls block, and may come from several processes."""

    def __init__(self, parts: Parts) -> None:
        """Touch nothing yet."""
        self._parts = parts
        self.registry = parts.registry
        self.alone = parts.alone

    def push(
        self,
        ref: Ref,
        source: Path,
        fields: Mapping[str, Any],
        *,
        stage: Stage,
        actor: str,
        reason: str,
        trust: Trust = SAFE_ONLY,
        dry_run: bool = False,
        on_progress: Progress = silent,
    ) -> Pushed:
        """Store a folder or a file, and register it as the version that `ref` names; pushing it again changes nothing.

        `fields` is its metadata. Into `stable` it comes as `move` brings it
        there, and so does what is there already into `verified`, unless it is beyond. Raises InvalidMetadata, UnsafeArtifact,
        SignatureRefused, PrecedenceTaken, NameTaken, IllegalStage, for a stable one Incompatible and Quarantined, and what the
        stores raise.
        """
        is_stable = stage is Stage.STABLE
        draft = self.draft(ref, Metadata.from_json(fields), Stage.REGISTERED if is_stable else stage)
        if is_stable:
            self._check_promotable(draft)
        pushed = self.put(
            draft,
            source,
            actor=actor,
            reason=reason,
            trust=trust,
            dry_run=dry_run,
            on_progress=on_progress,
        )
        if not _is_before(pushed.version, stage):
            return pushed
        if dry_run:
            moved = pushed.version.moved(stage, at=draft.registered_at, actor=actor, reason=reason)
        else:
            moved = self.move(ref, stage, actor=actor, reason=reason)
        return Pushed(moved, pushed.is_new, is_moved=not pushed.is_new)

    def _check_promotable(self, draft: Version) -> None:
        """Refuse what could not be promoted before anything of it is stored; Incompatible."""
        known = self.known(draft)
        if known is None or known.promoted_at is None:
            check_fit(self.registry.history(draft.service), {draft.component: draft})

    def draft(self, ref: Ref, metadata: Metadata, stage: Stage = Stage.REGISTERED) -> Version:
        """Return the version that `ref` names as it would be registered now, without files yet."""
        assert isinstance(ref.selector, SemVer)  # noqa: S101 - the caller names a version
        at = self._parts.clock.now()
        return _in_stage(_draft(ref.service, ref.component, ref.selector, metadata, at), stage, at)

    def put(
        self,
        draft: Version,
        source: Path,
        *,
        actor: str,
        reason: str,
        trust: Trust = SAFE_ONLY,
        dry_run: bool = False,
        on_progress: Progress = silent,
    ) -> Pushed:
        """Store a folder or a file, and register it as `draft`, in its stage; doing it again changes nothing."""
        draft, parts = replace(draft, staged_by=actor, staged_why=reason), self._parts
        parts.look.check(source, trust)
        taken = self.known(draft)
        if taken is not None or dry_run:  # nothing is stored that would be refused
            wanted = _with_files(draft, parts.look.manifest(source))
            if taken is not None:
                check_free(wanted, taken)
            if dry_run:
                return Pushed(taken or wanted, taken is None)
        return self._stored(draft, source, actor=actor, reason=reason, on_progress=on_progress)

    def _stored(self, draft: Version, source: Path, *, actor: str, reason: str, on_progress: Progress) -> Pushed:
        name, artifacts = Name(draft.service, draft.component, draft.version), self._parts.artifacts
        while True:
            manifest = artifacts.push(source, on_progress=on_progress)
            with self._parts.alone():
                if artifacts.has(manifest.digest):  # else a collection took it before it had a name
                    self._check_name(name, manifest.digest)
                    is_new = self.known(draft) is None
                    wanted = _with_files(draft, manifest)
                    version = self.registry.register(wanted, actor=actor, reason=reason)
                    artifacts.publish(name, manifest.digest)
                    return Pushed(version, is_new)

    def _check_name(self, name: Name, digest: str) -> None:
        """Refuse a name that another registry gave to other files of this store; NameTaken."""
        with suppress(UnknownName, ArtifactDamaged):  # publishing mends it
            if (taken := self._parts.artifacts.named(name)) != digest:
                raise NameTaken(name=name, taken=taken, digest=digest)

    def holds(self, version: Version, source: Path) -> bool:
        """Whether these are a version's files, stored under its name; every byte of the source is read."""
        digest, artifacts = self._parts.look.manifest(source).digest, self._parts.artifacts
        with suppress(UnknownName, ArtifactDamaged):
            named = artifacts.named(Name(version.service, version.component, version.version))
            return version.digest == digest == named and artifacts.has(digest)
        return False

    def known(self, wanted: Version) -> Version | None:
        """Return the version of this number that is registered, also when it was removed."""
        try:
            return self.registry.version(wanted.service, wanted.component, str(wanted.version))
        except UnknownVersion:
            return None

    def move(self, ref: Ref, stage: Stage, *, actor: str, reason: str) -> Version:
        """Put a version into a stage; into `stable` by promoting it, so that its service is known to serve it."""
        found, at = self.registry.resolve(ref), self._parts.clock.now()
        named = found.service, found.component, str(found.version)
        if stage is Stage.STABLE:
            self.registry.promote(found.service, {found.component: named[2]}, at=at, actor=actor, reason=reason)
        elif stage is not found.stage:
            self.registry.move(*named, stage, at=at, actor=actor, reason=reason)
        return self.registry.version(*named)

    def pull(
        self, ref: Ref, into: Path, *, key: Path | None = None, on_progress: Progress = silent
    ) -> tuple[Version, Manifest]:
        """Write the files of the version that is meant below `into`. Raises NotFoundError where they lie elsewhere.

        With `key`, that folder is new, and appears only where the key's owner signed its files; else SignatureRefused.
        """
        found = self.registry.resolve(ref)
        if found.digest is None:
            raise NotFoundError(detail=f"the files of {found.reference} were never stored here.")
        if key is None:
            return found, self._parts.artifacts.pull(found.digest, into, on_progress=on_progress)
        with self._parts.look.proving(into, key, found.digest, called=found.reference) as folder:
            return found, self._parts.artifacts.pull(found.digest, folder, on_progress=on_progress)

    def serving(self, service: str) -> Promotion | None:
        """Return what a service serves everybody with, as far as the registry knows."""
        return next(iter(self.registry.promotions(service, limit=1)), None)

    def serves(self, version: Version) -> bool:
        """Whether a version is part of that."""
        promotion = self.serving(version.service)
        return promotion is not None and promotion.versions.get(version.component) == str(version.version)

    def versions(self, query: Query) -> list[Version]:
        """Return what passes; NotFoundError where the service, or the component, that it names has no version at all."""
        if query.service is not None:
            self._check_known(query.service, query.component, removed=query.removed)
        return self.registry.versions(query)

    def set_alias(self, ref: Ref, alias: str, *, actor: str, reason: str) -> Version:
        """Point an alias at the version that is meant; return that. Raises InvalidReference, Quarantined."""
        found = self.registry.resolve(ref)
        named = found.service, found.component, alias, str(found.version)
        self.registry.set_alias(*named, at=self._parts.clock.now(), actor=actor, reason=reason)
        return found

    def delete_alias(self, ref: Ref, alias: str, *, actor: str, reason: str) -> None:
        """Take an alias away from a component. Raises NothingSelected where there is none."""
        at = self._parts.clock.now()
        self.registry.delete_alias(ref.service, ref.component, alias, at=at, actor=actor, reason=reason)

    def _check_known(self, service: str, component: str | None, *, removed: bool = False) -> None:
        if self.registry.versions(Query(service=service, component=component, removed=removed, limit=1)):
            return
        known = ", ".join(f"{s}/{c}" for s, components in self.registry.services().items() for c in components)
        wanted = service if component is None else f"{service}/{component}"
        raise NotFoundError(detail=f"the registry has no version of {wanted!r}; it has: {known or 'nothing'}.")

    def detail(self, ref: Ref) -> dict[str, Any]:
        """Return what is known of the version that is meant, and the aliases that select it."""
        found = self.registry.resolve(ref)
        aliases = self.registry.aliases(found.service, found.component)
        return {**found.as_json(), "aliases": sorted(a for a, v in aliases.items() if v == str(found.version))}

    def rollback_plan(self, service: str, component: str | None) -> dict[str, Any]:
        """Return `{"target", "why", "candidates"}` as the control plane does; whether servers answer is not asked."""
        self._check_known(service, component)
        history = self.registry.history(service, component)
        candidates = rollback_candidates(history, component)
        if all(candidate.against for candidate in candidates):  # none of the last will do: look further back
            history = self.registry.history(service, component, limit=_N_LOOKED_AT)
            candidates = rollback_candidates(history, component)
        views = [_view(candidate) for candidate in candidates]
        try:
            best = choose_going_back(history, component)
        except NothingToRollBack as error:
            return {"target": None, "why": error.message, "candidates": views}
        return {"target": _release_name(best.versions), "why": "; ".join(best.why), "candidates": views}

    def take_in(
        self, lines: Iterable[object], *, actor: str, reason: str, on_progress: Callable[[int], None]
    ) -> Imported:
        """Take in what an export has; `on_progress` is told how many lines are done."""
        at = self._parts.clock.now()
        return self.registry.import_(lines, at=at, actor=actor, reason=reason, progress=on_progress)

    def collect(
        self,
        policy: Policy,
        service: str | None,
        *,
        actor: str,
        reason: str,
        in_use: Mapping[Key, str] = NOTHING,
        dry_run: bool = False,
    ) -> Collected:
        """Mark what retention gives up, remove what was marked longer ago than the grace time, then remove its files.

        `in_use`: what serves or is warm somewhere, and why it stays, beside what the registry refers to itself.
        """
        collecting = Collecting(self.registry, self._parts.artifacts, self._parts.alone)
        versions, now = self.versions(Query(service=service)), self._parts.clock.now()
        plan = collecting.planned(versions, policy, in_use=in_use, now=now)
        if dry_run:
            return Collected(plan, {}, 0, Swept())
        return collecting.carried_out(plan, now, actor=actor, reason=reason)


#: How far back a rollback looks where nothing newer will do. Source: a choice; nobody reads a longer list.
_N_LOOKED_AT = 100


def _draft(service: str, component: str, version: SemVer, metadata: Metadata, at: datetime) -> Version:
    return Version(service, component, version, digest=None, size_bytes=0, metadata=metadata, registered_at=at)


def _in_stage(version: Version, stage: Stage, at: datetime) -> Version:
    verified_at = at if stage is Stage.VERIFIED else None
    return replace(version, stage=stage, staged_at=at, verified_at=verified_at)


def _is_before(version: Version, wanted: Stage) -> bool:
    """Whether a version that is there has yet to come into the stage that it was pushed into."""
    if wanted is Stage.STABLE:
        return version.promoted_at is None
    return wanted is Stage.VERIFIED and version.stage not in {Stage.VERIFIED, Stage.CANARY, Stage.STABLE}


def _with_files(version: Version, manifest: Manifest) -> Version:
    return replace(version, digest=manifest.digest, size_bytes=manifest.size_bytes)


def _view(candidate: Candidate) -> dict[str, Any]:
    """As the control plane shows candidates, and with what the registry knows besides."""
    against = "; ".join(candidate.against) or None
    return {**candidate.as_json(), "release": _release_name(candidate.versions), "against": against}


def _release_name(versions: Mapping[str, str]) -> str:
    return versions[WHOLE] if set(versions) == {WHOLE} else set_name(versions)
