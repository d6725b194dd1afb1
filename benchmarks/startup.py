"""How long `penstock --help` and importing the runtime take, as whole processes, against a bare Python."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import options, report, row


def _seconds(command: list[str]) -> float:
    started_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    penstock = [str(Path(sys.executable).with_name("penstock")), "--help"]
    bare = [sys.executable, "-c", "pass"]
    runtime = [sys.executable, "-c", "from penstock import Pipeline, Slot"]
    runs = [tuple(map(_seconds, (penstock, runtime, bare))) for _ in range(3 if asked.quick else 15)]
    rows = [
        row("penstock --help", [p for p, _, _ in runs], "s", "<= 0.25"),
        row("from penstock import Slot", [r for _, r, _ in runs], "s", "<= 0.25"),
        row("bare Python", [b for _, _, b in runs], "s"),
        row("ratio", [p / b for p, _, b in runs], "ratio"),
    ]
    return report("startup", rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
