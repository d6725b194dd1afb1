"""The transition table of a rollout: every legal pair of phase and entry, and where it may lead.

Everything that changes a phase must stand here; the documentation's diagram is drawn from this table
(docs/reference/phases.md, checked by tests/rollout/test_phases.py). A pair that is missing is an IllegalTransition.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from penstock.kernel.errors import IllegalTransition
from penstock.rollout.entry import Kind


class Phase(StrEnum):
    """What a service is doing."""

    #: Stable serves everybody; nothing is being released.
    IDLE = "idle"
    #: The canary's endpoints are being checked by the gateways; no user sees it.
    PREFLIGHT = "preflight"
    #: The canary holds the weight of a step and is judged.
    STEPPING = "stepping"
    #: The weight stays where it is until a person resumes, or 0 % after a restart.
    HELD = "held"
    #: The judge took the traffic back and tests the canary with replayed requests.
    WITHDRAWN = "withdrawn"
    #: The canary serves everybody; stable is kept warm.
    BAKING = "baking"
    #: Traffic is on its way back; gateways have not all said so.
    ROLLING_BACK = "rolling_back"
    #: Neither release has a healthy endpoint.
    FALLBACK = "fallback"


_P, _K = Phase, Kind
_ROLLING = (_P.PREFLIGHT, _P.STEPPING, _P.HELD, _P.WITHDRAWN, _P.BAKING, _P.FALLBACK)

#: Entries that belong to every phase, and change none.
_ANYWHERE = frozenset({_K.APPLIED, _K.LENGTHENED, _K.QUARANTINED, _K.UNQUARANTINED})

#: (phase, kind) -> phases it may lead to; where there are several, the entry's fact `phase` says which.
TRANSITIONS: Mapping[tuple[Phase, Kind], tuple[Phase, ...]] = {
    (_P.IDLE, _K.ADOPTED): (_P.IDLE,),
    (_P.IDLE, _K.STARTED): (_P.PREFLIGHT,),
    (_P.PREFLIGHT, _K.STEPPED): (_P.STEPPING,),
    (_P.PREFLIGHT, _K.BAKING): (_P.BAKING,),
    (_P.STEPPING, _K.STEPPED): (_P.STEPPING,),
    (_P.STEPPING, _K.BAKING): (_P.BAKING,),
    (_P.HELD, _K.STEPPED): (_P.STEPPING,),
    (_P.HELD, _K.BAKING): (_P.BAKING,),
    (_P.HELD, _K.RESUMED): (_P.PREFLIGHT, _P.STEPPING, _P.BAKING),
    (_P.STEPPING, _K.WITHDRAWN): (_P.WITHDRAWN,),
    (_P.BAKING, _K.WITHDRAWN): (_P.WITHDRAWN,),
    (_P.HELD, _K.WITHDRAWN): (_P.WITHDRAWN,),
    (_P.WITHDRAWN, _K.RESTORED): (_P.STEPPING, _P.BAKING, _P.HELD),
    (_P.BAKING, _K.PROMOTED): (_P.IDLE,),
    (_P.ROLLING_BACK, _K.ROLLED_BACK): (_P.IDLE,),
    (_P.ROLLING_BACK, _K.ABORTED): (_P.IDLE,),
    (_P.IDLE, _K.ROLLING_BACK): (_P.ROLLING_BACK,),
    (_P.ROLLING_BACK, _K.ROLLING_BACK): (_P.ROLLING_BACK,),  # to another release than the one that led nowhere
    **{(phase, _K.ROLLING_BACK): (_P.ROLLING_BACK,) for phase in _ROLLING},
    **{(phase, _K.HELD): (_P.HELD,) for phase in _ROLLING},
    **{(phase, _K.FELL_BACK): (_P.FALLBACK,) for phase in _ROLLING if phase is not _P.FALLBACK},
    **{(phase, kind): (phase,) for phase in Phase for kind in _ANYWHERE},
}

#: Entries that change what the gateways must serve; each is a new generation.
ROUTING_KINDS = frozenset(Kind) - _ANYWHERE


def next_phase(phase: Phase, kind: Kind, wanted: str | None = None) -> Phase:
    """Return the phase after an entry; raise IllegalTransition for a pair that is not in the table."""
    allowed = TRANSITIONS.get((phase, kind), ())
    target = Phase(wanted) if wanted is not None else allowed[0] if len(allowed) == 1 else None
    if target not in allowed:
        raise IllegalTransition(phase=phase.value.replace("_", " "), wanted=kind.value.replace("-", " "))
    return target


def diagram() -> Iterator[str]:
    """Yield the table as lines of a Mermaid state diagram."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {Phase.IDLE.value}"
    for (phase, kind), targets in TRANSITIONS.items():
        for target in targets:
            if target is not phase or kind is Kind.STEPPED:
                yield f"    {phase.value} --> {target.value}: {kind.value}"
