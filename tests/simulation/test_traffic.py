"""What is drawn is what was said to be true: shares, stalls, users, latency, pairs."""

import numpy as np
import pytest

from penstock.judge.answers import Answers
from penstock.judge.counts import PodCounts
from penstock.judge.edges import TwoDigits
from penstock.judge.pairs import slower_in_pair
from penstock.simulation.arrivals import Arrivals, Moment
from penstock.simulation.latency import Latencies
from penstock.simulation.probes import slow_from
from penstock.simulation.traffic import HEALTHY, STALLS, Condition, Fault, Stall, Traffic
from penstock.simulation.users import Users


def drawn(traffic: Traffic, fault: Fault = HEALTHY, *, seconds: int = 600, weight: float = 0.5) -> list[Moment]:
    rng = np.random.default_rng(7)
    arrivals = Arrivals(traffic, fault, begins_s=0.0, limit_ms=None, pair_margin=0.1, rng=rng)
    return [arrivals.live(second, second + 1.0, weight) for second in range(seconds)]


def total(moments: list[Moment], arm: str) -> tuple[int, int, int]:
    """Answers, errors and silent ones of one arm."""
    pods: list[PodCounts] = [pod for moment in moments for pod in getattr(moment.tick, arm)]
    return sum(p.n for p in pods), sum(p.errors for p in pods), sum(p.faults.get("silence", 0) for p in pods)


def test_rate_and_errors_are_as_asked() -> None:
    moments = drawn(Traffic(n_stable_pods=3, errors_ratio=0.02))
    n_canary, bad_canary, _ = total(moments, "canary")
    n_stable, bad_stable, _ = total(moments, "stable")
    assert n_canary + n_stable == pytest.approx(50 * 600, rel=0.03)
    assert bad_canary / n_canary == pytest.approx(0.02, abs=0.006)
    assert bad_stable / n_stable == pytest.approx(0.02, abs=0.006)
    assert sum(moment.n_failed for moment in moments) == 0


def test_a_fault_hits_the_canary_alone_and_is_told_from_the_usual_errors() -> None:
    moments = drawn(Traffic(errors_ratio=0.02), Fault(errors_ratio=0.3, silence_ratio=0.1))
    n, bad, silent = total(moments, "canary")
    assert bad / n == pytest.approx(0.3, abs=0.02)
    assert silent / (n - bad) == pytest.approx(0.1, abs=0.02)
    assert sum(moment.n_failed for moment in moments) == pytest.approx(bad + silent - 0.02 * n, rel=0.05)
    n_stable, bad_stable, silent_stable = total(moments, "stable")
    assert bad_stable / n_stable < 0.03
    assert silent_stable == 0


def test_a_fault_shows_when_it_is_said_to() -> None:
    fault = Fault(errors_ratio=1.0, shows_s=10.0, every_s=60.0)
    assert [fault.shows(since) for since in (-1.0, 0.0, 9.0, 10.0, 59.0, 61.0)] == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert Fault(errors_ratio=1.0).shows(1e9)


@pytest.mark.parametrize(("name", "mean_s"), [("5s", 5.0), ("geo10", 10.0), ("geo20", 20.0), ("u60", 32.5)])
def test_stalls_last_as_long_as_they_should(name: str, mean_s: float) -> None:
    stall = STALLS[name]
    assert isinstance(stall, Stall)
    rng = np.random.default_rng(1)
    assert np.mean([stall.draw_s(rng) for _ in range(4000)]) == pytest.approx(mean_s, rel=0.06)


def test_stalled_pods_fail_late_about_once_in_ten_minutes() -> None:
    moments = drawn(Traffic(n_stable_pods=20, rate_hz=400.0, stalls="u60", errors_ratio=0.0), seconds=1200, weight=0.05)
    pods = [pod for moment in moments for pod in moment.tick.stable]
    assert sum(p.errors for p in pods) / sum(p.n for p in pods) == pytest.approx(32.5 / 632.5, rel=0.35)
    assert all(p.latency_ms.get(9900, 0) >= p.errors for p in pods)


def test_a_day_bursts_and_a_warm_up_can_be_seen() -> None:
    conditions = frozenset({Condition.DAY, Condition.BURSTS, Condition.WARM_UP})
    moments = drawn(Traffic(errors_ratio=0.1, conditions=conditions), seconds=7200)
    numbers = np.array([sum(p.n for p in (*m.tick.canary, *m.tick.stable)) for m in moments])
    assert numbers.mean() == pytest.approx(50.0, rel=0.06)
    assert numbers[1200:2400].mean() > 3 * numbers[4800:6000].mean()
    assert numbers.std() > 1.5 * np.sqrt(50.0)
    slow = [max(max(p.latency_ms) for p in moment.tick.canary) for moment in moments[:300] if moment.tick.canary]
    assert np.median(slow[:60]) > 2 * np.median(slow[100:])


