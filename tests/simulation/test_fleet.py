"""Many releases at once say what the judge says of each: the same evidence, alarms and verdicts on the same counts."""

import numpy as np
import pytest

from penstock.judge.counts import Measure, Tick
from penstock.judge.judge import Judge
from penstock.judge.limits import Limits, MetricKind, MetricLimit
from penstock.simulation.fleet import Fleet, FleetMetric, FleetPlan, FleetTick

N = 6
METRICS = (FleetMetric(0.7), FleetMetric(0.3, fails=False))
LIMITS = Limits(
    (
        MetricLimit("errors", MetricKind.SHARE, weight=0.7, fails=True),
        MetricLimit("pops", MetricKind.SHARE, weight=0.3),
    ),
    longest_stall_s=20.0,
)


def drawn(rng: np.random.Generator, pods: tuple[int, int], rates: tuple[float, float], bad: np.ndarray) -> FleetTick:
    """Draw a second; `bad` has the canary's share of errors per release, 3 % of stable's answers and pops are bad."""
    canary, stable = (rng.poisson(rate / n, (N, n)) for rate, n in zip(rates, pods, strict=True))
    return FleetTick(
        canary,
        stable,
        [rng.binomial(canary, bad[:, None]), rng.binomial(canary, 0.03)],
        [rng.binomial(stable, 0.03), rng.binomial(stable, 0.03)],
    )


def measures(tick: FleetTick, release: int) -> tuple[Measure, ...]:
    found = []
    for canary, n, bads in ((True, tick.canary, tick.bad_canary), (False, tick.stable, tick.bad_stable)):
        for pod, count in enumerate(n[release]):
            for name, bad in zip(("errors", "pops"), bads, strict=True):
                found.append(Measure(name, canary, f"{pod:02}", int(count), int(bad[release, pod])))
    return tuple(found)


@pytest.mark.parametrize(("n_canary_pods", "n_stable_pods", "rate_hz"), [(1, 1, 40.0), (2, 3, 60.0), (2, 2, 3.0)])
def test_the_fleet_is_the_judge_many_times(n_canary_pods: int, n_stable_pods: int, rate_hz: float) -> None:
    rng = np.random.default_rng(n_canary_pods + 10 * n_stable_pods)
    pods = (n_canary_pods, n_stable_pods)
    plan = FleetPlan(METRICS, *pods, longest_stall_s=20.0, max_duration_s=600.0, proves=True)
    fleet = Fleet(plan, N)
    judges = [
        Judge(LIMITS, n_canary_pods=pods[0], n_stable_pods=pods[1], max_duration_s=600.0, rounds=False)
        for _ in range(N)
    ]
    fleet._needed *= LIMITS.alpha  # nobody is condemned by blocks, so that all run to the end
    bad = np.array([0.03, 0.03, 0.05, 0.2, 0.5, 1.0])
    for second in range(400):
        was_withdrawn = fleet.withdrawn.copy()
        live = drawn(rng, pods, (0.2 * rate_hz, 0.8 * rate_hz), bad)
        live.canary[was_withdrawn] = 0
        for one in live.bad_canary:
            one[was_withdrawn] = 0
        probes = drawn(rng, pods, (5.0, 5.0), bad)
        for one in (probes.canary, probes.stable, *probes.bad_canary, *probes.bad_stable):
            one[~was_withdrawn] = 0
        for is_probes, tick in ((False, live), (True, probes)):
            before = fleet.withdrawn.copy()
            fleet.observe(float(second), tick, probes=is_probes)
            for release, judged in enumerate(judges):
                if was_withdrawn[release] or not is_probes:
                    judged.count(Tick(float(second), (), (), probes=is_probes, measures=measures(tick, release)))
                moved = before[release] != fleet.withdrawn[release]
                assert not judged.alarm or fleet.withdrawn[release]
                if judged.alarm or moved:
                    judged.restart_alarm()
        expected = [
            sum(w * judged._panel.metrics[name].block_evidence for name, w in LIMITS.weights.items())
            for judged in judges
        ]
        assert fleet.evidence == pytest.approx(expected, rel=1e-9)
        proofs = np.array([[judged._panel.metrics[name].proof for name in LIMITS.weights] for judged in judges])
        assert np.stack([one.proof.evidence for one in fleet._requests], axis=1) == pytest.approx(proofs, rel=1e-9)
        assert fleet.gross_s == pytest.approx([judged._gross.lasted_s for judged in judges])
    assert fleet.n_withdrawals[-1] == 1
    assert fleet.evidence[-2] > fleet.evidence[0]
