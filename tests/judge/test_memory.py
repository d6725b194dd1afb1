"""A judge that was stored goes on bit for bit, whatever it had judged so far."""

import json
from typing import Any

import numpy as np
import pytest

from penstock.judge.counts import Measure, PodCounts, Round, Tick
from penstock.judge.edges import LogSpaced, log_binned
from penstock.judge.judge import Judge
from penstock.judge.memory import recall, remember
from penstock.judge.placebo import Placebo
from penstock.judge.presets import limits_for


def speech_judge() -> Judge:
    return Judge(
        limits_for("speech", longest_stall_s=10.0),
        n_canary_pods=2,
        n_stable_pods=2,
        max_duration_s=600.0,
        edges={"latency": LogSpaced()},
    )


def measured(rng: np.random.Generator, *, canary: bool) -> list[Measure]:
    found = []
    for pod in ("a", "b"):
        times = rng.lognormal(np.log(200), 0.5, 5)
        user = f"u{rng.integers(5)}" if rng.random() < 0.2 else None
        n_bad = int(rng.random() < 0.1)
        found += [
            Measure("errors", canary, pod, 5, n_bad, user=user),
            Measure("latency", canary, pod, bins=log_binned(times.tolist())),
            Measure("mos", canary, pod, values=tuple(rng.normal(4.0, 0.3, 2))),
            Measure("crashes", canary, pod, int(rng.random() < 0.02), exposure_s=1.0),
            Measure("gpu_memory", canary, pod, values=(float(rng.uniform(0.4, 0.99)),)),
            Measure("users", canary, pod, int(rng.integers(3)), values=(0.5,)),
        ]
    return found


def ticks(n: int) -> list[Tick]:
    rng = np.random.default_rng(9)
    return [
        Tick(
            float(second),
            (),
            (),
            probes=second % 7 == 0,
            measures=tuple(measured(rng, canary=True) + measured(rng, canary=False)),
        )
        for second in range(n)
    ]


@pytest.mark.parametrize("every", [1, 13])
def test_a_stored_judge_goes_on_bit_for_bit(every: int) -> None:
    one, other = speech_judge(), speech_judge()
    for index, tick in enumerate(ticks(120)):
        expected, found = one.observe(tick), other.observe(tick)
        assert found == expected
        if index == 40:
            one.observe_round(Round(True, False, False))
            other.observe_round(Round(True, False, False))
        if found.alarm:
            one.restart_alarm()
            other.restart_alarm()
        if index % every == 0:
            other = recall(json.loads(json.dumps(remember(other), allow_nan=False)))
    assert remember(one) == remember(other)
    assert expected.n_probes > 0


def test_a_stored_placebo_goes_on() -> None:
    placebo = Placebo(10.0)
    placebo.add("errors", "a", 10, 1)
    placebo.close_due(3.0)
    again = recall(json.loads(json.dumps(remember(placebo))))
    assert remember(again) == remember(placebo)


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"version": 0, "state": {}},
        {"version": 1},
        {"version": 1, "state": {"~": "object", "class": "Path", "number": 0, "value": {}}},
        {"version": 1, "state": {"~": "tuple", "class": "Popen", "value": []}},
        {"version": 1, "state": {"~": "bomb", "value": []}},
    ],
)
def test_what_is_no_judge_is_refused_and_never_built(text: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="state"):
        recall(text)


def test_only_parts_of_a_judge_are_written() -> None:
    placebo = Placebo(10.0)
    placebo.clock = object()  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="no part of a judge's state"):
        remember(placebo)


def test_a_judge_of_gateway_counts_is_small() -> None:
    """It is written every few seconds: about a hundred kilobytes, not more."""
    judged = Judge(limits_for(), n_canary_pods=2, n_stable_pods=4, max_duration_s=3600.0)
    for second in range(300):
        pods = tuple(PodCounts(1, f"s{pod}", 9, latency_ms={200 + pod: 5, 310: 4}) for pod in range(4))
        judged.observe(Tick(float(second), (PodCounts(2, "c0", 5, latency_ms={210: 5}),), pods))
    assert len(json.dumps(remember(judged))) < 120_000
