"""Pod blocks: rarefying, capping, when a block closes, and who is in it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.betting import Null
from penstock.judge.blocks import NO_POD, BlockEvidence, capped_binomial, rarefied

LIMIT = Null(1.25, 0.001)


def brute_rarefied(n_total: int, n_bad: int, n: int, cap: int) -> float:
    ways = math.comb(n_total, n)
    return sum(min(k, cap) * math.comb(n_bad, k) * math.comb(n_total - n_bad, n - k) / ways for k in range(n + 1)) / cap


@given(st.integers(1, 60), st.data())
def test_rarefied_is_the_expectation_over_all_draws(n_total: int, data: st.DataObject) -> None:
    n_bad = data.draw(st.integers(0, n_total))
    n = data.draw(st.integers(1, n_total))
    cap = data.draw(st.integers(1, 12))
    assert rarefied(n_total, n_bad, n, cap) == pytest.approx(brute_rarefied(n_total, n_bad, n, cap), abs=1e-9)


def test_rarefied_stays_exact_for_large_counts() -> None:
    """A hundred thousand answers, half of them bad: surely more than 50 among 1000 drawn."""
    assert rarefied(100_000, 50_000, 1000, 50) == pytest.approx(1.0)
    assert rarefied(100_000, 5, 1000, 50) == pytest.approx(1000 * 5 / 100_000 / 50)


@given(st.integers(1, 40), st.floats(0, 1), st.integers(1, 10))
def test_capped_binomial_is_the_expectation(n: int, ratio: float, cap: int) -> None:
    brute = sum(min(k, cap) * math.comb(n, k) * ratio**k * (1 - ratio) ** (n - k) for k in range(n + 1)) / cap
    assert capped_binomial(n, ratio, cap) == pytest.approx(brute, abs=1e-9)


def test_capped_binomial_at_its_ends() -> None:
    assert capped_binomial(10, 0.0, 3) == 0.0
    assert capped_binomial(10, 1.0, 3) == 1.0
    assert capped_binomial(2, 1.0, 4) == 0.5


@given(st.integers(1, 200), st.floats(0, 0.5), st.floats(0, 0.1), st.integers(1, 20))
def test_a_limit_on_requests_carries_over_to_capped_counts(n: int, ratio: float, floor: float, cap: int) -> None:
    worst = capped_binomial(n, min(1.0, 1.25 * ratio + floor), cap)
    assert worst <= 1.25 * capped_binomial(n, ratio, cap) + capped_binomial(n, floor, cap) + 1e-9


def evidence(n_canary_pods: int = 1) -> BlockEvidence:
    return BlockEvidence(prior_mean=0.15, length_s=60.0, n_canary_pods=n_canary_pods, n_starts=60)


def fill(blocks: BlockEvidence, at_s: float, bad: int, *, pods: tuple[str, ...] = ("c",), probes: bool = False) -> None:
    for pod in pods:
        blocks.add(canary=True, pod=pod, n=10, bad=bad, probes=probes)
    for pod in ("s", "t"):
        blocks.add(canary=False, pod=pod, n=90, bad=0, probes=probes)
    blocks.close_due(at_s, LIMIT, 0.002)


def test_a_block_is_judged_when_it_is_over_not_before() -> None:
    blocks = evidence()
    fill(blocks, 0.0, 10)
    fill(blocks, 59.0, 10)
    assert blocks.evidence == 1.0
    fill(blocks, 61.0, 10)
    assert blocks.evidence > 1.0


def test_a_block_waits_for_every_canary_pod_up_to_four_lengths() -> None:
    blocks = evidence(n_canary_pods=2)
    for at_s in range(0, 240, 10):
        fill(blocks, float(at_s), 10)
        assert blocks.evidence == 1.0
    fill(blocks, 241.0, 10)
    assert blocks.evidence > 1.0


def test_one_bad_block_of_one_pod_is_capped() -> None:
    """A pod whose 300 requests all failed in one block says no more than one whose handful did."""

    def after(bad: int) -> float:
        blocks = evidence()
        for at_s in range(0, 70, 2):
            fill(blocks, float(at_s), bad)
        return blocks.evidence

    assert after(10) == pytest.approx(after(5), rel=1e-9)


def test_unequal_traffic_is_no_evidence() -> None:
    """Same share of bad answers, a tenth of the traffic per canary pod: rarefied to the same number of requests."""
    blocks = evidence()
    for block in range(50):
        for second in range(0, 61, 10):
            at_s = 70.0 * block + second
            blocks.add(canary=True, pod="c", n=10, bad=second == 0, probes=False)
            blocks.add(canary=False, pod="s", n=100, bad=10 * (second == 0), probes=False)
            blocks.close_due(at_s, Null(1.25, 0.0), 0.014)
    assert blocks.evidence < 5.0


def test_stable_before_the_canarys_first_answer_is_not_compared() -> None:
    blocks = evidence()
    for at_s in range(0, 600, 10):
        blocks.add(canary=False, pod="s", n=90, bad=90, probes=False)
        blocks.close_due(float(at_s), LIMIT, 0.002)
    for at_s in range(600, 670, 10):
        fill(blocks, float(at_s), 10)
    assert blocks.evidence > 1.0, "stable answered well while the canary did not"


def test_a_stall_seen_by_users_and_by_probes_is_one_datum() -> None:
    both, single = evidence(), evidence()
    for at_s in range(0, 70, 2):
        fill(single, float(at_s), 10, probes=True)
        for pod, canary in (("c", True), ("s", False), ("t", False)):
            both.add(canary=canary, pod=pod, n=1, bad=canary, probes=False)
        fill(both, float(at_s), 10, probes=True)
    assert both.evidence == pytest.approx(single.evidence, rel=1e-9)


def test_answers_that_no_endpoint_gave_do_not_thin_out_the_pods() -> None:
    plain, local = evidence(), evidence()
    for at_s in range(0, 70, 2):
        local.add(canary=True, pod=NO_POD, n=at_s == 0, bad=0, probes=False)
        fill(plain, float(at_s), 3)
        fill(local, float(at_s), 3)
    assert plain.evidence == local.evidence


def test_against_a_frozen_stable_its_own_stalls_stay_tolerated() -> None:
    """Stable and canary have one bad block in five; the canary goes on like that alone, and is not condemned."""
    blocks = evidence()
    for block in range(40):
        bad = 10 if block % 5 == 0 else 0
        for second in range(0, 61, 10):
            at_s = 70.0 * block + second
            blocks.add(canary=True, pod="c", n=10, bad=bad, probes=False)
            blocks.add(canary=False, pod="s", n=10, bad=bad, probes=False)
            blocks.close_due(at_s, LIMIT, 0.002)
    blocks.freeze(2800.0, 1.25)
    for block in range(40, 80):
        bad = 10 if block % 5 == 0 else 0
        for second in range(0, 61, 10):
            blocks.add(canary=True, pod="c", n=100, bad=10 * bad, probes=False)
            blocks.close_due(70.0 * block + second, Null(0.0, 0.0035), 0.002)
    assert blocks.evidence < 5.0
