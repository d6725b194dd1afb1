"""The e-process: golden numbers, validity by enumeration, and what no input may do to it."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.betting import BETS, BettingProcess, Null, Prior, planned_starts

PRIOR = Prior(0.01, 200.0, 0.999)


def one_block(n_c: int, bad_c: int, n_b: int, bad_b: int, null: Null, prior: Prior = PRIOR) -> float:
    process = BettingProcess(prior, n_starts=60)
    process.observe_counts(0.0, (n_c, bad_c), (n_b, bad_b), null)
    return process.evidence


def test_one_block_by_hand() -> None:
    """5 of 5 bad against 0 of 45: a = .011, r = 1/9, and no bet above .95 / (r * .99)."""
    a, r, h = 0.011, 5 / 45, 0.01
    bets = [min(bet, 0.95 / (r * (1 - h))) for bet in BETS]
    wealth = [(1 + bet * (1 - a)) ** 5 * (1 + bet * r * h) ** 45 for bet in bets]
    assert one_block(5, 5, 45, 0, Null(1.0, 0.001)) == pytest.approx(0.6 * np.mean(wealth) + 0.4, rel=1e-12)


def test_scores_between_0_and_1_by_hand() -> None:
    process = BettingProcess(Prior(0.3, 5.0, 0.99), n_starts=60)
    process.observe(0.0, [(0.5, 1.0), (1.0, 1.0)], [(0.25, 1.0)], Null(1.25, 0.0))
    a, tilt = 1.25 * 0.3, 1.25 * 2
    bets = [min(bet, 0.95 / (tilt * 0.7)) for bet in BETS]
    wealth = [(1 + bet * (0.5 - a)) * (1 + bet * (1 - a)) * (1 + bet * tilt * (0.3 - 0.25)) for bet in bets]
    assert process.evidence == pytest.approx(0.6 * np.mean(wealth) + 0.4, rel=1e-12)


@pytest.mark.parametrize("p_stable", [0.001, 0.05, 0.4])
@pytest.mark.parametrize("null", [Null(1.0, 0.0), Null(1.0, 0.05), Null(1.25, 0.0), Null(0.0, 0.1)])
@pytest.mark.parametrize("believed", [0.001, 0.1, 0.6])
@pytest.mark.parametrize(("n_c", "n_b"), [(1, 1), (2, 5), (5, 2)])
def test_at_the_limit_a_block_is_worth_at_most_1(
    p_stable: float, null: Null, believed: float, n_c: int, n_b: int
) -> None:
    """Exact: every outcome with its chance, whatever was believed of stable."""
    p_canary = null.rho0 * p_stable + null.delta

    def chance(n: int, k: int, p: float) -> float:
        return math.comb(n, k) * p**k * (1 - p) ** (n - k)

    prior = Prior(believed, 10.0, 1.0)
    expected = sum(
        chance(n_c, i, p_canary) * chance(n_b, j, p_stable) * one_block(n_c, i, n_b, j, null, prior)
        for i, j in product(range(n_c + 1), range(n_b + 1))
    )
    assert expected <= 1.0 + 1e-12


def test_wealth_is_1_before_anything_happened() -> None:
    assert BettingProcess(PRIOR, n_starts=60).evidence == 1.0
    assert BettingProcess(PRIOR, n_starts=None).evidence == 1.0


@pytest.mark.parametrize("n_starts", [1, 60, 1440, None])
def test_start_points_stake_everything_once_and_no_more(n_starts: int | None) -> None:
    """On outcomes that change no wealth the e-value stays 1, however many start points have come."""
    process = BettingProcess(PRIOR, n_starts=n_starts)
    for minute in range(3000):
        process.observe(60.0 * minute, [(0.0, 1.0)], (), Null(0.0, 0.0))
    assert process.evidence == pytest.approx(1.0, abs=1e-9)


def test_a_late_fault_is_found_about_as_fast_as_an_early_one() -> None:
    def n_blocks(healthy: int) -> int:
        process = BettingProcess(PRIOR, n_starts=planned_starts(7200.0))
        for second in range(healthy):
            process.observe_counts(float(second), (5, 0), (45, 0), Null(1.0, 0.001))
        for block in range(1000):
            process.observe_counts(float(healthy + block), (5, 1), (45, 0), Null(1.0, 0.001))
            if process.evidence >= 100:
                return block + 1
        return 1000

    assert n_blocks(3600) <= 3 * n_blocks(0)


def test_the_absolute_form_ignores_stable() -> None:
    null = Null(0.0, 0.1)
    assert one_block(10, 4, 0, 0, null) == one_block(10, 4, 90, 90, null)
    assert one_block(10, 4, 0, 0, null) > 1 > one_block(10, 0, 0, 0, null)


def test_restart_keeps_what_is_known_of_stable() -> None:
    process = BettingProcess(PRIOR, n_starts=60)
    for second in range(50):
        process.observe_counts(float(second), (5, 5), (45, 9), Null(1.0, 0.001))
    known = process.baseline
    process.restart()
    assert process.evidence == 1.0
    assert process.baseline == known > 0.1


def test_counts_and_outcomes_are_the_same_bet() -> None:
    null = Null(1.0, 0.001)
    one, other = BettingProcess(PRIOR, n_starts=60), BettingProcess(PRIOR, n_starts=60)
    for second, bad in enumerate((0, 1, 0, 3, 2)):
        one.observe_counts(float(second), (5, bad), (45, bad // 2), null)
        outcomes = ([(1.0, float(bad)), (0.0, 5.0 - bad)], [(1.0, float(bad // 2)), (0.0, 45.0 - bad // 2)])
        other.observe(float(second), *outcomes, null)
    assert one.evidence == pytest.approx(other.evidence, rel=1e-12)


counts = st.tuples(st.integers(0, 500), st.floats(0, 1)).map(lambda pair: (pair[0], int(pair[0] * pair[1])))
nulls = st.sampled_from([Null(1.0, 0.0), Null(1.0, 0.5), Null(1.25, 0.0), Null(0.0, 0.05), Null(0.0, 0.0)])


@given(st.lists(st.tuples(counts, counts, nulls), max_size=30))
def test_wealth_is_never_negative_nor_nan(blocks: list[tuple[tuple[int, int], tuple[int, int], Null]]) -> None:
    process = BettingProcess(PRIOR, n_starts=5)
    for index, (canary, stable, null) in enumerate(blocks):
        before = process.evidence
        process.observe_counts(40.0 * index, canary, stable, null)
        assert math.isfinite(process.evidence)
        assert process.evidence >= 0.0
        assert 0.0 < process.baseline < 1.0
        if canary[0] == 0:
            assert process.evidence == before, "a block without the canary proves nothing"


def test_false_alarms_stay_below_alpha() -> None:
    """Equal arms at the limit, 250 runs: reaching 20 in at most 5 % (bound: 99.9 % point of the binomial)."""
    rng = np.random.default_rng(11)
    fired = 0
    for _ in range(250):
        process = BettingProcess(PRIOR, n_starts=5)
        for second in range(150):
            canary, stable = (5, int(rng.binomial(5, 0.03))), (45, int(rng.binomial(45, 0.03)))
            process.observe_counts(2.0 * second, canary, stable, Null(1.0, 0.0))
            if process.evidence >= 20:
                fired += 1
                break
    assert fired <= 24


@pytest.mark.parametrize("p_stable", [0.001, 0.05, 0.4])
@pytest.mark.parametrize("null", [Null(1.0, 0.003), Null(1.0, 0.1), Null(0.0, 0.1)])
@pytest.mark.parametrize(("n_c", "n_b"), [(1, 1), (2, 5), (5, 2)])
def test_a_proof_at_the_margin_is_worth_at_most_1(p_stable: float, null: Null, n_c: int, n_b: int) -> None:
    """The other direction, exactly: a canary that is as bad as the margin cannot win by being called healthy."""
    p_canary = null.rho0 * p_stable + null.delta

    def chance(n: int, k: int, p: float) -> float:
        return math.comb(n, k) * p**k * (1 - p) ** (n - k)

    expected = 0.0
    for i, j in product(range(n_c + 1), range(n_b + 1)):
        process = BettingProcess(Prior(0.1, 10.0, 1.0), n_starts=60, harm=False)
        process.observe_counts(0.0, (n_c, i), (n_b, j), null)
        expected += chance(n_c, i, p_canary) * chance(n_b, j, p_stable) * process.evidence
    assert expected <= 1.0 + 1e-12


def test_equal_arms_are_proven_equal_within_a_margin_and_no_further() -> None:
    rng = np.random.default_rng(3)
    wide, narrow = (BettingProcess(PRIOR, n_starts=60, harm=False) for _ in range(2))
    for second in range(400):
        canary, stable = (25, int(rng.binomial(25, 0.002))), (25, int(rng.binomial(25, 0.002)))
        wide.observe_counts(float(second), canary, stable, Null(1.0, 0.01))
        narrow.observe_counts(float(second), canary, stable, Null(1.0, 0.0))
    assert wide.evidence >= 20.0
    assert narrow.evidence < 20.0


def test_a_cut_proof_ends_soon_after_the_canary_broke() -> None:
    """Source: JUDGE.md 10.1.5: without the cut it would outlive the version's health by a quarter of an hour."""
    cut = BettingProcess(PRIOR, n_starts=60, harm=False, most_nats=math.log(1000.0))
    endless = BettingProcess(PRIOR, n_starts=60, harm=False)
    for process in (cut, endless):
        for second in range(3600):
            process.observe_counts(float(second), (25, 0), (25, 0), Null(1.0, 0.01))
        for second in range(3600, 3630):
            process.observe_counts(float(second), (25, second % 2 * 4), (25, 0), Null(1.0, 0.01))
    assert cut.evidence < 20.0 < endless.evidence


def test_a_renewed_plan_finds_a_fault_after_a_day_like_one_after_an_hour() -> None:
    def n_blocks(healthy: int, *, renewed: bool) -> int:
        process = BettingProcess(PRIOR, n_starts=60 if renewed else 1440, renewed=renewed)
        for second in range(0, healthy, 10):
            process.observe_counts(float(second), (50, 0), (450, 0), Null(1.0, 0.001))
        for block in range(1000):
            process.observe_counts(float(healthy + block), (5, int(block % 5 == 0)), (45, 0), Null(1.0, 0.001))
            if process.evidence >= 20:
                return block + 1
        return 1000

    hour, day = n_blocks(3600, renewed=True), n_blocks(86_400, renewed=True)
    assert day == hour <= n_blocks(86_400, renewed=False)
