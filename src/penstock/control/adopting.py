"""Taking a whole tree of versions over, as it lies on disk: each is stored and registered, then the stable ones are promoted.

A version that is refused is named, and the others come in. Taking the tree over again changes nothing but what was missing;
what has happened to a version since it was registered is never undone.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from penstock.control.cataloguing import Catalogue
from penstock.kernel.errors import ConflictError, PenstockError, PrecedenceTaken, RefusedError, UsageError
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import SAFE_ONLY, Progress, Trust, silent
from penstock.ports.clock import Clock
from penstock.ports.layouts import Laid, Layouts, Tree
from penstock.registry.adoption import Course, course_of
from penstock.registry.foreign import check_number, metadata_of, stage_of
from penstock.registry.numbers import Numbers, stable_among
from penstock.registry.reference import Ref
from penstock.registry.release import WHOLE
from penstock.registry.stage import Stage
from penstock.registry.version import Version

#: What one version alone is to blame for; anything else stops the whole.
_ITS_OWN_FAULT = (UsageError, ConflictError, RefusedError)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What `adopt` was asked for."""

    service: str
    component: str | None
    root: Path
    numbers: Numbers
    actor: str
    reason: str
    trust: Trust
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A version that is in the registry, or would be, as it was when it came; its stage as it is now.

    `is_stable`: somebody says that it is.
    """

    folder: str
    version: Version
    stage: Stage
    is_new: bool
    is_stable: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "version": self.version.reference,
            "folder": self.folder,
            "stage": self.stage.value,
            "is_new": self.is_new,
            "digest": self.version.digest,
            "size_bytes": self.version.size_bytes,
            "missing": list(self.version.metadata.missing),
        }


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adoption did, or would do.

    Attributes:
        versions: by component, then the lowest first.
        promoted: component -> version that became stable together, one after the other.
        unfit: reference -> why it is stable for others and only verified here.
        refused: folder -> why it is not in the registry.
        left_alone: paths below the root that are none of it.
        serving: component -> version that the service is now known to serve.
    """

    versions: tuple[Taken, ...]
    promoted: tuple[Mapping[str, str], ...]
    unfit: Mapping[str, str]
    refused: Mapping[str, PenstockError]
    left_alone: tuple[str, ...]
    serving: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """As `penstock registry adopt -o json` prints it."""
        return {
            "versions": [taken.as_json() for taken in self.versions],
            "promoted": [dict(step) for step in self.promoted],
            "unfit": [{"version": reference, "why": why} for reference, why in self.unfit.items()],
            "refused": [{"folder": f, "code": e.code, "why": e.message} for f, e in self.refused.items()],
            "left_alone": list(self.left_alone),
            "serving": dict(self.serving),
        }


