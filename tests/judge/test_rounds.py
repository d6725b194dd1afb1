"""Rounds: a stall or a hard request alone proves nothing; a version that fails what stable answers is found."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.counts import Round
from penstock.judge.limits import ROUNDS_SHARE
from penstock.judge.presets import limits_for
from penstock.judge.rounds import RoundEvidence

CLEAR = Round(suspect_fails_on_canary=True, suspect_fails_on_stable=False, control_fails_on_canary=False)
outcomes = st.builds(Round, st.booleans(), st.booleans(), st.booleans())


def after(rounds: list[Round]) -> float:
    evidence = RoundEvidence()
    for outcome in rounds:
        evidence.observe(outcome)
    return evidence.evidence


def test_sixteen_clear_rounds_are_proof() -> None:
    needed = 1.0 / (limits_for().alpha * ROUNDS_SHARE)
    assert after([CLEAR] * 16) >= needed > after([CLEAR] * 15)
    assert after([CLEAR] * 16) == pytest.approx(0.75 * 1.49**16 + 0.25 * 1.2**16, rel=1e-12)


@pytest.mark.parametrize("stall", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("hard", [0.0, 0.2, 0.7])
def test_stalls_and_hard_requests_do_not_raise_the_expectation(stall: float, hard: float) -> None:
    """Exact, one round: each position on the canary stalls with chance `stall`, the request is hard with `hard`."""
    expected = 0.0
    for is_hard, stalls_f, stalls_p in product([True, False], repeat=3):
        chance = hard if is_hard else 1 - hard
        chance *= (stall if stalls_f else 1 - stall) * (stall if stalls_p else 1 - stall)
        expected += chance * after([Round(is_hard or stalls_f, is_hard, stalls_p)])
    assert expected <= 1.0 + 1e-12


@given(st.lists(outcomes, max_size=40))
def test_failures_shared_with_the_control_or_with_stable_never_raise_the_wealth(rounds: list[Round]) -> None:
    shared = [
        Round(
            outcome.suspect_fails_on_canary and (outcome.suspect_fails_on_stable or outcome.control_fails_on_canary),
            outcome.suspect_fails_on_stable,
            outcome.control_fails_on_canary,
        )
        for outcome in rounds
    ]
    assert after(shared) <= 1.0 + 1e-12


@given(st.lists(outcomes, max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_rounds_does_not_matter_and_wealth_stays_positive(rounds: list[Round], order: object) -> None:
    shuffled = list(rounds)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # a hypothesis random
    assert after(rounds) == pytest.approx(after(shuffled), rel=1e-9)
    assert after(rounds) > 0.0