def test_users_stay_with_their_arm_and_a_growing_weight_only_adds() -> None:
    rng = np.random.default_rng(2)
    users = Users(Traffic(n_users=1000), rng)
    assert [users.n_of(weight) for weight in (0.0, 0.1, 1.0)] == [0, 100, 1000]
    assert users.share(0.0) == 0.0 < users.share(0.1) < users.share(0.2) < users.share(1.0) == 1.0
    users.meet(0.1, 10_000)
    first = users.n_met(rng)
    users.meet(0.2, 10_000)
    assert 80 < first <= 100 < users.n_met(rng) <= 200
    users.forget()
    assert users.n_met(rng) == 0


def test_users_who_fail_often_are_few_and_on_both_sides() -> None:
    users = Users(Traffic(conditions=frozenset({Condition.BAD_USERS})), np.random.default_rng(3))
    assert all(0.0 < share < 0.1 for share in users.bad_shares(0.5))
    assert users.bad_shares(0.0)[0] == users.bad_shares(1.0)[1] == 0.0
    n, bad, _ = total(drawn(Traffic(errors_ratio=0.0, conditions=frozenset({Condition.BAD_USERS}))), "canary")
    assert 0.0005 < bad / n < 0.02


def test_latency_has_its_p95_and_short_times_share_a_bin() -> None:
    rng, times = np.random.default_rng(4), Latencies(450.0, 225.0)
    bins = times.draw(rng, 40_000)
    each = times.draw_each(rng, 40_000)
    assert sum(n for edge, n in bins.items() if edge >= 450) / 40_000 == pytest.approx(0.05, abs=0.006)
    assert np.mean(each >= 450) == pytest.approx(0.05, abs=0.006)
    assert sorted(bins)[:2] == [110, 220]
    assert bins[110] / 40_000 == pytest.approx(np.mean(each < 220), abs=0.02)


def test_a_replay_is_slower_exactly_where_the_judge_says_so() -> None:
    edges = TwoDigits()
    for stable_ms in (int(edges.at_most(one)) for one in (1, 20, 99, 100, 180, 333, 990, 2000, 9900)):
        for canary_ms in range(max(0, stable_ms - 5), 2 * stable_ms + 5):
            pair = (
                Answers(True, "c", 1, 0, 0, {}, {canary_ms: 1}),
                Answers(False, "s", 1, 0, 0, {}, {stable_ms: 1}),
            )
            assert slower_in_pair(pair, 0.1) == ("c", bool(canary_ms >= slow_from(stable_ms, 0.1)))


def test_replays_come_one_after_the_other_to_every_pod() -> None:
    traffic = Traffic(n_canary_pods=2, n_stable_pods=3)
    rng = np.random.default_rng(5)
    arrivals = Arrivals(traffic, Fault(errors_ratio=1.0), begins_s=0.0, limit_ms=None, pair_margin=0.1, rng=rng)
    arrivals.prober.begin(0.0)
    ticks = []
    for second in range(60):
        arrivals.live(second, second + 1.0, 0.0)
        ticks.append(arrivals.probes(second, second + 1.0, 0.1))
    n = sum(pod.n for tick in ticks for pod in tick.canary)
    assert 120 < n < 300  # a pair takes as long as the slower of two answers, about .27 s
    assert n == sum(pod.n for tick in ticks for pod in tick.stable)
    assert n == sum(pod.errors for tick in ticks for pod in tick.canary)
    assert n == sum(measure.n for tick in ticks for measure in tick.measures)
    assert {pod.pod for tick in ticks for pod in tick.stable} == {"stable-1", "stable-2", "stable-3"}
    assert arrivals.prober.has_gone_round


def test_no_replay_starts_while_the_last_one_hangs() -> None:
    traffic = Traffic(p95_ms=400_000.0)
    arrivals = Arrivals(traffic, HEALTHY, begins_s=0.0, limit_ms=None, pair_margin=0.1, rng=np.random.default_rng(6))
    arrivals.live(0.0, 1.0, 0.0)
    (first,) = arrivals.probes(0.0, 1.0, 0.1).canary
    assert (first.n, first.errors) == (1, 1)  # nobody waits longer than half a minute
    assert arrivals.probes(1.0, 2.0, 0.1).canary == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rate_hz": 0.0}, "rate is 0"),
        ({"rate_hz": float("nan")}, "rate is nan"),
        ({"n_canary_pods": 0}, "pods is 0"),
        ({"n_users": 0}, "users is 0"),
        ({"errors_ratio": 0.9}, "errors is 0.9"),
        ({"p95_ms": -1.0}, "p95 is -1"),
        ({"stalls": "long"}, "there are none, 5s, geo10, geo20, u60"),
    ],
)
def test_traffic_that_cannot_be_meant_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Traffic(**wrong)  # type: ignore[arg-type]
