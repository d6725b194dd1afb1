"""How often the judge is wrong, how fast it is right, and what the peers' rules do on the same traffic.

Everything is simulated and seeded: releases of one hour (a day where said), 50 requests a second, canary at 10 %, unless a
row says otherwise. `stopped` is the first time the canary loses its traffic, `condemned` the rollback for good. Rows of
false alarms carry the 95 % upper bound (Clopper-Pearson) as the end of their spread.
"""

import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from time import process_time

import numpy as np

from benchmarks.table import Row, options, report, row
from penstock.judge.batch import BettingBatch
from penstock.judge.betting import BettingProcess, Null, Prior, planned_starts
from penstock.simulation.crowd import N_USERS, Stall, World
from penstock.simulation.fleet import ERRORS, SLOW, FleetMetric, FleetPlan
from penstock.simulation.peers import argo, bounds, flagger, growthbook, kayenta, ztest
from penstock.simulation.peers.series import NEVER, Counts
from penstock.simulation.trial import Trial, series, trial

_PODS = ((1, 1), (2, 4))
_PRIOR = Prior(0.01, 200.0, 0.999)


@dataclass(frozen=True)
class Const:
    """A rate that does not change; a class, so that worlds can be sent to other processes."""

    value: float

    def __call__(self, _: float) -> float:
        return self.value


@dataclass(frozen=True)
class From:
    """One value before `at_s`, another from then on."""

    before: float
    after: float
    at_s: float

    def __call__(self, second: float) -> float:
        return self.after if second >= self.at_s else self.before


@dataclass(frozen=True)
class Day:
    """A day of two hours: `mean` times 1 +- `swing`."""

    mean: float
    swing: float

    def __call__(self, second: float) -> float:
        return self.mean * (1.0 + self.swing * math.sin(2.0 * math.pi * second / 7200.0))


@dataclass(frozen=True)
class Ramp:
    """1 % to 50 % within the hour."""

    def __call__(self, second: float) -> float:
        return 0.01 + 0.49 * min(1.0, second / 3600.0)


@dataclass(frozen=True)
class Sometimes:
    """A minute in every five is bad."""

    good: float
    bad: float

    def __call__(self, second: float) -> float:
        return self.bad if second % 300 < 60 else self.good


def errors(share: float, canary: Callable[[float], float] | None = None, **others: object) -> World:
    """Return a world in which stable fails `share` of its requests."""
    base = World(weight=Const(0.1), slowdown=Const(1.0), load=Const(1.0), errors=Const(share), canary_errors=canary)
    return replace(base, **others)  # type: ignore[arg-type]  # fields of World


def null_worlds() -> dict[str, World]:
    """Return worlds in which canary and stable are the same."""
    worlds: dict[str, World] = {}
    for canary, stable in _PODS:
        pods = {"n_canary_pods": canary, "n_stable_pods": stable}
        name = f"{canary}+{stable}"
        for share in (0.002, 0.005, 0.02):
            worlds[f"{name} independent, {100 * share:g} % errors"] = errors(share, **pods)
        for stall in (Stall.FIVE, Stall.GEO10, Stall.GEO20, Stall.U60):
            worlds[f"{name} stalls {stall.value}"] = errors(0.002, stall=stall, **pods)
        worlds[f"{name} stalls U60, canary at 50 %"] = errors(0.002, stall=Stall.U60, weight=Const(0.5), **pods)
        worlds[f"{name} stalls U60, 5 requests/s"] = errors(0.002, stall=Stall.U60, rate_hz=5.0, **pods)
        worlds[f"{name} clustered users, stalls geo10"] = errors(0.002, stall=Stall.GEO10, clustered=True, **pods)
        day = World(errors=Day(0.01, 0.8), load=Day(1.0, 0.7), weight=Ramp(), slowdown=Const(1.0))
        worlds[f"{name} day, ramp 1 to 50 %, bursts, geo10"] = replace(day, stall=Stall.GEO10, bursty=True, **pods)  # type: ignore[arg-type]
    worlds["5+20 independent, 0.2 % errors"] = errors(0.002, n_canary_pods=5, n_stable_pods=20)
    worlds["5+20 stalls U60"] = errors(0.002, n_canary_pods=5, n_stable_pods=20, stall=Stall.U60)
    return worlds


