"""The transition table is the only place that says what may follow what."""

from pathlib import Path

import pytest

from penstock.kernel.errors import IllegalTransition
from penstock.rollout.entry import Kind
from penstock.rollout.phases import ROUTING_KINDS, TRANSITIONS, Phase, diagram, next_phase

_PAIRS = [(phase, kind) for phase in Phase for kind in Kind]


@pytest.mark.parametrize(("phase", "kind"), [p for p in _PAIRS if p not in TRANSITIONS])
def test_a_pair_that_is_not_in_the_table_is_a_named_error(phase: Phase, kind: Kind) -> None:
    with pytest.raises(IllegalTransition, match="cannot be"):
        next_phase(phase, kind)


@pytest.mark.parametrize(("phase", "kind"), list(TRANSITIONS))
def test_every_pair_in_the_table_leads_where_it_says(phase: Phase, kind: Kind) -> None:
    for target in TRANSITIONS[phase, kind]:
        assert next_phase(phase, kind, target.value) is target
    if len(TRANSITIONS[phase, kind]) > 1:
        with pytest.raises(IllegalTransition):
            next_phase(phase, kind)


def test_every_phase_can_be_reached_and_left() -> None:
    reached = {target for (phase, _), targets in TRANSITIONS.items() for target in targets if target is not phase}
    left = {phase for (phase, _), targets in TRANSITIONS.items() if any(target is not phase for target in targets)}
    assert reached == left == set(Phase)


def test_every_phase_of_a_rollout_can_be_rolled_back_at_once() -> None:
    for phase in set(Phase) - {Phase.ROLLING_BACK}:
        assert next_phase(phase, Kind.ROLLING_BACK) is Phase.ROLLING_BACK


def test_what_changes_routing_is_a_generation() -> None:
    assert {Kind.APPLIED, Kind.LENGTHENED, Kind.QUARANTINED, Kind.UNQUARANTINED} == set(Kind) - ROUTING_KINDS


def test_the_documented_diagram_is_drawn_from_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "phases.md"
    assert "\n".join(diagram()) in page.read_text(encoding="utf-8")
