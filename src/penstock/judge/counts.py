"""What the judge is fed: what each pod of each release answered during one tick."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

#: Endpoint name of answers that no endpoint gave (see PodCounts), and of counts whose endpoint nobody knows.
NO_POD = "-"


class Measure(NamedTuple):
    """What one pod, or one user, of one release showed of one metric during a tick. Only what its kind needs is set.

    Attributes:
        metric: the counts' name, e.g. `errors`, `latency`, `mos`.
        canary: whose.
        pod: `host:port`, or `-` where it is not known.
        n: answers, events, or new users, >= 0.
        bad: bad answers, 0..n.
        values: scores, or readings of a gauge; of a split, the intended share of the canary, 0..1.
        bins: of latencies: lower edge of a bin in ms -> answers.
        outcomes: of drift: outcome -> answers.
        exposure_s: seconds that the pod was watched, for events.
        user: whose request it was, or None.
    """

    metric: str
    canary: bool
    pod: str = NO_POD
    n: int = 0
    bad: int = 0
    values: tuple[float, ...] = ()
    bins: Mapping[float, int] = {}
    outcomes: Mapping[str, int] = {}
    exposure_s: float = 0.0
    user: str | None = None


@dataclass(frozen=True, slots=True)
class PodCounts:
    """Increments of one pod of one release during one tick. Attempts are counted, before any retry hides a failure.

    Attributes:
        release: the release's number.
        pod: `host:port` of the endpoint; `-` where no endpoint of the release answered (a local 503, a failover).
        n: attempts that ended, >= 0.
        errors: of these: 5xx, reset, time-out, local 503, answered by the other arm's pod; 0..n.
        client_errors: of these: 4xx; 0..n.
        faults: fault name -> answers that the server itself marked as such (`X-Penstock-Fault`); each 0..n.
        latency_ms: time to the first byte, milliseconds: lower edge of a bin -> answers in [edge, next edge). Edges are
            whole milliseconds with two significant digits. May hold fewer answers than n, and may arrive a tick later.
    """

    release: int
    pod: str
    n: int
    errors: int = 0
    client_errors: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    latency_ms: Mapping[int, int] = field(default_factory=dict)


class Tick(NamedTuple):
    """Everything that happened in one tick.

    Attributes:
        at_s: monotonic seconds at the tick's end.
        canary: one entry per canary pod that answered; empty when none did.
        stable: the same for stable.
        probes: whether these are replayed probes instead of users' requests.
        measures: what came from elsewhere than the gateway's counters, both arms.
    """

    at_s: float
    canary: tuple[PodCounts, ...]
    stable: tuple[PodCounts, ...]
    probes: bool = False
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """Recorded requests replayed within moments of each other, in random order: does a failure follow the request?

    `suspect` failed on the canary before, `control` passed there. A stall of the canary's machine cannot tell the two
    apart; a fault of the version can.

    Attributes:
        suspect_fails_on_canary: this time.
        suspect_fails_on_stable: this time.
        control_fails_on_canary: this time, on the same canary pod.
    """

    suspect_fails_on_canary: bool
    suspect_fails_on_stable: bool
    control_fails_on_canary: bool
