"""What a request costs in Penstock's Envoy, with everything counted, against the same Envoy with one plain static route.

Both run the same binary with one worker; short runs alternate, so that a noisy machine hits both. CPU is the proxy's own,
from the scheduler's nanoseconds, in a closed loop (at a fixed low rate wake-ups drown the difference). Latency is taken at
a fixed rate far below saturation.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from benchmarks.backends import backends, cpu_s, free_port, plain_route
from benchmarks.table import Row, options, report, row
from benchmarks.traffic import Traffic
from penstock.gateways.envoy.driver import EnvoyGateway
from penstock.registry.release import WHOLE, Endpoint, Release
from penstock.routing.repeatable import DEFAULT_REPEATABLE
from penstock.routing.table import RouteTable
from penstock.stores.clock import SystemClock

_RATE_HZ = 2000.0


@asynccontextmanager
async def penstock_gateway(stable: int, canary: int, listen: int, folder: Path) -> AsyncIterator[int]:
    """Serve a rollout at 50 % through our own Envoy with one worker; yield its pid."""
    arms = [
        Release("tts", number, name, {WHOLE: name}, (Endpoint("http", "127.0.0.1", port),))
        for number, name, port in ((1, "stable", stable), (2, "canary", canary))
    ]
    gateway = EnvoyGateway(folder, lease_s=3600.0, clock=SystemClock(), concurrency=1)
    table = RouteTable("tts", 1, f"127.0.0.1:{listen}", arms[0], arms[1], weight=5000, salt="tts:1:", overrides=True)
    await gateway.start(())
    try:
        await gateway.apply(_with_patterns(table))
        assert gateway.pid is not None
        yield gateway.pid
    finally:
        await gateway.stop_envoy()
        await gateway.close()


def _with_patterns(table: RouteTable) -> RouteTable:
    fields = {name: getattr(table, name) for name in RouteTable.__slots__}
    return RouteTable(**{**fields, "repeatable": DEFAULT_REPEATABLE})


async def _load(port: int, pid: int, seconds: float, rate_hz: float) -> tuple[float, np.ndarray, int]:
    """Return CPU microseconds per request, latencies in ms, and failures."""

    def run() -> tuple[float, np.ndarray, int]:
        with Traffic(port, connections=8, rate_hz=rate_hz) as traffic:
            began_s = cpu_s(pid)
            time.sleep(seconds)
            used_s = cpu_s(pid) - began_s
        return used_s / max(traffic.seen.n, 1) * 1e6, traffic.seen.latencies_ms, traffic.seen.n_failed

    return await asyncio.to_thread(run)


async def _measure(n_pairs: int, seconds: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, backends(2) as (stable, canary):
        listen = free_port()
        async with penstock_gateway(stable, canary, listen, Path(folder)) as ours:
            with plain_route(stable, concurrency=1) as (plain_port, plain):
                proxies = {"ours": (listen, ours), "plain": (plain_port, plain)}
                runs: dict[str, list[tuple[float, np.ndarray, int]]] = {name: [] for name in proxies}
                for pair in range(n_pairs):
                    for name in sorted(proxies, reverse=bool(pair % 2)):
                        cpu_us, _, n_failed = await _load(*proxies[name], seconds, 0.0)
                        _, latencies_ms, n_failed_too = await _load(*proxies[name], seconds, _RATE_HZ)
                        runs[name].append((cpu_us, latencies_ms, n_failed + n_failed_too))
                    print(f"\r  pair {pair + 1} of {n_pairs}", end="", file=sys.stderr, flush=True)
    return _rows(runs["ours"], runs["plain"])


def _rows(ours: list[tuple[float, np.ndarray, int]], plain: list[tuple[float, np.ndarray, int]]) -> list[Row]:
    def quantile(run: tuple[float, np.ndarray, int], q: float) -> float:
        return float(np.quantile(run[1], q))

    pairs = list(zip(ours, plain, strict=True))
    return [
        row("CPU per request, ours / plain", [a[0] / b[0] for a, b in pairs], "ratio", "<= 1.15"),
        row("CPU per request, ours", [a[0] for a in ours], "us"),
        row("CPU per request, plain", [b[0] for b in plain], "us"),
        row("p50, ours - plain", [quantile(a, 0.5) - quantile(b, 0.5) for a, b in pairs], "ms", "<= 0.3"),
        row("p99, ours", [quantile(a, 0.99) for a in ours], "ms"),
        row("p99, plain", [quantile(b, 0.99) for b in plain], "ms"),
        row("failed", [a[2] + b[2] for a, b in pairs], "requests", "== 0", of="sum"),
    ]


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    return report("gateways", asyncio.run(_measure(*((2, 1.0) if asked.quick else (24, 1.5)))), asked.json)


if __name__ == "__main__":
    sys.exit(main())
