"""The report's plots: SVG to be put into a page, coloured by the page's own style so that they follow light and dark."""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.cli.demo.recording import Recording, Request
from penstock.cli.demo.timeline import Story
from penstock.kernel.errors import ExtraMissing
from penstock.rollout.phases import Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What the page's style calls a colour, and the placeholder that matplotlib draws with.
_INKS: Mapping[str, str] = {
    name: f"#0102{number:02x}"
    for number, name in enumerate(
        ("ink", "faint", "stable", "bad", "good", "withdrawn", "other", "paper"),
        start=16,
    )
}
_SHADES: Mapping[str, str] = {
    Phase.STEPPING: "stable",
    Phase.WITHDRAWN: "withdrawn",
    Phase.ROLLING_BACK: "bad",
    Phase.BAKING: "good",
}
_BIN_S = 2.0
#: E-values beyond these are drawn at the edge.
_DRAWN = (1e-2, 1e6)
#: A metric whose evidence never went beyond this says nothing, and is left out.
_TELLING = 2.0
_NO_EVIDENCE = 1.0

_Line = tuple[list[float], list[float]]
_WIDTH_IN = 8.6


def check_matplotlib() -> None:
    """Raise ExtraMissing where plots could not be drawn."""
    from importlib.util import find_spec  # noqa: PLC0415 - only the report needs it

    if find_spec("matplotlib") is None:
        raise ExtraMissing(what="the demo's report", package="matplotlib", extra="report")


def ink_of(version: str, told: Sequence[Story]) -> str:
    """Return the name of a release's colour: good for what was promoted, bad for what was rolled back."""
    by_outcome = {"promoted": "good", "rolled_back": "bad"}
    return next((by_outcome.get(s.outcome, "other") for s in told if s.version == version), "stable")


def weight_plot(recording: Recording, told: Sequence[Story]) -> str:
    """Return the canary's share over time, phases shaded."""
    figure, axes = _figure(2.6)
    _shade(axes, recording)
    for story in told:
        moments = [story.start_s, *(at_s for at_s, _ in story.weights), story.end_s]
        weights = [0.0, *(weight_pct for _, weight_pct in story.weights)]
        times = [at_s - recording.start_s for at_s in moments]
        axes.stairs(weights, times, color=_INKS[ink_of(story.version, told)], linewidth=2, baseline=None)
        _note(axes, story.version, (times[0], 100.0), ("data", "data"), ink=ink_of(story.version, told))
    axes.set_ylim(0, 118)
    axes.set_yticks([0, 10, 50, 100], ["0 %", "10 %", "50 %", "100 %"])
    _time_axis(axes, recording)
    _legend(axes)
    return _svg(figure, "weight")


def requests_plot(recording: Recording, told: Sequence[Story]) -> str:
    """Return requests per second by release, failures marked above."""
    figure, axes = _figure(2.6)
    edges = np.arange(0.0, _last_s(recording) + _BIN_S, _BIN_S)
    floor = np.zeros(len(edges) - 1)
    for version in [recording.stable, *(story.version for story in told)]:
        counted = _per_bin((r for r in recording.requests if r.release == version), recording, edges)
        axes.bar(
            edges[:-1], counted, _BIN_S * 0.86, floor, align="edge", color=_INKS[ink_of(version, told)], label=version
        )
        floor += counted
    failed = [request for request in recording.requests if request.failed]
    height = float(floor.max(initial=1.0))
    times = [request.end_s - recording.start_s for request in failed]
    axes.plot(
        times, [height * 1.08] * len(times), "x", color=_INKS["bad"], markersize=6, markeredgewidth=1.6, label="failed"
    )
    axes.set_ylim(0, height * 1.18)
    axes.set_ylabel("requests per second")
    _time_axis(axes, recording)
    _legend(axes)
    return _svg(figure, "requests")


def evidence_plot(recording: Recording, told: Sequence[Story]) -> str:
    """Return the judge's evidence over time against what condemns: together, and for each metric."""
    figure, axes = _figure(3.2)
    _shade(axes, recording, labelled=False)
    styles = cycle(("-", "--", ":", "-."))
    for name in _metrics(recording):
        for kind, ink in (("request", "other"), ("block", "withdrawn")):
            times, values = _series(recording, _of_metric(name, kind))
            if np.nanmax(values, initial=1.0) > _TELLING:
                label = f"{name}, {kind}s"
                axes.plot(times, values, color=_INKS[ink], linewidth=1.2, linestyle=next(styles), label=label)
    axes.plot(
        *_series(recording, itemgetter("evidence")), color=_INKS["ink"], linewidth=2.2, label="all that may condemn"
    )
    needed = next((s.status["evidence"]["evidence_needed"] for s in recording.samples if s.status["evidence"]), 125.0)
    axes.axhline(needed, color=_INKS["bad"], linewidth=1.4, linestyle=(0, (6, 3)))
    _note(axes, f"condemned at {needed:.0f}", (0.995, needed), ("axes fraction", "data"), ink="bad", align="right")
    for story in told:
        for removal in story.removals:
            axes.axvline(removal.at_s - recording.start_s, color=_INKS["bad"], linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel("e-value")
    _time_axis(axes, recording)
    _legend(axes)
    return _svg(figure, "evidence")


def latency_plot(recording: Recording, told: Sequence[Story]) -> str:
    """Return how many answers of each release came within a time."""
    figure, axes = _figure(2.8)
    for version in [recording.stable, *(story.version for story in told)]:
        took_ms = sorted(1000.0 * r.duration_s for r in recording.requests if r.release == version and not r.failed)
        if took_ms:
            share_pct = 100.0 * np.arange(1, len(took_ms) + 1) / len(took_ms)
            axes.step(took_ms, share_pct, where="post", color=_INKS[ink_of(version, told)], linewidth=2, label=version)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, as clients measured it")
    axes.set_ylabel("answers within, %")
    axes.axhline(95, color=_INKS["faint"], linewidth=1, linestyle=(0, (4, 3)))
    ticks = [5, 10, 20, 50, 100, 200, 500, 1000]
    low, high = axes.get_xlim()
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick}" for tick in shown])
    axes.minorticks_off()
    _legend(axes)
    return _svg(figure, "latency")


