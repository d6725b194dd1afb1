"""From the decision to the last request that the canary answers, through the whole real path: plane, journal, Envoy.

32 keep-alive clients in a closed loop; each switch releases to 50 %, then rolls back by command. Measured from the moment
before the command (so journal and fsync are included) to the start of the last request that the canary answered.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from benchmarks.backends import backends, free_port
from benchmarks.table import Row, options, report, row
from benchmarks.traffic import Traffic
from penstock.bootstrap.plane import Composition, UpOptions, composed
from penstock.rollout.plan import Plan
from penstock.routing.table import Identity

_SWITCHES, _SWITCHES_QUICK = 50, 5
_REQUESTS = 1_000_000
#: Seconds of traffic at 50 %, and after the rollback, per switch.
_BEFORE_S, _AFTER_S = 1.0, 0.5


@asynccontextmanager
async def control_plane(stable: int, listen: int, folder: Path) -> AsyncIterator[Composition]:
    """Run a whole control plane over one adopted backend."""
    options_ = UpOptions((), None, "127.0.0.1:0", folder, Identity(), 10.0)
    async with composed(options_) as parts:
        await parts.loop.start()
        url = f"http://127.0.0.1:{stable}"
        await parts.plane.adopt("tts", [url], listen=f"127.0.0.1:{listen}", identity=Identity(), actor="benchmark")
        try:
            yield parts
        finally:
            await parts.loop.stop()
            await parts.gateway.stop_envoy()


async def _switch(parts: Composition, canary: int, number: int) -> tuple[float, float, float]:
    """Release to 50 %, then roll back; return when the command began, ended, and what the decision cost, monotonic s."""
    plan = Plan.ramp((50, 100), 3600.0)
    url = f"http://127.0.0.1:{canary}"
    await parts.plane.release("tts", [url], "canary" if number == 0 else f"canary-{number}", plan, actor="benchmark")
    while parts.plane.status("tts")["weight_pct"] != 50:
        await asyncio.sleep(0.02)
    await asyncio.sleep(_BEFORE_S)
    began_s = time.monotonic()
    await parts.plane.roll_back("tts", quarantine=False, actor="benchmark")
    ended_s = time.monotonic()
    await asyncio.sleep(_AFTER_S)
    while parts.plane.status("tts")["phase"] != "idle":
        await asyncio.sleep(0.02)
    return began_s, ended_s, ended_s - began_s


async def _measure(n_switches: int, n_requests: int) -> list[Row]:
    with backends(2) as (stable, canary), tempfile.TemporaryDirectory() as folder:
        listen = free_port()
        switches: list[tuple[float, float, float]] = []
        async with control_plane(stable, listen, Path(folder)) as parts:
            with Traffic(listen) as traffic:
                started_s = time.monotonic()
                for number in range(n_switches):
                    switches.append(await _switch(parts, canary, number))
                    print(f"\r  switch {number + 1} of {n_switches}", end="", file=sys.stderr, flush=True)
                # Go on with plain traffic until enough requests were sent for the bar on failures.
                rate_hz = 4000.0
                await asyncio.sleep(max(0.0, n_requests / rate_hz - (time.monotonic() - started_s)))
        seen = traffic.seen
    starts = np.sort(seen.canary_starts_s)
    lags_ms = []
    for i, (began_s, _, _) in enumerate(switches):
        until_s = switches[i + 1][0] - _BEFORE_S if i + 1 < len(switches) else began_s + 10.0
        after = starts[(starts > began_s) & (starts < min(until_s, began_s + _AFTER_S))]
        lags_ms.append(float(after[-1] - began_s) * 1000 if len(after) else 0.0)
    for why in seen.failed:
        print(f"\n  failed: {why}", file=sys.stderr)
    late = sum(int(((starts > ended_s) & (starts < ended_s + _AFTER_S)).sum()) for _, ended_s, _ in switches)
    return [
        row("decision -> last canary request started", lags_ms, "ms", "<= 10"),
        row("the same, worst switch", lags_ms, "ms", "<= 100", of="max"),
        row("canary requests started after the command returned", [late], "requests", "== 0", of="sum"),
        row("command until acknowledged and journalled", [s[2] * 1000 for s in switches], "ms"),
        row("failed or reset requests", [seen.n_failed], "requests", "== 0", of="sum"),
        row("requests sent", [seen.n], "requests", f">= {n_requests}", of="sum"),
    ]


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    quick = (_SWITCHES_QUICK, 20_000) if asked.quick else (_SWITCHES, _REQUESTS)
    return report("rollback", asyncio.run(_measure(*quick)), asked.json)


if __name__ == "__main__":
    sys.exit(main())
