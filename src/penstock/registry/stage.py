"""The stages of a version and the transition table: every legal pair, and what it means.

Everything that changes a stage must stand here; the documentation's diagram is drawn from this table
(docs/reference/registry.md, checked by tests/registry/test_stage.py). A pair that is missing is an IllegalStage.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from penstock.kernel.errors import IllegalStage, ReasonMissing


class Stage(StrEnum):
    """What is known about a version, and so what may be done with it."""

    #: It is in the registry; nobody has looked at it. No user is served with it unless somebody allows it.
    REGISTERED = "registered"
    #: Its checks passed; it may be released.
    VERIFIED = "verified"
    #: A rollout serves some users with it.
    CANARY = "canary"
    #: It was promoted: it serves, or could serve again at any time.
    STABLE = "stable"
    #: It is no longer wanted; it may still be gone back to.
    RETIRED = "retired"
    #: Something was found against it: it may not be released, nor gone back to.
    QUARANTINED = "quarantined"


_S = Stage

#: (stage, the next one) -> what happened in between.
TRANSITIONS: Mapping[tuple[Stage, Stage], str] = {
    (_S.REGISTERED, _S.VERIFIED): "its checks passed",
    (_S.REGISTERED, _S.CANARY): "released, though nobody verified it",
    (_S.REGISTERED, _S.STABLE): "adopted as what serves",
    (_S.VERIFIED, _S.REGISTERED): "the checks no longer hold",
    (_S.VERIFIED, _S.CANARY): "released",
    (_S.VERIFIED, _S.STABLE): "promoted without a rollout",
    (_S.CANARY, _S.VERIFIED): "taken back, nothing found against it",
    (_S.CANARY, _S.STABLE): "promoted",
    (_S.STABLE, _S.RETIRED): "no longer wanted",
    (_S.RETIRED, _S.STABLE): "promoted again",
    (_S.RETIRED, _S.VERIFIED): "wanted again",
    **{(stage, _S.QUARANTINED): "something was found against it" for stage in Stage if stage is not _S.QUARANTINED},
    (_S.QUARANTINED, _S.REGISTERED): "lifted by a person",
}


def may_become(stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that may follow."""
    return tuple(after for before, after in TRANSITIONS if before is stage)


def next_stage(stage: Stage, wanted: Stage, *, name: str, reason: str) -> Stage:
    """Return `wanted`, or raise IllegalStage for a pair that is not in the table; `name` is the version's.

    Into quarantine and out of it nobody goes without a reason (ReasonMissing).
    """
    if (stage, wanted) not in TRANSITIONS:
        allowed = " or ".join(s.value for s in may_become(stage))
        raise IllegalStage(name=name, stage=stage.value, wanted=wanted.value, allowed=allowed)
    if _S.QUARANTINED in (stage, wanted) and not reason.strip():
        raise ReasonMissing(what=f"quarantine of {name}")
    return wanted


def diagram() -> Iterator[str]:
    """Yield the table as lines of a Mermaid state diagram."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {Stage.REGISTERED.value}"
    for (before, after), words in TRANSITIONS.items():
        yield f"    {before.value} --> {after.value}: {words}"