def fault_worlds() -> dict[str, World]:
    """Return worlds in which the canary is worse."""
    return {
        "errors .2 to 1 %": errors(0.002, Const(0.01)),
        "errors .5 to 1 %": errors(0.005, Const(0.01)),
        "errors .5 to 2 %": errors(0.005, Const(0.02)),
        "errors 2 to 7 %": errors(0.02, Const(0.07)),
        "errors 0 to 1 %": errors(0.0, Const(0.01)),
        "errors .2 to 50 %": errors(0.002, Const(0.5)),
        "errors .2 to 100 %": errors(0.002, Const(1.0)),
        "errors 2 to 7 % after 30 min": errors(0.02, From(0.02, 0.07, 1800.0)),
        "errors .2 to 50 %, one minute in five": errors(0.002, Sometimes(0.002, 0.5)),
        "p95 x1.3": errors(0.002, slowdown=Const(1.3)),
        "p95 x2": errors(0.002, slowdown=Const(2.0)),
    }


def plan_for(world: World, *, proves: bool = False) -> FleetPlan:
    """Return the default policy for a world's pods."""
    return FleetPlan(
        (ERRORS, SLOW), world.n_canary_pods, world.n_stable_pods, max_duration_s=float(world.seconds), proves=proves
    )


# What runs in another process: a name, and the work. Each draws from a seed of its own.


def judged(world: World, n: int, seed: int, *, proves: bool = False) -> Trial:
    return trial(world, plan_for(world, proves=proves), n, np.random.default_rng(seed))


