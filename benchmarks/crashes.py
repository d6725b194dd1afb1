"""Kill -9 of the control plane at seeded random moments of a rollout: what users see, and what is there afterwards."""

import sys
from collections import Counter

import numpy as np

from benchmarks.table import Row, options, report, row
from tests.end_to_end.crashing import GRACE_S, LEASE_S, Crash, Crasher
from tests.end_to_end.stage import Stage

SEED = 2
#: A new stage now and then: journals and quarantine lists stay as short as real ones.
_CRASHES_A_STAGE = 25


def crashes(n: int) -> tuple[list[Crash], int, int, int]:
    """Return n crashes, and over all of them: users' requests, failed ones, and answers of quarantined releases."""
    rng = np.random.default_rng(SEED)
    seen: list[Crash] = []
    n_requests = n_failed = n_quarantined = 0
    while len(seen) < n:
        stage = Stage()
        try:
            crasher = Crasher(stage, rng)
            for _ in range(min(_CRASHES_A_STAGE, n - len(seen))):
                seen.append(crasher.crash())
                _show(len(seen), seen[-1])
            crasher.load.stop()
        finally:
            stage.close()
        n_requests += len(crasher.load.requests)
        n_failed += len(crasher.load.failures())
        n_quarantined += crasher.n_quarantined
    return seen, n_requests, n_failed, n_quarantined


def main() -> int:
    """Crash it, print the table, return the exit code."""
    asked = options(__doc__ or "")
    seen, n_requests, n_failed, n_quarantined = crashes(10 if asked.quick else 100)
    rows: list[Row] = [
        row("wrong or split states", [len(crash.wrong) for crash in seen], "crashes", "== 0", of="sum"),
        row("answers of a quarantined release", [n_quarantined], "requests", "== 0", of="sum"),
        row("failed requests", [n_failed], f"of {n_requests}", "== 0", of="sum"),
        row(
            f"canary's last request, lease {LEASE_S:g} s", [c.canary_s for c in seen], "s", f"<= {GRACE_S:g}", of="max"
        ),
    ]
    moments = Counter(crash.moment for crash in seen)
    rows += [row(f"killed {moment}", [n], "crashes", of="sum") for moment, n in sorted(moments.items())]
    return report("kill -9 of the control plane at random moments", rows, asked.json)


def _show(number: int, crash: Crash) -> None:
    print(
        f"{number:3} {crash.phase}: {crash.command}, killed {crash.moment} after {crash.delay_s * 1000:.0f} ms", end=""
    )
    print(f", canary for {crash.canary_s:.2f} s more", *crash.wrong, sep="; ", flush=True)


if __name__ == "__main__":
    sys.exit(main())