def _figure(height_in: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, and an extra

    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INKS["faint"])
    axes.tick_params(colors=_INKS["faint"], labelcolor=_INKS["ink"], labelsize=10)
    axes.grid(axis="y", color=_INKS["faint"], alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INKS["ink"])
        label.set_fontsize(10)
    return figure, axes


def _shade(axes: "Axes", recording: Recording, *, labelled: bool = True) -> None:
    """Colour the background by phase."""
    for ink, (phase, spans) in zip(_SHADES.values(), _spans(recording).items(), strict=True):
        for number, (begin_s, end_s) in enumerate(spans):
            label = phase.replace("_", " ") if labelled and number == 0 else None
            axes.axvspan(begin_s, end_s, color=_INKS[ink], alpha=0.14, linewidth=0, label=label)


def _spans(recording: Recording) -> dict[str, list[tuple[float, float]]]:
    """Return when the service was in each phase that is shaded, in seconds since the first request."""
    spans: dict[str, list[tuple[float, float]]] = {phase: [] for phase in _SHADES}
    for before, after in pairwise(recording.samples):
        begin_s, end_s = before.at_s - recording.start_s, after.at_s - recording.start_s
        mine = spans.get(before.status["phase"])
        if mine and mine[-1][1] == begin_s:
            mine[-1] = (mine[-1][0], end_s)
        elif mine is not None:
            mine.append((begin_s, end_s))
    return spans


def _metrics(recording: Recording) -> list[str]:
    return sorted({name for s in recording.samples if s.status["evidence"] for name in s.status["evidence"]["metrics"]})


def _series(recording: Recording, value_of: Callable[[Mapping[str, Any]], float | None]) -> _Line:
    """Return times and values to draw; a moment at which nothing was judged breaks the line."""
    times = [sample.at_s - recording.start_s for sample in recording.samples]
    judged = [sample.status["evidence"] for sample in recording.samples]
    return times, [_drawn(value_of(seen)) if seen else math.nan for seen in judged]


def _of_metric(name: str, kind: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return what reads one kind of a metric's evidence; a metric that has not been counted yet is no evidence."""

    def value(seen: Mapping[str, Any]) -> float | None:
        metric = seen["metrics"].get(name)
        return metric[f"{kind}_evidence"] if metric else _NO_EVIDENCE

    return value


def _drawn(value: float | None) -> float:
    """Return an e-value as it can be drawn: 0 has no logarithm, and null is what JSON makes of infinity."""
    low, high = _DRAWN
    return high if value is None else min(max(value, low), high)


def _note(
    axes: "Axes", text: str, at: tuple[float, float], system: tuple[str, str], *, ink: str, align: str = "left"
) -> None:
    """Write a few words a little above a point."""
    axes.annotate(
        text, at, xycoords=system, xytext=(0, 4), textcoords="offset points", ha=align, color=_INKS[ink], fontsize=10
    )


def _per_bin(requests: Iterable[Request], recording: Recording, edges: np.ndarray) -> np.ndarray:
    counted, _ = np.histogram([r.end_s - recording.start_s for r in requests], edges)
    return counted / _BIN_S


def _last_s(recording: Recording) -> float:
    return max(request.end_s for request in recording.requests) - recording.start_s


def _time_axis(axes: "Axes", recording: Recording) -> None:
    axes.set_xlim(0, _last_s(recording))
    axes.set_xlabel("seconds since the first request")


def _legend(axes: "Axes") -> None:
    """Above the plot, so that plots over the same time stay aligned."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=8,
        frameon=False,
        labelcolor=_INKS["ink"],
        fontsize=9,
        handlelength=1.4,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _svg(figure: "Figure", name: str) -> str:
    """Return the figure as one SVG element: text as text, colours from the page, ids that no other plot has."""
    from matplotlib import rc_context  # noqa: PLC0415 - heavy, and an extra

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": f"plot-{name}"}):
        figure.savefig(
            out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}, transparent=True
        )
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|legend|matplotlib\.axis|QuadMesh|PolyCollection|LineCollection)_\d+"',
        "",
        svg,
    )
    svg = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    for ink, placeholder in _INKS.items():
        svg = svg.replace(placeholder, f"var(--{ink})")
    return svg
