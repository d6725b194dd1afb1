"""Reading the text that Envoy's admin answers to `/stats`, and what grew since the text before. Pure.

The histograms are those of the gateway's stats access loggers (see tally.py for what they mean). Each is a name, a colon,
and indented lines of which `totals=0,0:5, 1,0.1:12, 120,10:3` holds lower edge, width and count of each bin; a name is
`penstock.rq.arm.tts/2.pod.127.0.0.1:7001.route.header.code.200.flags.-.att.1.fault.`.
Source: tests/telemetry/golden_stats.txt, recorded from Envoy 1.40.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_TAG = re.compile(r"\.(arm|route|pod|code|flags|att|fault)\.")
_UPTIME = "server.uptime: "
_TOTALS = "  totals="

#: A histogram's labels, by tag; the name before the first tag stands under `name`.
Labels = Mapping[str, str]
#: Lower edge of a bin -> observations in it.
Bins = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one answer held.

    Attributes:
        histograms: whole name -> totals, as they were written.
        uptime_s: seconds since the gateway started; None when it did not say.
    """

    histograms: Mapping[str, str] = field(default_factory=dict)
    uptime_s: int | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What was added between two snapshots; what did not change is absent.

    Attributes:
        histograms: labels and lower edge (ms) -> increment, > 0.
        was_reset: whether something fell or vanished, so that counts may have been lost.
    """

    histograms: tuple[tuple[Labels, Bins], ...] = ()
    was_reset: bool = False


def parsed(text: str) -> Snapshot:
    """Return the snapshot that `text` holds; lines that are neither histogram nor uptime are skipped."""
    histograms: dict[str, str] = {}
    uptime_s: int | None = None
    name = ""
    for line in text.splitlines():
        if line.startswith(_TOTALS):
            histograms[name] = line[len(_TOTALS) :]
        elif line.startswith(_UPTIME):
            uptime_s = int(line[len(_UPTIME) :])
        elif not line.startswith(" "):
            name = line.rpartition(":")[0]
    return Snapshot(histograms, uptime_s)


def grown(before: Snapshot, now: Snapshot) -> Growth:
    """Return what `now` has more than `before`; what fell started again at 0, and its new value is the increment."""
    restarted = _restarted(before, now)
    if restarted:
        before = Snapshot()
    was_reset = restarted or not before.histograms.keys() <= now.histograms.keys()
    histograms: list[tuple[Labels, Bins]] = []
    for name, totals in now.histograms.items():
        old = before.histograms.get(name, "")
        if totals != old:
            bins, fell = _added(_bins(old), _bins(totals))
            was_reset |= fell
            histograms.append((labels_of(name), bins))
    return Growth(tuple(histograms), was_reset=was_reset)


@lru_cache(maxsize=4096)
def labels_of(name: str) -> Labels:
    """Split a whole name, `prefix.histogram.tag.value.tag.value`, at its tags, in whatever order they stand."""
    prefix, histogram, tags = name.split(".", 2)
    _, *parts = _TAG.split(f".{tags}")
    return {"name": f"{prefix}.{histogram}"} | dict(zip(parts[::2], parts[1::2], strict=True))


def _restarted(before: Snapshot, now: Snapshot) -> bool:
    return before.uptime_s is not None and now.uptime_s is not None and now.uptime_s < before.uptime_s


def _bins(totals: str) -> dict[int, int]:
    """Read `0,0:5, 1,0.1:12` as {0: 5, 1: 12}: our values are whole milliseconds, so an edge below 10 is whole too."""
    bins: dict[int, int] = {}
    for one in totals.split():
        edge, _, count = one.rstrip(",").partition(":")
        lower_ms = round(float(edge.partition(",")[0]))
        bins[lower_ms] = bins.get(lower_ms, 0) + int(count)
    return bins


def _added(old: Bins, new: Bins) -> tuple[dict[int, int], bool]:
    """Bins fall together: a histogram of which one bin fell was reset as a whole."""
    fell = any(new.get(edge, 0) < n for edge, n in old.items())
    base = {} if fell else old
    return {edge: n - base.get(edge, 0) for edge, n in new.items() if n > base.get(edge, 0)}, fell
