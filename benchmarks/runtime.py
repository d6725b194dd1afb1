"""What a hot swap costs the requests that run meanwhile: 8 busy clients, four threads and four tasks, half of them streams.

Every answer is computed from the weights it was given, twice, at its start and at its end. In the swap arm the pipeline is
swapped all the time; in the other arm the same versions are loaded just as often and thrown away, so that what differs is the
swap and not the load. Windows of both arms alternate. The clients rest between requests: on a machine that is always full,
the tail of the latency would measure who else wants the processor.
"""

import asyncio
import gc
import hashlib
import itertools
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np

from benchmarks.table import Row, options, report, row
from penstock import Pipeline, Slot
from penstock.runtime import Parts, SwapReport
from penstock.runtime.request import REQUEST, Request

_PARTS = ("acoustic", "vocoder")
_WEIGHT_BYTES = 1 << 20
_SPAN_BYTES = 1 << 15
_REST_S = 0.008
_CHUNKS = 4
#: Far more often than anybody swaps: one request in ten or so meets a swap, so that a pause would move the 99th percentile.
_SWAP_EVERY_S = 0.1


class Weights:
    """One loaded version; every answer hashes a part of it."""

    def __init__(self, component: str, version: str) -> None:
        seed = int.from_bytes(hashlib.sha256(f"{component} {version}".encode()).digest()[:4], "big")
        self.version = version
        self.values = np.full(_WEIGHT_BYTES // 4, seed, dtype=np.uint32)

    def fingerprint(self) -> str:
        """Compute from the weights which version this is."""
        return hashlib.sha256(self.values[: _SPAN_BYTES // 4]).hexdigest()


class Maker:
    """Loads and unloads, and knows what is still in memory."""

    def __init__(self, component: str) -> None:
        self.component = component
        self.known: dict[str, str] = {}
        self.alive: list[weakref.ref[np.ndarray]] = []
        self.unloads: Counter[str] = Counter()

    def load(self, version: str) -> Weights:
        weights = Weights(self.component, version)
        self.known[weights.fingerprint()] = version
        self.alive.append(weakref.ref(weights.values))
        return weights

    def unload(self, weights: Weights) -> None:
        """Scramble, so that a request that still uses it answers with a fingerprint that nobody knows."""
        self.unloads[weights.version] += 1
        weights.values[:] = 0

    def n_alive(self) -> int:
        return sum(ref() is not None for ref in self.alive)


class Bench:
    """A pipeline under load, and what its clients saw."""

    def __init__(self) -> None:
        self.makers = {part: Maker(part) for part in _PARTS}
        self.pipeline = Pipeline({p: Slot(p, m.load, unload=m.unload) for p, m in self.makers.items()})
        self.pipeline.swap(dict.fromkeys(_PARTS, "0"))
        self.latencies_s: list[float] = []
        self.n_answers = self.n_mixed = self.n_failed = 0
        self.n_swaps = 0
        self.switch_s: list[float] = []
        self._done = threading.Event()

    def window(self, n_swaps: int, *, swapping: bool) -> list[float]:
        """Let the clients work while versions are swapped, or only loaded; return their latencies, in seconds."""
        self.latencies_s = latencies_s = []
        self._done.clear()
        kinds = (self._plain, self._plain, self._streamed, self._streamed, *[self._tasks] * 2)
        clients = [threading.Thread(target=self._client, args=(kind,)) for kind in kinds]
        for client in clients:
            client.start()
        for _ in range(n_swaps):
            time.sleep(_SWAP_EVERY_S)
            self._swap(swapping=swapping)
        self._done.set()
        for client in clients:
            client.join()
        return latencies_s

    def _swap(self, *, swapping: bool) -> None:
        self.n_swaps += 1
        version = str(self.n_swaps)
        if swapping:
            wanted = dict.fromkeys(_PARTS, version)
            if self.n_swaps % 2:
                done = self.pipeline.swap(wanted)
            else:  # as a control plane does it
                self.pipeline.prepare(wanted)
                done = self.pipeline.switch(wanted)
            self.switch_s.append(done.seconds_switching)
        else:
            for maker in self.makers.values():
                maker.unload(maker.load(version))

    def _client(self, kind: Callable[[], None]) -> None:
        while not self._done.is_set():
            try:
                kind()
            except Exception as error:  # noqa: BLE001 - every failure counts, whatever it is
                self.n_failed += 1
                print(f"  failed: {error!r}", file=sys.stderr)

    def _judge(self, fingerprints: list[dict[str, str]], began_s: float) -> None:
        self.latencies_s.append(time.perf_counter() - began_s)
        versions = {self.makers[part].known.get(said[part]) for said in fingerprints for part in _PARTS}
        self.n_answers += 1
        self.n_mixed += len(versions) != 1 or None in versions

    def _chunks(self, parts: Parts) -> Iterator[dict[str, str]]:
        for _ in range(_CHUNKS):
            yield {part: parts[part].fingerprint() for part in _PARTS}

    async def _chunks_async(self, parts: Parts) -> AsyncIterator[dict[str, str]]:
        for chunk in self._chunks(parts):
            yield chunk
            await asyncio.sleep(0.001)

    def _plain(self) -> None:
        began_s = time.perf_counter()
        with self.pipeline.lease() as parts:
            said = list(self._chunks(parts))
        del parts
        self._judge(said, began_s)
        time.sleep(_REST_S)

    def _streamed(self) -> None:
        began_s = time.perf_counter()
        lease = self.pipeline.lease()
        with lease as parts:
            stream = lease.stream(self._chunks(parts))
        del lease, parts
        self._judge(list(stream), began_s)
        time.sleep(_REST_S)

    def _tasks(self) -> None:
        asyncio.run(self._both_tasks())

    async def _both_tasks(self) -> None:
        await asyncio.gather(*(self._task(streamed=streamed) for streamed in (True, False)))

    async def _task(self, *, streamed: bool) -> None:
        while not self._done.is_set():
            began_s = time.perf_counter()
            lease = self.pipeline.lease()
            async with lease as parts:
                chunks = self._chunks_async(parts)
                stream = lease.stream(chunks)
                said = [] if streamed else [chunk async for chunk in stream]
            del lease, parts, chunks
            said += [chunk async for chunk in stream]
            del stream
            self._judge(said, began_s)
            await asyncio.sleep(_REST_S)


def _lease_us(slot: Slot[object] | Pipeline, n: int) -> float:
    began_s = time.thread_time()  # what it costs, whoever else wants the processor
    for _ in range(n):
        with slot.lease():
            pass
    return (time.thread_time() - began_s) / n * 1e6


def _canarys_lease_us(pipeline: Pipeline, n: int) -> float:
    """Measure it in a request to a mounted server."""
    token = REQUEST.set(Request(pipeline.stage.pointer, canary=True))
    try:
        return _lease_us(pipeline, n)
    finally:
        REQUEST.reset(token)


def _p99_ms(latencies_s: list[float]) -> float:
    return float(np.percentile(latencies_s, 99)) * 1e3


def _under_load(n_windows: int, n_swaps: int) -> list[Row]:
    bench = Bench()
    arms: dict[bool, list[list[float]]] = {True: [], False: []}
    for window in range(n_windows):
        for swapping in sorted(arms, reverse=bool(window % 2)):
            arms[swapping].append(bench.window(n_swaps, swapping=swapping))
        print(f"\r  window {window + 1} of {n_windows}", end="", file=sys.stderr, flush=True)
    gc.collect()
    loaded = sum(m.n_alive() for m in bench.makers.values())
    once = [n for m in bench.makers.values() for n in m.unloads.values()]
    p99_ms = {swapping: [_p99_ms(window) for window in windows] for swapping, windows in arms.items()}
    pooled = [_p99_ms(list(itertools.chain(*arms[swapping]))) for swapping in (True, False)]
    ratios = [a / b for a, b in zip(p99_ms[True], p99_ms[False], strict=True)]
    n = sum(map(len, arms[True]))
    return [
        row("swaps under 8 clients", [len(bench.switch_s)], "swaps", f">= {n_windows * n_swaps}"),
        row("answers while swapping", [n], "answers"),
        row("failed requests", [bench.n_failed], "requests", "== 0"),
        row("answers that mix versions", [bench.n_mixed], "answers", "== 0"),
        # Of each part the version that serves and the one that is kept.
        row("versions left in memory", [loaded], "versions", f"== {2 * len(_PARTS)}"),
        row("unloads of one version", once, "times", "== 1", of="max"),
        row("the switch itself", [s * 1e3 for s in bench.switch_s], "ms", "<= 1", of="max"),
        row("p99, swapping over loading only", ratios, "ratio", "<= 1.1"),
        row("p99 of all windows, the same", [pooled[0] / pooled[1]], "ratio"),
        row("p99 while swapping", p99_ms[True], "ms"),
        row("p99 while loading only", p99_ms[False], "ms"),
    ]


def _quiet(n_rounds: int, n_leases: int) -> list[Row]:
    """Measure what a lease and a switch cost when nothing else runs."""
    slot: Slot[object] = Slot("one", load=str)
    pipeline = Pipeline({part: Slot(part, load=str) for part in _PARTS})
    slot.swap("1")
    pipeline.swap(dict.fromkeys(_PARTS, "1"))
    pipeline.prepare(dict.fromkeys(_PARTS, "2"))
    pipeline.split(dict.fromkeys(_PARTS, "2"))
    swaps: list[SwapReport] = [slot.swap(str(n)) for n in range(2, 202)]
    return [
        row("lease on a slot", [_lease_us(slot, n_leases) for _ in range(n_rounds)], "us", "<= 2"),
        row("lease on a pipeline", [_lease_us(pipeline, n_leases) for _ in range(n_rounds)], "us", "<= 2"),
        row("the same, of the canary", [_canarys_lease_us(pipeline, n_leases) for _ in range(n_rounds)], "us", "<= 2"),
        row("the switch, nothing else running", [s.seconds_switching * 1e6 for s in swaps], "us"),
    ]


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    quiet, load = ((3, 20_000), (4, 10)) if asked.quick else ((15, 100_000), (20, 10))
    return report("runtime", [*_quiet(*quiet), *_under_load(*load)], asked.json)


if __name__ == "__main__":
    sys.exit(main())
