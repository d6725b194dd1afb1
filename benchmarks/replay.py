"""What replaying a day of one-second ticks costs: CPU seconds of the whole process `penstock replay FILE -o json`.

Recordings are drawn and seeded: equal versions, nine tenths of the requests on stable. The bar is for one metric of one pod each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from benchmarks.table import options, report, row

_DAY_S = 86_400

#: Upper edges of the histogram of latencies, seconds.
_EDGES_S = (0.1, 0.25, 0.5, 1.0)


#: Promoted, and withdrawn or undecided; a rollback would end the replay early.
_JUDGED_TO_THE_END = (0, 4)


class Kind(NamedTuple):
    """A recording: a share of bad answers, and each arm's pods and requests a second; perhaps with latencies."""

    name: str
    bad: float
    pods: tuple[int, int] = (1, 1)
    rates_hz: tuple[int, int] = (5, 45)
    latency: bool = False
    goal: str = ""


_KINDS = (
    Kind("errors .2 %, 50 requests/s", 0.002, goal="<= 5"),
    Kind("errors 2 %, 50 requests/s", 0.02, goal="<= 5"),
    Kind("errors 2 %, 500 requests/s", 0.02, rates_hz=(50, 450), goal="<= 5"),
    Kind("errors .2 %, 2 + 4 pods", 0.002, pods=(2, 4)),
    Kind("errors .2 % and a latency histogram", 0.002, latency=True),
)


def _lines(kind: Kind, n_ticks: int) -> Iterator[str]:
    rng = np.random.default_rng(12)
    for arm, n_pods, rate_hz in zip(("canary", "stable"), kind.pods, kind.rates_hz, strict=True):
        n = rate_hz // n_pods
        for pod in range(n_pods):
            about = {"arm": arm, "pod": f"{arm}-{pod}"}
            for t, bad in enumerate(rng.binomial(n, kind.bad, n_ticks).tolist()):
                yield json.dumps({"t": float(t), "metric": "errors", "n": n, "bad": bad, **about})
            if not kind.latency:
                continue
            times = np.searchsorted(_EDGES_S, rng.lognormal(-2.0, 0.6, (n_ticks, n)))
            for t, bins in enumerate(times):
                counts = np.bincount(bins, minlength=len(_EDGES_S) + 1).tolist()
                histogram = dict(zip((*map(str, _EDGES_S), "+Inf"), counts, strict=True))
                yield json.dumps({"t": float(t), "metric": "latency", "histogram": histogram, **about})


def _cpu_s(file: Path) -> float:
    command = [str(Path(sys.executable).with_name("penstock")), "replay", str(file), "-o", "json"]
    before = os.times()
    code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    after = os.times()
    if code not in _JUDGED_TO_THE_END:
        raise SystemExit(f"penstock replay of {file.name} ended with {code}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    n_ticks, n_runs = (_DAY_S // 24, 2) if asked.quick else (_DAY_S, 7)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.jsonl" for index in range(len(_KINDS))]
        for kind, file in zip(_KINDS, files, strict=True):
            lines = sorted(_lines(kind, n_ticks), key=lambda line: json.loads(line)["t"])
            file.write_text("\n".join(lines), encoding="utf-8")
        runs = [list(map(_cpu_s, files)) for _ in range(n_runs)]
    what = "an hour" if asked.quick else "a day"
    rows = [
        row(f"{what} of ticks, {kind.name}", samples, "CPU s", kind.goal)
        for kind, samples in zip(_KINDS, zip(*runs, strict=True), strict=True)
    ]
    return report("replay", rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
