"""Stable against itself: silent where machines behave, longer blocks where they hang longer than was assumed."""

import numpy as np

from penstock.judge.edges import LogSpaced
from penstock.judge.panel import Panel
from penstock.judge.placebo import Placebo
from penstock.judge.presets import limits_for


def run(n_pods: int, stall_s: float, *, seconds: int = 7200, first_s: float = 30.0, seed: int = 1) -> Placebo:
    """One stall per pod and 600 s on average; all requests of a pod that hangs are bad."""
    rng = np.random.default_rng(seed)
    placebo = Placebo(first_s)
    left = np.zeros(n_pods)
    for second in range(seconds):
        left -= 1
        begins = (left <= 0) & (rng.random(n_pods) < 1 / 600)
        left[begins] = stall_s
        for pod in range(n_pods):
            n = int(rng.poisson(10))
            placebo.add("errors", f"s{pod}", n, n if left[pod] > 0 else int(rng.binomial(n, 0.002)))
        placebo.close_due(float(second))
    return placebo


def test_it_is_silent_where_machines_behave() -> None:
    for n_pods in (1, 3):
        assert run(n_pods, 0.0).length_s == 30.0
        assert run(n_pods, 5.0).length_s == 30.0


def test_blocks_get_longer_where_stalls_outlast_them() -> None:
    lengthened = [run(3, 400.0, seed=seed) for seed in range(5)]
    assert sum(placebo.length_s > 30.0 for placebo in lengthened) >= 3
    news = next(placebo.news for placebo in lengthened if placebo.news)
    assert news[0].length_s == 60.0
    assert "stable's own servers differ in errors" in news[0].reason
    assert "pod blocks are 60 s from now on" in news[0].reason


def test_the_blocks_of_every_metric_get_as_long() -> None:
    placebo = Placebo(30.0)
    panel = Panel(limits_for("speech"), placebo, n_canary_pods=1, n_starts=None, edges={"latency": LogSpaced()})
    for second in range(0, 3600, 10):
        for pod in range(3):
            placebo.add("errors", f"s{pod}", 100, 100 if second // 400 % 3 == pod else 0)
        panel.close_due(float(second))
    assert placebo.length_s > 30.0
    lengths = {name: metric.blocks.length_s for name, metric in panel.metrics.items() if hasattr(metric, "blocks")}
    assert len(lengths) > 5
    assert set(lengths.values()) == {placebo.length_s}


def test_news_are_kept_until_somebody_wrote_them_down() -> None:
    placebo = next(p for p in (run(3, 400.0, seed=seed) for seed in range(5)) if p.news)
    first, *others = placebo.news
    placebo.forget(first)
    assert list(placebo.news) == others


def test_one_pod_is_compared_with_itself_ten_minutes_ago() -> None:
    """A pod that got worse for good looks like one that hangs: with one pod nothing else can be told."""
    placebo = Placebo(30.0)
    for second in range(3600):
        placebo.add("errors", "s", 10, 5 if 1200 < second < 1700 else 0)
        placebo.close_due(float(second))
    assert placebo.evidence > 1.0 or placebo.length_s > 30.0
