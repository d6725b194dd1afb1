"""What many simulated releases answer, second by second: traffic, faults, stalls, clustered users. Seeded.

Source of the worlds: JUDGE.md 6 and 10 (rates, stalls, day, bursts, clustered users), so that numbers can be compared.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from penstock.judge.batch import Floats
from penstock.simulation.fleet import Bools, Counts, FleetTick

#: Mean seconds between the stalls of a pod. Source: JUDGE.md 10.
_SECONDS_BETWEEN_STALLS = 600.0

#: Share of answers above stable's p95, by definition, and of an equal canary above 1.1 x it: latency is lognormal with
#: sigma .5, P(Z > 1.645 + ln(1.1 / slowdown) / .5). Source: JUDGE.md 6, 10 (5 %, 3.3 %).
_SLOW_STABLE = 0.05
_Z95, _SIGMA, _MARGIN = 1.6449, 0.5, 1.1

#: Users whose own requests fail, and how often, in the world with clustered users. Source: JUDGE.md 10.1.2.
_BAD_USER_RATIO, _BAD_USER_FAILS = 0.01, 0.30
N_USERS = 5000


class Stall(StrEnum):
    """How long a pod hangs once it does, and what fails meanwhile."""

    NONE = "none"
    #: 5 s, 60 % of requests bad.
    FIVE = "5s"
    #: Exponential, mean 10 s, 60 % bad.
    GEO10 = "geo10"
    #: Exponential, mean 20 s, 60 % bad.
    GEO20 = "geo20"
    #: 5 to 60 s, all bad.
    U60 = "U60"


#: A bursty second has three times the usual requests with this chance, else half; the mean stays. Source: JUDGE.md 10.2a.
_BURST_CHANCE, _BURST = 0.2, (3.0, 0.5)

_BAD_WHILE = {Stall.NONE: 0.0, Stall.FIVE: 0.6, Stall.GEO10: 0.6, Stall.GEO20: 0.6, Stall.U60: 1.0}


def slow_ratio(slowdown: float) -> float:
    """Return the share of a canary's answers above 1.1 x stable's p95 when it takes `slowdown` times as long."""
    z = _Z95 + math.log(_MARGIN / slowdown) / _SIGMA
    return 0.5 * math.erfc(z / math.sqrt(2.0))


@dataclass(frozen=True, slots=True)
class World:
    """What is true of every release.

    Attributes:
        n_canary_pods: endpoints of the canary.
        n_stable_pods: endpoints of stable.
        rate_hz: users' requests per second, both arms.
        weight: the canary's share at a second, 0..1.
        errors: stable's share of errors at a second.
        canary_errors: the canary's.
        slowdown: the canary's times over stable's at a second.
        load: traffic at a second, as a multiple of `rate_hz`.
        stall: how pods hang.
        bursty: whether a second has three times, or half, the usual requests.
        clustered: whether 1 % of the users fail in 30 % of their requests, on either arm.
        seconds: length of a release.
    """

    n_canary_pods: int = 1
    n_stable_pods: int = 1
    rate_hz: float = 50.0
    weight: Callable[[float], float] = lambda _: 0.1
    errors: Callable[[float], float] = lambda _: 0.002
    canary_errors: Callable[[float], float] | None = None
    slowdown: Callable[[float], float] = lambda _: 1.0
    load: Callable[[float], float] = lambda _: 1.0
    stall: Stall = Stall.NONE
    bursty: bool = False
    clustered: bool = False
    seconds: int = 3600


class Crowd:
    """Draws the seconds of `n` releases of a world."""

    def __init__(self, world: World, n: int, rng: np.random.Generator) -> None:
        self._world, self._n, self._rng = world, n, rng
        pods = world.n_canary_pods, world.n_stable_pods
        self._stalls = tuple(_Stalls(world.stall, (n, count), rng) for count in pods)
        self._users = _BadUsers(n, rng, weight=world.weight(0.0)) if world.clustered else None

    def live(self, second: int, withdrawn: Bools) -> FleetTick:
        """Draw users' requests; a canary that is withdrawn gets none, its share goes to stable."""
        world, rng = self._world, self._rng
        rate = world.rate_hz * world.load(second)
        factors = np.where(rng.random(self._n) < _BURST_CHANCE, *_BURST) if world.bursty else np.ones(self._n)
        weights = np.where(withdrawn, 0.0, world.weight(second))
        rates = [rate * factors * weights, rate * factors * (1.0 - weights)]
        return self._tick(second, rates, move=True)

    def probes(self, second: int, withdrawn: Bools) -> FleetTick:
        """Draw replayed pairs for those that are withdrawn: at most ten a second, as many as there was traffic before."""
        world = self._world
        rate = np.asarray(min(10.0, max(1.0, world.rate_hz * world.weight(second))) * withdrawn, dtype=np.float64)
        return self._tick(second, [rate, rate * world.n_stable_pods / world.n_canary_pods], move=False)

    def _tick(self, second: int, rates: list[Floats], *, move: bool) -> FleetTick:
        world, rng = self._world, self._rng
        errors = world.errors(second)
        of_canary = errors if world.canary_errors is None else world.canary_errors(second)
        slow = slow_ratio(world.slowdown(second))
        answers: list[Counts] = []
        bad: list[list[Counts]] = []
        first: list[Counts] = []
        for arm, (error, slow_share) in enumerate(((of_canary, slow), (errors, _SLOW_STABLE))):
            stalls = self._stalls[arm]
            hung = stalls.advance() if move else stalls.now
            n_pods = hung.shape[1]
            n = rng.poisson(np.broadcast_to((rates[arm] / n_pods)[:, None], hung.shape))
            failed = _binomial(rng, n, np.maximum(error, hung))
            fresh = failed
            if self._users is not None:
                own, own_first = self._users.fail(arm, n)
                failed, fresh = np.minimum(n, failed + own), np.minimum(n, failed + own_first)
            answers.append(n)
            first.append(fresh)
            bad.append([failed, _binomial(rng, n, np.maximum(slow_share, hung))])
        firsts = ([first[0], bad[0][1]], [first[1], bad[1][1]]) if self._users is not None else ([], [])
        return FleetTick(answers[0], answers[1], bad[0], bad[1], *firsts)


