"""The plots of docs/discussions/judge.md, drawn by the judge itself on seeded traffic: `python -m benchmarks.judge_plots`.

Needs the extra `report` (matplotlib). 50 requests a second, canary at 10 %, two canary and four stable servers.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np

from penstock.judge.counts import PodCounts, Tick
from penstock.judge.exposure import FailureBound
from penstock.judge.judge import ALARM_EVIDENCE, Judge
from penstock.judge.presets import limits_for

mpl.use("Agg")
from matplotlib import pyplot as plt

_FOLDER = Path(__file__).parent.parent / "docs" / "discussions" / "judge"
_BLUE, _RED, _GREY, _GREEN = "#2166ac", "#b2182b", "#888888", "#1b7837"


def ticks(seconds: int, canary_errors: Callable[[int, int], float], *, seed: int) -> Iterator[Tick]:
    """Yield one tick a second; `canary_errors` gives the share of errors by (second, pod); stable has .2 %."""
    rng = np.random.default_rng(seed)
    for second in range(seconds):
        canary = tuple(_pod(rng, 2, pod, 2.5, canary_errors(second, pod)) for pod in range(2))
        yield Tick(float(second), canary, tuple(_pod(rng, 1, pod, 11.25, 0.002) for pod in range(4)))


def _pod(rng: np.random.Generator, release: int, pod: int, rate: float, errors: float) -> PodCounts:
    n = int(rng.poisson(rate))
    return PodCounts(release, f"{release}-{pod}", n, int(rng.binomial(n, errors)))


def judged(seconds: int, canary_errors: Callable[[int, int], float], *, seed: int) -> dict[str, list[float]]:
    """Return what the judge thought of errors, second by second. Nobody answers its alarms here."""
    judge = Judge(limits_for(), n_canary_pods=2, n_stable_pods=4, max_duration_s=3600.0)
    found: dict[str, list[float]] = {"requests": [], "blocks": [], "proof": [], "condemned": []}
    for tick in ticks(seconds, canary_errors, seed=seed):
        judge.count(tick)
        errors = judge.verdict().metrics["errors"]
        found["requests"].append(errors.request_evidence)
        found["blocks"].append(errors.block_evidence)
        found["proof"].append(errors.proof)
        found["condemned"].append(float(judge.condemned))
    return found


def _axes(title: str, ylabel: str) -> tuple[plt.Figure, plt.Axes]:
    figure, axes = plt.subplots(figsize=(7.2, 3.4), dpi=110, layout="constrained")
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("seconds since the canary's first user")
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def evidence() -> None:
    """Draw single requests' evidence: equal versions stay low, broken ones climb."""
    figure, axes = _axes("Evidence from single requests: errors .2 % on stable", "e-value (log scale)")
    for seed in range(8):
        equal = judged(240, lambda *_: 0.002, seed=seed)["requests"]
        axes.plot(equal, color=_BLUE, alpha=0.5, lw=1, label="canary .2 %, eight releases" if seed == 0 else None)
    for errors, colour in ((0.02, "#fdb863"), (0.05, "#f4a582"), (0.2, "#d6604d"), (1.0, _RED)):
        worse = judged(240, lambda *_, errors=errors: errors, seed=3)["requests"]
        reached = next((i for i, value in enumerate(worse) if value >= ALARM_EVIDENCE), len(worse))
        axes.plot(
            worse[: reached + 1],
            color=colour,
            lw=1.8,
            marker="o",
            markevery=[min(reached, 239)],
            label=f"canary {100 * errors:g} %",
        )
    axes.axhline(ALARM_EVIDENCE, color=_GREY, ls="--", lw=1)
    axes.text(236, ALARM_EVIDENCE * 1.2, "withdrawn", ha="right", fontsize=8, color=_GREY)
    axes.set_yscale("log")
    axes.set_ylim(0.2, 2000)
    axes.legend(fontsize=8, frameon=False, loc="upper center", ncols=2)
    figure.savefig(_FOLDER / "evidence.png")


def stall() -> None:
    """Draw a stall: single requests are fooled, pod blocks are not."""
    figure, axes = _axes("A healthy canary; one of its two servers hangs from second 120 to 150", "e-value (log scale)")
    found = judged(600, lambda second, pod: 1.0 if pod == 0 and 120 <= second < 150 else 0.002, seed=5)
    axes.axvspan(120, 150, color="#eeeeee")
    requests = np.minimum(found["requests"], 1e6)
    axes.plot(requests, color=_RED, lw=1.5, label="single requests: withdrawn, tested, restored")
    axes.plot(
        found["blocks"], color=_BLUE, lw=1.8, drawstyle="steps-post", label="pod blocks: one bad block is nothing"
    )
    for level, name in ((ALARM_EVIDENCE, "withdraw"), (125.0, "condemn")):
        axes.axhline(level, color=_GREY, ls="--", lw=1)
        axes.text(598, level * 1.25, name, ha="right", fontsize=8, color=_GREY)
    axes.set_yscale("log")
    axes.set_ylim(0.1, 1e6)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    figure.savefig(_FOLDER / "stall.png")


def bound() -> None:
    """Draw how much the canary can still fail, and the proof that it is not worse."""
    figure, axes = _axes("A healthy canary: the most it can still fail, and the proof", "share of requests (log scale)")
    rng = np.random.default_rng(2)
    failures, ratios = FailureBound(), []
    for _ in range(2700):
        n = int(rng.poisson(5.0))
        failures.observe(n, int(rng.binomial(n, 0.002)))
        ratios.append(failures.ratio)
    axes.plot(ratios, color=_BLUE, lw=1.8, drawstyle="steps-post", label="bound on the canary's failures (left)")
    axes.axhline(0.002, color=_GREY, ls=":", lw=1)
    axes.text(2690, 0.0022, "true share", ha="right", fontsize=8, color=_GREY)
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 1.2)
    right = axes.twinx()
    right.plot(judged(2700, lambda *_: 0.002, seed=2)["proof"], color=_GREEN, lw=1.5, label="proof (right)")
    right.axhline(20.0, color=_GREEN, ls="--", lw=1)
    right.set_yscale("log")
    right.set_ylim(0.5, 1500)
    right.set_ylabel("e-value of `not worse` (log scale)")
    right.spines["top"].set_visible(False)
    handles = [*axes.get_lines()[:1], *right.get_lines()[:1]]
    axes.legend(handles, [str(line.get_label()) for line in handles], fontsize=8, frameon=False, loc="upper center")
    figure.savefig(_FOLDER / "bound.png")


def main() -> None:
    """Draw them all."""
    _FOLDER.mkdir(exist_ok=True)
    for draw in (evidence, stall, bound):
        draw()


if __name__ == "__main__":
    main()
