"""What is true of a simulated service: traffic, users, machines, and what is wrong with the new version. Values only.

Source of stalls, cycles, bursts, warm-up and clustered users: JUDGE.md 10 (the worlds that the judge's policy was measured in).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np

#: Seconds between the stalls of one pod, on average. Source: JUDGE.md 10.
STALL_EVERY_S = 600.0

#: A cycle's length, and how far load and error share swing. Source: JUDGE.md 10.2a ("2-h day").
DAY_S, LOAD_SWING, ERROR_SWING = 7200.0, 0.7, 0.8

#: Load in a burst and outside; bursts take a fifth of the time, so that the mean stays. Source: JUDGE.md 10.2a (x3 / x.5).
BURST, LULL, BURST_SHARE = 3.0, 0.5, 0.2

#: How much slower a canary's pod is, and for how long after its start. Source: JUDGE.md 10.1.10.
WARM_UP_SLOWDOWN, WARM_UP_S = 3.0, 60.0

#: Share of users whose requests fail this often on either version. Source: JUDGE.md 10.1.2.
BAD_USERS_RATIO, BAD_USERS_ERRORS = 0.01, 0.3

#: The u-th most active user sends a share proportional to u^-this. An assumption: between equal users (0) and the 1 of
#: words in a text, at which one user of 5000 would send a tenth of all requests.
ZIPF = 0.8

_MOST_HZ, _MOST_PODS, _MOST_USERS, _MOST_MS = 100_000.0, 200, 1_000_000, 600_000.0


@dataclass(frozen=True, slots=True)
class Stall:
    """How long a healthy machine hangs now and then, and how much of what it answers meanwhile is bad.

    Attributes:
        shortest_s: uniform from here ...
        longest_s: ... to here, unless `mean_s` is given.
        mean_s: exponential with this mean.
        bad_ratio: share of bad answers meanwhile, 0..1.
    """

    shortest_s: float = 0.0
    longest_s: float = 0.0
    mean_s: float | None = None
    bad_ratio: float = 0.6

    def draw_s(self, rng: np.random.Generator) -> float:
        """Return how long one stall lasts, seconds."""
        if self.mean_s is not None:
            return float(rng.exponential(self.mean_s))
        return float(rng.uniform(self.shortest_s, self.longest_s))


#: Source: JUDGE.md 10.
STALLS: Mapping[str, Stall | None] = MappingProxyType(
    {
        "none": None,
        "5s": Stall(5.0, 5.0),
        "geo10": Stall(mean_s=10.0),
        "geo20": Stall(mean_s=20.0),
        "u60": Stall(5.0, 60.0, bad_ratio=1.0),
    }
)


class Condition(StrEnum):
    """What may make a service harder to judge, though neither version is to blame."""

    #: Load and error share rise and fall together.
    DAY = "day"
    #: Requests come in bursts.
    BURSTS = "bursts"
    #: A few users' requests fail often, on either version.
    BAD_USERS = "bad-users"
    #: The canary's pods are slow at first.
    WARM_UP = "warm-up"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is true of a service, whatever version serves. Raises ValueError for what cannot be meant.

    Attributes:
        rate_hz: requests per second, both arms together, > 0.
        n_canary_pods: endpoints of the canary, >= 1.
        n_stable_pods: endpoints of stable, >= 1.
        n_users: users who send them, >= 1; each stays with one arm as long as the weight stays.
        errors_ratio: share of requests that fail on a good version, [0, 1).
        p95_ms: of a good version's time to the first byte, which is lognormal; milliseconds > 0.
        stalls: a name in STALLS.
        conditions: what else is going on.
    """

    rate_hz: float = 50.0
    n_canary_pods: int = 1
    n_stable_pods: int = 1
    n_users: int = 5000
    errors_ratio: float = 0.002
    p95_ms: float = 450.0
    stalls: str = "none"
    conditions: frozenset[Condition] = frozenset()

    def __post_init__(self) -> None:
        _within("rate", self.rate_hz, 0.001, _MOST_HZ, "50 for 50 requests per second")
        _within("pods", self.n_canary_pods, 1, _MOST_PODS, "2+4 for 2 of the canary and 4 of stable")
        _within("pods", self.n_stable_pods, 1, _MOST_PODS, "2+4 for 2 of the canary and 4 of stable")
        _within("users", self.n_users, 1, _MOST_USERS, "5000")
        _within("errors", self.errors_ratio, 0.0, 0.5, "0.2% for two in a thousand")
        _within("p95", self.p95_ms, 1.0, _MOST_MS, "450ms")
        if self.stalls not in STALLS:
            raise ValueError(f"stalls {self.stalls!r} are not known; there are {', '.join(STALLS)}")

    @property
    def stall(self) -> Stall | None:
        return STALLS[self.stalls]

    def as_json(self) -> dict[str, Any]:
        """The traffic as answers carry it."""
        return asdict(self) | {"conditions": sorted(self.conditions)}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the new version. Nothing, by default.

    Attributes:
        name: what it is called in answers, e.g. `errors-7`.
        words: the same for a person.
        errors_ratio: share of requests that fail while it shows, 0..1; None where it fails as often as stable.
        silence_ratio: share of answers that the server itself marks as silent, 0..1.
        slowdown: latency as a multiple of stable's, > 0.
        from_ratio: it shows from this share of the plan's own time on, [0, 1).
        shows_s: it shows for so long at a time, seconds ...
        every_s: ... this often, seconds; 0 for all the time.
    """

    name: str = "healthy"
    words: str = "healthy"
    errors_ratio: float | None = None
    silence_ratio: float = 0.0
    slowdown: float = 1.0
    from_ratio: float = 0.0
    shows_s: float = math.inf
    every_s: float = 0.0

    def shows(self, since_s: float) -> bool:
        """Return whether it shows this many seconds after it began (negative: before)."""
        return since_s >= 0.0 and (not self.every_s or since_s % self.every_s < self.shows_s)


#: Nothing is wrong with it.
HEALTHY = Fault()


def _within(what: str, value: float, low: float, high: float, example: str) -> None:
    """NaN fails every comparison, so it is refused like any other number out of range."""
    if not low <= value <= high:
        raise ValueError(f"{what} is {value:g}; use a number from {low:g} to {high:g}, e.g. {example}")