def _binomial(rng: np.random.Generator, n: Counts, p: Floats) -> Counts:
    """Draw, but only where there is something to draw from: most pods have few answers and most answers are good."""
    drawn = np.zeros_like(n)
    some = n > 0
    drawn[some] = rng.binomial(n[some], np.broadcast_to(p, n.shape)[some])
    return drawn


class _Stalls:
    """When each pod hangs, found as time goes on."""

    def __init__(self, stall: Stall, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._stall, self._rng = stall, rng
        self._left_s = np.zeros(shape)
        #: Share of requests that fail now, shape (n_releases, n_pods).
        self.now = np.zeros(shape)

    def advance(self) -> Floats:
        """Let a second pass; return `now`."""
        if self._stall is Stall.NONE:
            return self.now
        self._left_s -= 1.0
        begins = (self._left_s <= 0.0) & (self._rng.random(self.now.shape) < 1.0 / _SECONDS_BETWEEN_STALLS)
        self._left_s[begins] = self._lengths(int(begins.sum()))
        self.now = np.where(self._left_s > 0.0, _BAD_WHILE[self._stall], 0.0)
        return self.now

    def _lengths(self, n: int) -> Floats:
        match self._stall:
            case Stall.GEO10:
                return self._rng.exponential(10.0, n)
            case Stall.GEO20:
                return self._rng.exponential(20.0, n)
            case Stall.U60:
                return self._rng.uniform(5.0, 60.0, n)
            case _:
                return np.full(n, 5.0)


class _BadUsers:
    """Users whose own requests fail, on whichever arm they are; Zipf: the k-th user asks 1/k as often as the first."""

    def __init__(self, n: int, rng: np.random.Generator, *, weight: float) -> None:
        self._rng = rng
        n_bad = round(N_USERS * _BAD_USER_RATIO)
        activity = 1.0 / np.arange(1, N_USERS + 1)
        activity /= activity.sum()
        mine = rng.permuted(np.tile(activity, (n, 1)), axis=1)[:, :n_bad]
        on_canary = rng.random((n, n_bad)) < weight
        #: Per arm: each bad user's share of that arm's requests, shape (n, n_bad).
        self._shares = [np.where(on_canary, mine / weight, 0.0), np.where(on_canary, 0.0, mine / (1.0 - weight))]
        self._failed = [np.zeros((n, n_bad), dtype=bool) for _ in range(2)]

    def fail(self, arm: int, n: Counts) -> tuple[Counts, Counts]:
        """Return bad users' failures among `n` answers per pod, and how many of them were their user's first."""
        shares = self._shares[arm]
        failing = np.minimum(_BAD_USER_FAILS * shares.sum(axis=1), 0.95)
        bad = _binomial(self._rng, n, failing[:, None])
        first = np.zeros_like(bad)
        cumulative = shares.cumsum(axis=1)
        for release, pod in zip(*np.nonzero(bad), strict=True):
            for draw in self._rng.random(bad[release, pod]) * cumulative[release, -1]:
                user = int(np.searchsorted(cumulative[release], draw))
                if not self._failed[arm][release, user]:
                    self._failed[arm][release, user] = True
                    first[release, pod] += 1
        return bad, first