class Adopting:
    """Takes trees of versions into a catalogue. Calls block; whatever is cut short is finished by calling again."""

    def __init__(self, catalogue: Catalogue, layouts: Layouts, clock: Clock) -> None:
        """Touch nothing yet."""
        self._catalogue = catalogue
        self._registry = catalogue.registry
        self._layouts = layouts
        self._clock = clock

    def adopt(
        self,
        service: str,
        component: str | None,
        root: Path,
        *,
        numbers: Numbers = Numbers.HIGHEST,
        actor: str,
        reason: str,
        trust: Trust = SAFE_ONLY,
        dry_run: bool = False,
        on_progress: Progress = silent,
    ) -> Adopted:
        """Take the tree at `root` over.

        `component`: what it is called where the tree is that of one; else `model`. `numbers`: which versions are stable where
        a model server only numbers them. Raises UsageError for a tree that cannot be meant, and what the stores raise.
        """
        wish = _Wish(service, component, root, numbers, actor, reason, trust, dry_run)
        tree = self._layouts.read(root)
        _check_meant(wish, tree)
        versions, refused = self._take_all(wish, tree, on_progress)
        with self._catalogue.alone():  # others may adopt the same tree
            serving = self._registry.history(wish.service).serving
            stable = [taken.version for taken in versions if taken.is_stable]
            course = course_of(serving, [self._catalogue.known(version) or version for version in stable])
            if not wish.dry_run:
                self._carry_out(course, wish)
        for step in course.releases:
            serving |= step
        return Adopted(
            versions=_staged(versions, course),
            promoted=tuple(map(_numbers, course.releases)),
            unfit={version.reference: why for version, why in course.unfit},
            refused=refused,
            left_alone=tree.left_alone,
            serving=_numbers(serving),
        )

    def _take_all(self, wish: _Wish, tree: Tree, on_progress: Progress) -> tuple[list[Taken], dict[str, PenstockError]]:
        total_bytes, done_bytes = sum(laid.size_bytes for laid in tree.versions), 0
        stable = _stable_numbers(tree, wish.numbers)
        taken: dict[tuple[str | None, SemVer], Taken] = {}
        refused: dict[str, PenstockError] = {}
        for laid in tree.versions:
            folder, number = str(laid.folder.relative_to(tree.root)), (laid.component, laid.version)
            try:
                if number in taken:
                    raise PrecedenceTaken(
                        wanted=folder,
                        taken=taken[number].folder,
                        why="has that number already, and no two versions may have equal precedence",
                    )
                tell = partial(_shifted, on_progress, done_bytes, total_bytes)
                taken[number] = self._take(laid, folder, wish, is_stable=number in stable, tell=tell)
            except _ITS_OWN_FAULT as error:
                refused[folder] = error
            done_bytes += laid.size_bytes
            on_progress(done_bytes, total_bytes)
        return list(taken.values()), refused

    def _take(self, laid: Laid, folder: str, wish: _Wish, *, is_stable: bool, tell: Progress) -> Taken:
        fields = self._layouts.fields(laid)
        check_number(fields, laid.version)
        is_stable = is_stable or stage_of(fields) is Stage.STABLE
        component = laid.component or wish.component or WHOLE
        draft = self._catalogue.draft(Ref(wish.service, component, laid.version), metadata_of(fields))
        known = self._catalogue.known(draft)
        if known is not None:
            if known.removed_at is None and self._catalogue.holds(known, laid.folder):
                return Taken(folder, known, known.stage, is_new=False, is_stable=is_stable)
            draft = replace(
                draft, metadata=known.metadata
            )  # what is known of it stays; its files tell whether it is the same
        pushed = self._catalogue.put(
            draft,
            laid.folder,
            actor=wish.actor,
            reason=wish.reason,
            trust=wish.trust,
            dry_run=wish.dry_run,
            on_progress=tell,
        )
        return Taken(folder, pushed.version, pushed.version.stage, is_new=pushed.is_new, is_stable=is_stable)

    def _carry_out(self, course: Course, wish: _Wish) -> None:
        """First what is not promoted, so that a course that is cut short goes on as it would have."""
        for version, why in course.unfit:
            self._move(version, Stage.VERIFIED, wish, f"stable elsewhere, but {why}")
        for version in course.earlier:
            self._move(version, Stage.STABLE, wish, wish.reason)
        for step in course.releases:
            at = self._clock.now()
            self._registry.promote(wish.service, _numbers(step), at=at, actor=wish.actor, reason=wish.reason)

    def _move(self, version: Version, stage: Stage, wish: _Wish, reason: str) -> None:
        named = version.service, version.component, str(version.version)
        self._registry.move(*named, stage, at=self._clock.now(), actor=wish.actor, reason=reason)


def _check_meant(wish: _Wish, tree: Tree) -> None:
    components = sorted({laid.component for laid in tree.versions if laid.component is not None})
    if components and wish.component is not None:
        detail = (
            f"{wish.root} holds folders of components ({', '.join(components)}): name the service alone, or one folder."
        )
        raise UsageError(detail=detail)


def _stable_numbers(tree: Tree, which: Numbers) -> set[tuple[str | None, SemVer]]:
    numbers: dict[str | None, list[SemVer]] = defaultdict(list)
    for laid in tree.versions:
        if laid.is_numbered:
            numbers[laid.component].append(laid.version)
    return {(component, number) for component, every in numbers.items() for number in stable_among(every, which)}


def _staged(versions: list[Taken], course: Course) -> tuple[Taken, ...]:
    """Return what was taken, each in the stage that it has after the course."""
    stages = _stages(course)
    return tuple(replace(taken, stage=stages.get(taken.version.reference, taken.stage)) for taken in versions)


def _stages(course: Course) -> dict[str, Stage]:
    promoted = [version for step in course.releases for version in step.values()]
    unfit = {version.reference: Stage.VERIFIED for version, _ in course.unfit}
    return unfit | {version.reference: Stage.STABLE for version in (*course.earlier, *promoted)}


def _shifted(on_progress: Progress, before_bytes: int, total_bytes: int, done_bytes: int, _of_bytes: int) -> None:
    on_progress(before_bytes + done_bytes, total_bytes)


def _numbers(versions: Mapping[str, Version]) -> dict[str, str]:
    return {component: str(version.version) for component, version in sorted(versions.items())}