def peers_of(world: World, n: int, seed: int, *, slow: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return peer -> (tick of rollback, canary requests until then). Limits as JUDGE.md 6 and 10.2d chose them."""
    counts = series(world, n, np.random.default_rng(seed), metric=int(slow))
    limit = 0.055 if slow else (0.05 if world.errors(0.0) >= 0.02 else 0.01)
    ticks = {
        "Flagger 1m, 5": flagger.rollback_ticks(counts, max_ratio=limit),
        "Argo 1m, limit 3": argo.rollback_ticks(counts, max_ratio=limit),
        "Kayenta, 5 min": kayenta.rollback_ticks(counts, rng=np.random.default_rng(seed), every_s=300.0),
        "GrowthBook, 10 min": growthbook.rollback_ticks(counts),
        "z-test, 10 s": ztest.rollback_ticks(counts),
    }
    return {name: (tick, _n_canary(counts, tick)) for name, tick in ticks.items()}


def _n_canary(counts: Counts, ticks: np.ndarray) -> np.ndarray:
    return counts.n_canary[np.arange(len(ticks)), np.where(ticks == NEVER, counts.n_ticks - 1, ticks)]


def request_level(p_canary: float, p_stable: float, n: int, seed: int, *, delta: float = 0.0) -> np.ndarray:
    """Return the canary requests until single requests alone prove harm at 1 %: rho0 = 1, 10 % weight, one tick a second."""
    rng = np.random.default_rng(seed)
    batch = BettingBatch(_PRIOR, n, n_starts=planned_starts(3600.0))
    found, n_sent = np.zeros(n), np.zeros(n)
    for second in range(40_000):
        canary, stable = rng.poisson(5.0, n), rng.poisson(45.0, n)
        counts = [np.stack([of, rng.binomial(of, p)], axis=1) for of, p in ((canary, p_canary), (stable, p_stable))]
        n_sent += canary
        batch.observe(float(second), *(count.astype(float) for count in counts), rho0=1.0, delta=delta)
        found = np.where((found == 0) & (batch.evidence >= 100.0), n_sent, found)
        if (found > 0).all():
            break
    return np.where(found > 0, found, n_sent)


def proven_at_the_margin(gap: float, n: int, seed: int) -> Trial:
    """Run releases whose canary fails `gap` more of its requests, the margin of promotion, at half of the traffic."""
    world = errors(0.002, Const(0.002 + gap), weight=Const(0.5))
    plan = replace(plan_for(world, proves=True), metrics=(FleetMetric(1.0),))
    return trial(world, plan, n, np.random.default_rng(seed))


def upper_bound(k: int, n: int) -> float:
    """Return the Clopper-Pearson upper 95 % bound (one-sided) on a share, k of n seen: the p with P(X <= k) = 5 %."""
    if k == n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        log_p, log_q = math.log(middle), math.log1p(-middle)
        tail = sum(math.exp(math.log(math.comb(n, i)) + i * log_p + (n - i) * log_q) for i in range(k + 1))
        low, high = (middle, high) if tail > 0.05 else (low, middle)
    return high


def share_row(name: str, happened: np.ndarray, goal: str) -> Row:
    """Return a row on how often something happened; the spread ends at the 95 % upper bound."""
    k, n = int(happened.sum()), len(happened)
    found = row(name, [100.0 * k / n], "%", goal)
    return replace(found, n=n, spread=(100.0 * k / n, 100.0 * upper_bound(k, n)))


def _false_rows(results: dict[str, Trial]) -> Iterator[Row]:
    for name, found in results.items():
        condemned = share_row(f"equal, {name}: condemned", found.condemned_s != NEVER, "<= 1")
        yield replace(condemned, holds=condemned.holds and condemned.spread[1] <= 1.5)
        calm = "independent" in name
        yield share_row(f"equal, {name}: withdrawn", found.stopped_s != NEVER, "<= 5" if calm else "")
        if not calm:
            yield row(f"equal, {name}: without traffic", [float(found.withdrawn_s.mean())], "s/h")


def _users(n: np.ndarray) -> float:
    """Return the mean number of distinct users among n canary requests, users being equally busy."""
    on_canary = N_USERS * 0.1
    return float(np.mean(on_canary * (1.0 - (1.0 - 1.0 / on_canary) ** n)))


def _fault_rows(results: dict[tuple[str, str], Trial]) -> Iterator[Row]:
    for (pods, name), found in results.items():
        goal = "<= 15" if name in ("errors .2 to 50 %", "errors .2 to 100 %") else ""
        stopped = found.stopped_s != NEVER
        yield quantile_row(f"{pods} {name}: stopped", found.stopped_n[stopped], "canary requests", goal)
        yield row(f"{pods} {name}: users exposed", [_users(found.stopped_n)], "users")
        condemned = found.condemned_s != NEVER
        yield share_row(f"{pods} {name}: condemned within the hour", condemned, "")
        if condemned.any():
            yield quantile_row(f"{pods} {name}: condemned", found.condemned_s[condemned], "s")


def quantile_row(name: str, samples: np.ndarray, unit: str, goal: str = "") -> Row:
    """Return the median, with the 5th and the 95th percentile as spread."""
    if not len(samples):
        return row(f"{name} (never)", [math.inf], unit, goal)
    low, high = np.quantile(samples, [0.05, 0.95])
    return replace(row(name, samples.tolist(), unit, goal), spread=(float(low), float(high)))


Peers = dict[str, tuple[np.ndarray, np.ndarray]]


def _peer_rows(
    ours: dict[str, Trial], false: Trial, peers: dict[str, Peers], false_peers: list[Peers]
) -> Iterator[Row]:
    """Compare canary requests until traffic stops. A peer counts as comparable when it is wrong no more than 1.5 % of the time."""
    for peer in false_peers[0]:
        wrong = np.concatenate([found[peer][0] != NEVER for found in false_peers])
        yield share_row(f"equal, independent (.2, .5, 2 %): {peer} rolls back", wrong, "")
    yield share_row("equal, independent: we stop", false.stopped_s != NEVER, "")
    for name, found in ours.items():
        stopped = found.stopped_n if (found.stopped_s != NEVER).mean() >= 0.5 else np.array([])
        for peer, (ticks, n) in peers[name].items():
            reached = n[ticks != NEVER]
            late = len(reached) < len(ticks) / 2
            label = f"{name}: {peer} needs, over ours"
            if late or not len(stopped):
                yield replace(
                    row(f"{label} ({'peer' if late else 'we'}: most never)", [math.inf if late else 0.0], "x")
                )
            else:
                yield row(label, [float(np.median(n) / np.median(stopped))], "x", ">= 1")


def _costs(n: int) -> Iterator[Row]:
    process = BettingProcess(_PRIOR, n_starts=1440)
    began = process_time()
    for second in range(n):
        process.observe_counts(
            float(second), (5, int(second % 100 == 0)), (45, int(second % 12 == 0)), Null(1.0, 0.001)
        )
        _ = process.evidence
    yield row("metric-ticks, one stream in Python", [n / (process_time() - began)], "per s", ">= 50000")
    batch = BettingBatch(_PRIOR, 10_000, n_starts=1440)
    canary, stable = (np.tile(one, (10_000, 1)) for one in ([5.0, 0.0], [45.0, 0.0]))
    canary[::100, 1] = stable[::12, 1] = 1.0
    began, n_ticks = process_time(), 30
    for second in range(n_ticks):
        batch.observe(float(second), canary, stable, rho0=1.0, delta=0.001)
    _ = batch.evidence
    yield row(
        "metric-ticks, 10,000 streams in numpy", [n_ticks * 10_000 / (process_time() - began)], "per s", ">= 1000000"
    )
    yield row("state per metric and direction", [batch.nbytes / 10_000], "bytes", "<= 256")


def _long_rows(n: int, pool: ProcessPoolExecutor, day: int = 86_400) -> Iterator[Row]:
    worlds = {
        "healthy": errors(0.002, seconds=day),
        "broken from the start, .2 to 1 %": errors(0.002, Const(0.01), seconds=day),
        "broken after half of it, .2 to 1 %": errors(0.002, From(0.002, 0.01, day / 2), seconds=day),
        "broken from the start, 2 to 7 %": errors(0.02, Const(0.07), seconds=day),
        "broken after half of it, 2 to 7 %": errors(0.02, From(0.02, 0.07, day / 2), seconds=day),
    }
    futures = {name: pool.submit(judged, world, n, 900 + i) for i, (name, world) in enumerate(worlds.items())}
    found = {name: future.result() for name, future in futures.items()}
    yield share_row(f"{day // 3600} h, healthy: condemned", found["healthy"].condemned_s != NEVER, "")
    yield share_row(f"{day // 3600} h, healthy: withdrawn", found["healthy"].stopped_s != NEVER, "")
    for fault in (".2 to 1 %", "2 to 7 %"):
        early, late = found[f"broken from the start, {fault}"], found[f"broken after half of it, {fault}"]
        for what in ("stopped", "condemned"):
            at_once = _delays(getattr(early, f"{what}_s"), 0)
            later = _delays(getattr(late, f"{what}_s"), day // 2)
            yield quantile_row(f"{day // 3600} h, {fault} from the start: {what} after", at_once, "s")
            yield quantile_row(f"{day // 3600} h, {fault} after half of it: {what} after", later, "s")
            yield row(
                f"{day // 3600} h, {fault}: {what}, late over early",
                [np.median(later) / np.median(at_once)],
                "x",
                "<= 1.1",
            )


def _delays(when_s: np.ndarray, since_s: int) -> np.ndarray:
    return when_s[(when_s != NEVER) & (when_s >= since_s)] - since_s + 1


def _bound_rows(n: int) -> Iterator[Row]:
    for p_stable, p_canary in ((0.002, 0.01), (0.005, 0.01), (0.02, 0.07)):
        bound = bounds.canary_requests(p_canary, p_stable, weight=0.1)
        needed = request_level(p_canary, p_stable, n, 700)
        name = f"single requests, {100 * p_stable:g} to {100 * p_canary:g} %: mean over the information bound ({bound:.0f})"
        yield row(name, [float(needed.mean() / bound)], "x", "<= 1.7")
        with_margin = request_level(p_canary, p_stable, n, 701, delta=max(0.001, 0.25 * p_stable))
        yield row(f"{name}, with the margin", [float(with_margin.mean() / bound)], "x")


def _proof_rows(n: int, pool: ProcessPoolExecutor) -> Iterator[Row]:
    at_margin = pool.submit(proven_at_the_margin, 0.003, n, 800)
    healthy = pool.submit(judged, errors(0.002, weight=Const(0.5)), n, 801, proves=True)
    hung = pool.submit(judged, errors(0.002, weight=Const(0.5), stall=Stall.GEO10), n, 802, proves=True)
    yield share_row("at the margin of promotion: proven", at_margin.result().proven_s != NEVER, "<= 5")
    found = healthy.result()
    yield share_row("healthy, half of the traffic: proven within the hour", found.proven_s != NEVER, ">= 95")
    yield quantile_row("healthy, half of the traffic: proven after", found.proven_s[found.proven_s != NEVER], "s")
    yield share_row("healthy, stalls geo10: proven within the hour", hung.result().proven_s != NEVER, "")


def _measure(*, quick: bool) -> list[Row]:
    n_null, n_fault, n_long = (40, 20, 4) if quick else (2000, 500, 100)
    rows = [*_costs(20_000), *_bound_rows(n_fault)]
    with ProcessPoolExecutor(max_workers=2) as pool:
        rows += _proof_rows(n_null if quick else 1000, pool)
        nulls, faults = null_worlds(), fault_worlds()
        jobs = {
            pool.submit(judged, world, n_null, seed): ("equal", name)
            for seed, (name, world) in enumerate(nulls.items())
        }
        for pods in _PODS:
            for seed, (name, world) in enumerate(faults.items()):
                shaped = replace(world, n_canary_pods=pods[0], n_stable_pods=pods[1])
                jobs[pool.submit(judged, shaped, n_fault, 100 + seed)] = (f"{pods[0]}+{pods[1]}", name)
        for seed, (name, world) in enumerate(faults.items()):
            jobs[pool.submit(partial(peers_of, slow="p95" in name), world, n_fault, 200 + seed)] = ("peers", name)
        for seed, share in enumerate((0.002, 0.005, 0.02)):
            jobs[pool.submit(partial(peers_of, slow=False), errors(share), n_fault, 300 + seed)] = (
                "peers",
                f"={share}",
            )
        found: dict[tuple[str, str], object] = {}
        for done in as_completed(jobs):
            found[jobs[done]] = done.result()
            print(f"\r  {len(found)} of {len(jobs)} simulations", end="", file=sys.stderr, flush=True)
        rows += _false_rows({name: found["equal", name] for name in nulls})  # type: ignore[misc]
        rows += _fault_rows({(p, name): found[p, name] for p in ("1+1", "2+4") for name in faults})  # type: ignore[misc]
        rows += _peer_rows(
            {name: found["2+4", name] for name in faults},  # type: ignore[misc]
            found["equal", "2+4 independent, 0.2 % errors"],  # type: ignore[arg-type]
            {name: found["peers", name] for name in faults},  # type: ignore[misc]
            [found["peers", f"={share}"] for share in (0.002, 0.005, 0.02)],  # type: ignore[misc]
        )
        rows += _long_rows(n_long, pool, 7200 if quick else 86_400)
    return rows


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    return report("judge", _measure(quick=asked.quick), asked.json)


if __name__ == "__main__":
    sys.exit(main())
