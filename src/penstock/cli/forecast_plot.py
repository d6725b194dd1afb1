"""A simulation's answer as a picture: when faults lose their traffic, when they are rolled back, and who met them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penstock.cli.forecast import time_words
from penstock.simulation.summary import cumulative

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from penstock.simulation.release import Told
    from penstock.simulation.traffic import Fault

    _Told = Mapping[Fault, Sequence[Told]]

_SIZE_IN = (11.0, 8.2)
_DOTS_PER_INCH = 150
_TICKS_S = (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 43_200, 86_400, 259_200)
#: Curves of faults that behave alike lie on each other; each has a style of its own besides its colour.
_STYLES = ("-", "--", "-.", ":")
_HEALTHY_COLOUR = "black"


def draw(file: Path, headline: str, told: "_Told") -> None:
    """Draw a picture into a file; its ending says which kind. Raises OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=_SIZE_IN, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Simulated releases: {headline}", fontsize=11)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1.0), squeeze=False)[:, 0]
    left, right = top.subplots(1, 2, sharey=True)
    _curves(left, told, "traffic taken away for the first time", lambda one: one.withdrawn_s)
    _curves(right, told, "rolled back", lambda one: one.rolled_back_s)
    left.set_ylabel("share of releases")
    handles, labels = left.get_legend_handles_labels()
    top.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    users, failed = bottom.subplots(1, 2, sharey=True)
    _bars(users, told, "distinct users who met the canary", lambda one: one.n_users)
    _bars(failed, told, "requests that failed because of it", lambda one: one.n_failed)
    users.invert_yaxis()
    figure.savefig(file)


def _curves(axes: "Axes", told: "_Told", title: str, time_s: "Callable[[Told], float | None]") -> None:
    end_s = max((time_s(one) or 0.0 for some in told.values() for one in some), default=0.0)
    end_s = 2.0 * max(end_s, 60.0)
    for place, (fault, some) in enumerate(told.items()):
        times, shares = cumulative(map(time_s, some), len(some))
        times, shares = [*times, end_s], [*shares, shares[-1]]
        axes.step(
            np.maximum(times, 0.5),
            shares,
            where="post",
            label=fault.words,
            color=_colour(place),
            linestyle=_STYLES[place % len(_STYLES)],
            linewidth=1.8,
        )
    axes.set_xscale("log")
    ticks = [tick for tick in _TICKS_S if tick <= end_s]
    axes.set_xlim(0.8, end_s)
    axes.set_xticks(ticks, [time_words(tick) for tick in ticks], rotation=35, ha="right", fontsize=9)
    axes.set_xticks([], minor=True)
    axes.set_ylim(-0.02, 1.04)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("time since the fault began")
    axes.set_title(title, fontsize=10)
    _tidy(axes)


def _bars(axes: "Axes", told: "_Told", title: str, count: "Callable[[Told], int]") -> None:
    names = [fault.words for fault in told]
    counts = [[count(one) for one in some] for some in told.values()]
    means = [float(np.mean(some)) for some in counts]
    highest = [float(np.quantile(some, 0.95)) for some in counts]
    colours = [_colour(place) for place in range(len(names))]
    axes.barh(names, means, color=colours, height=0.62)
    axes.plot(highest, names, "|", color="black", markersize=11, markeredgewidth=1.6, label="95th percentile")
    for name, mean, high in zip(names, means, highest, strict=True):
        axes.annotate(
            f"{mean:.0f}", (max(mean, high), name), (7, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_xscale("symlog", linthresh=10.0, linscale=0.5)
    end = 4.0 * max(10.0, *highest)
    ticks = [0, *(10**power for power in range(1, 9) if 10**power < end)]
    axes.set_xlim(0.0, end)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=9)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("mean of a release (a bar marks the 95th percentile)")
    axes.set_title(title, fontsize=10)
    axes.tick_params(axis="y", labelsize=9)
    _tidy(axes)


def _colour(place: int) -> str:
    """Return a colour for each fault; the healthy version, which comes first, is grey."""
    return _HEALTHY_COLOUR if place == 0 else f"C{place - 1}"


def _tidy(axes: "Axes") -> None:
    axes.grid(visible=True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
