"""The same request on both releases, one beside the other."""

import pytest

from penstock.judge.answers import Answers
from penstock.judge.counts import PodCounts, Tick
from penstock.judge.judge import Judge
from penstock.judge.pairs import slower_in_pair
from penstock.judge.presets import limits_for
from penstock.judge.verdict import Verdict, Word


def timed(latency_ms: int, *, canary: bool, n: int = 1) -> Answers:
    return Answers(canary, "c:1" if canary else "s:1", n, 0, 0, {}, {latency_ms: n})


@pytest.mark.parametrize(
    ("canary_ms", "stable_ms", "slower"),
    [(100, 100, False), (120, 100, False), (130, 100, True), (50, 100, False), (6, 5, False), (7, 5, True)],
)
def test_slower_means_by_more_than_the_margin_and_never_by_the_bins(
    canary_ms: int, stable_ms: int, *, slower: bool
) -> None:
    pair = (timed(canary_ms, canary=True), timed(stable_ms, canary=False))
    assert slower_in_pair(pair, 0.1) == ("c:1", slower)


def test_what_is_no_timed_pair_says_nothing() -> None:
    canary, stable = timed(10, canary=True), timed(10, canary=False)
    untimed = Answers(True, "c:1", 1, 1, 0, {}, {})
    for answers in ((), (canary,), (canary, canary), (untimed, stable), (timed(10, canary=True, n=2), stable)):
        assert slower_in_pair(answers, 0.1) is None


def replayed(judge: Judge, n: int, canary_ms: int, *, start: int = 0) -> Verdict:
    """Replay n pairs, ten a second, on two pods of each release in turn."""
    verdict = Verdict(Word.UNDECIDED)
    for i in range(start, start + n):
        canary = PodCounts(2, f"c:{i % 2}", 1, latency_ms={canary_ms: 1})
        stable = PodCounts(1, f"s:{i % 2}", 1, latency_ms={100 if i % 3 else 20: 1})
        verdict = judge.observe(Tick(i / 10, (canary,), (stable,), probes=True))
    return verdict


def test_a_canary_that_is_twice_as_slow_alarms_within_a_few_pairs() -> None:
    judge = Judge(limits_for(longest_stall_s=5.0), n_canary_pods=2, n_stable_pods=2, max_duration_s=None)
    verdict = replayed(judge, 20, 200)
    assert verdict.alarm
    assert any("slower than stable on the same request" in reason for reason in verdict.reasons)


def test_and_is_condemned_by_blocks_though_the_slowness_may_come_and_go_with_the_text() -> None:
    judge = Judge(limits_for(longest_stall_s=5.0), n_canary_pods=2, n_stable_pods=2, max_duration_s=None)
    assert replayed(judge, 900, 200).word is Word.HARMFUL


def test_an_equal_canary_does_not() -> None:
    judge = Judge(limits_for(longest_stall_s=5.0), n_canary_pods=2, n_stable_pods=2, max_duration_s=None)
    verdict = replayed(judge, 900, 100)
    assert not verdict.alarm
    assert verdict.word is Word.UNDECIDED
