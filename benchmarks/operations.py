"""What the control plane costs while it judges a rollout, at 50 and at 5,000 requests per second.

The control plane runs as its own process, as users run it; runs at both rates alternate.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.backends import backends, cpu_s, free_port
from benchmarks.table import Row, options, report, row
from benchmarks.traffic import Traffic

_SLOW_HZ, _FAST_HZ = 50.0, 5000.0
_PENSTOCK = str(Path(sys.executable).with_name("penstock"))


@contextmanager
def control_plane(stable: int, listen: int, folder: str) -> Iterator[tuple[int, str]]:
    """Run `penstock up`; yield its pid and the API's address."""
    command = [_PENSTOCK, "up", f"tts=http://127.0.0.1:{stable}", "--listen", f"127.0.0.1:{listen}"]
    command += ["--api", "127.0.0.1:0", "--state", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = [next(process.stdout) for _ in range(3)]
        yield process.pid, said[1].split()[1]
    finally:
        process.terminate()
        process.wait()
        subprocess.run([_PENSTOCK, "down", "--state", folder], check=True, stdout=subprocess.DEVNULL)


def _penstock(api: str, *words: str) -> str:
    return subprocess.run([_PENSTOCK, *words, "--api", api], check=True, capture_output=True, text=True).stdout


def _measure(n_pairs: int, seconds: float) -> list[Row]:
    cpu: dict[float, list[float]] = {_SLOW_HZ: [], _FAST_HZ: []}
    sent: dict[float, list[float]] = {_SLOW_HZ: [], _FAST_HZ: []}
    with tempfile.TemporaryDirectory() as folder, backends(2) as (stable, canary):
        listen = free_port()
        with control_plane(stable, listen, folder) as (pid, api):
            url = f"http://127.0.0.1:{canary}"
            _penstock(api, "release", "tts", url, "--version", "canary", "--steps", "10,100", "--dwell", "1h")
            while json.loads(_penstock(api, "status", "tts", "-o", "json"))["weight_pct"] != 10:
                time.sleep(0.1)
            for pair in range(n_pairs):
                for rate_hz in sorted(cpu, reverse=bool(pair % 2)):
                    with Traffic(listen, connections=16, rate_hz=rate_hz) as traffic:
                        time.sleep(2.0)  # sampling has found its share by then
                        began_s = cpu_s(pid)
                        time.sleep(seconds)
                        cpu[rate_hz].append((cpu_s(pid) - began_s) / seconds * 100)
                    sent[rate_hz].append(traffic.seen.n / (seconds + 2.0))
                print(f"\r  pair {pair + 1} of {n_pairs}", end="", file=sys.stderr, flush=True)
    pairs = list(zip(cpu[_FAST_HZ], cpu[_SLOW_HZ], strict=True))
    return [
        row("control plane's CPU, 5,000/s over 50/s", [a / b for a, b in pairs], "ratio", "<= 1.3"),
        row("CPU of one core at 5,000/s", cpu[_FAST_HZ], "%"),
        row("CPU of one core at 50/s", cpu[_SLOW_HZ], "%"),
        row("requests per second, fast", sent[_FAST_HZ], "1/s"),
        row("requests per second, slow", sent[_SLOW_HZ], "1/s"),
    ]


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    return report("operations", _measure(*((1, 5.0) if asked.quick else (5, 15.0))), asked.json)


if __name__ == "__main__":
    sys.exit(main())
