"""Whole releases, with the judge and the decisions of a real one."""

from statistics import median

import numpy as np

from penstock.rollout.plan import Plan, plan_from
from penstock.simulation.menu import faults, jobs, simulated
from penstock.simulation.release import Scenario, SimulatedRelease, Told
from penstock.simulation.traffic import HEALTHY, Fault, Traffic

BRIEF = plan_from({"dwell": "10s", "longest_stall": "5s"})


def told(
    n: int, fault: Fault = HEALTHY, *, traffic: Traffic | None = None, plan: Plan = BRIEF, seed: int = 1
) -> list[Told]:
    scenario = Scenario(traffic or Traffic(), plan, fault)
    return [SimulatedRelease(scenario, np.random.default_rng([seed, number])).run() for number in range(n)]


def test_healthy_releases_are_promoted_when_the_plan_is_over() -> None:
    releases = told(6)
    assert [one.outcome for one in releases] == ["promoted"] * 6
    assert all(one.full_s is not None and 50.0 <= one.full_s < 80.0 for one in releases)
    assert all(one.promoted_s is not None and 60.0 <= one.promoted_s < 90.0 for one in releases)
    assert all(one.n_failed == 0 and one.withdrawn_s is None and 500 < one.n_users < 5000 for one in releases)


def test_total_failure_is_stopped_within_fifteen_requests_and_rolled_back() -> None:
    releases = told(9, Fault(errors_ratio=1.0))
    assert {one.outcome for one in releases} == {"rolled_back"}
    assert median(one.n_at_withdrawal or 10_000 for one in releases) <= 15
    assert all(one.n_failed <= one.n_canary and 0 < one.n_users <= one.n_canary for one in releases)
    assert all(one.rolled_back_s is not None and one.rolled_back_s >= one.away_s > 0 for one in releases)


def test_a_late_fault_is_timed_from_its_beginning() -> None:
    for one in told(4, Fault(errors_ratio=1.0, from_ratio=0.5)):
        assert one.outcome == "rolled_back"
        assert one.withdrawn_s is not None
        assert 0.0 < one.withdrawn_s <= 5.0
        assert one.n_failed >= one.n_canary - 5  # requests before it began do not count


def test_a_release_that_is_over_before_its_fault_says_nothing_about_it() -> None:
    """Stalls of up to a minute, and a plan that says no healthy server hangs for more than a second."""
    plan = plan_from({"steps": "50,100", "dwell": "10m", "longest_stall": "1s"})
    releases = told(3, Fault(errors_ratio=1.0, from_ratio=0.9), traffic=Traffic(rate_hz=10.0, stalls="u60"), plan=plan)
    early = [one for one in releases if one.outcome == "rolled_back" and one.rolled_back_s is None]
    assert early
    assert all((one.withdrawn_s, one.n_canary, one.n_users, one.away_s) == (None, 0, 0, 0.0) for one in early)


def test_on_failure_hold_ends_paused() -> None:
    plan = plan_from({"dwell": "10s", "longest_stall": "5s", "on_failure": "hold"})
    assert {one.outcome for one in told(2, Fault(errors_ratio=1.0), plan=plan)} == {"paused"}


def test_a_canary_without_users_is_not_waited_for_for_ever() -> None:
    traffic = Traffic(rate_hz=0.01)
    (one,) = told(1, traffic=traffic)
    assert (one.outcome, one.promoted_s) == ("unfinished", None)


def test_a_slow_but_honest_p95_limit_is_judged() -> None:
    """An absolute limit below stable's median: its bins may not be merged."""
    plan = plan_from({"dwell": "60s", "longest_stall": "5s", "limits": {"p95_ms": 100}})
    assert all(one.withdrawn_s is not None for one in told(3, plan=plan))


def test_ticks_are_coarse_for_long_plans_but_never_half_a_block() -> None:
    brief, day = (Scenario(Traffic(), plan_from({"steps": "5,100", "dwell": dwell})) for dwell in ("30s", "12h"))
    assert (brief.tick_s, day.tick_s) == (5.0, 30.0)
    assert Scenario(Traffic(), plan_from({"longest_stall": "1s"})).tick_s == 1.0


def test_a_day_is_affordable_and_a_late_fault_in_it_is_found() -> None:
    plan = plan_from({"steps": "50,100", "dwell": "12h"})
    (one,) = told(1, Fault(errors_ratio=0.5, from_ratio=0.5), plan=plan)
    assert one.outcome == "rolled_back"
    assert one.withdrawn_s is not None
    assert one.withdrawn_s <= 5.0


def test_the_menu_leaves_out_errors_that_this_service_hardly_notices() -> None:
    names = [fault.name for fault in faults(Traffic())]
    assert names[:3] == ["healthy", "errors-slight", "errors-7"]
    assert "errors-7" not in {fault.name for fault in faults(Traffic(errors_ratio=0.05))}
    assert faults(Traffic(errors_ratio=0.0))[1].errors_ratio == 0.01


def test_the_work_is_every_release_once_whoever_does_it() -> None:
    traffic = Traffic(rate_hz=20.0)
    work = list(jobs(traffic, BRIEF, n_releases=9, seed=3))
    healthy = [number for job in work if job.place == 0 for number in job.numbers]
    slight = [number for job in work if job.place == 1 for number in job.numbers]
    assert (healthy, slight) == (list(range(9)), [0, 1])
    whole = work[0]._replace(numbers=range(2))
    halves = [whole._replace(numbers=range(1)), whole._replace(numbers=range(1, 2))]
    assert simulated(whole) == [one for half in halves for one in simulated(half)]
