"""From what the gateway counted to what the judge is fed. Pure.

The gateway observes two things, both labelled with the arm (`<service>/<release number>`), the pod and the route:

- `penstock.rq`: answers to users, in milliseconds to the first byte, with status code, response flags, the number of
  attempts that were made, and the fault that the server named in `X-Penstock-Fault`;
- `attempt.failed`: attempts on a pod that failed by themselves: 5xx, refused, reset, garbage. Attempts that the gateway
  cut off (its time-out, or the user left) have no code and no flag there and say nothing.

An observation counts as one, whatever its value.

The arithmetic. Every attempt counts once, on the pod that made it, whether or not a retry hid it. `own` means that the
pod belongs to the arm's release.

| counted                                                         | n | errors | on    |
|-----------------------------------------------------------------|---|--------|-------|
| failed attempt, own pod                                         | 1 | 1      | pod   |
| failed attempt, other pod or none                               | 0 | 0      | (a)   |
| answer of an own pod that nothing spoilt (4xx: a client error)  | 1 | 0      | pod   |
| answer of an own pod, cut off by the gateway's time-out         | 1 | 1      | pod   |
| answer of an own pod, failed otherwise                          | 0 | 0      | (b)   |
| answer without an own pod, first attempt                        | 1 | 1      | `-`   |
| answer without an own pod, later attempt                        | 0 | 0      | (a)   |
| 4xx that the gateway gave itself; user left before the answer   | 0 | 0      | (c)   |

(a) A request that an own pod failed and another release's pod rescued was counted as the own pod's failed attempt;
counting the rescue too would make a canary look twice as bad as an equal stable. But when no own pod is left, and what
stands in for it fails as well, nothing was counted yet. So of the R later answers, max(0, R - failed own attempts) were
certainly never tried on an own pod; they count as n = errors = 1 on `-`, as far as failed foreign attempts explain them.
(b) Its last attempt is among the failed attempts, on the same pod: a final 503 is one attempt and one error.
(c) That is the user's own doing. An answer that had begun with a status counts by that status, if the user stayed or not.

Hence n = failed own attempts + answers that were not already counted as one, and errors <= n. Overridden requests are
kept out of all of this. Source: tests/telemetry/test_envoy.py, against a real Envoy; Envoy's response flags:
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from penstock.judge.counts import PodCounts
from penstock.ports.telemetry import ServiceReading
from penstock.telemetry.stats_text import Bins, Growth, Labels

#: The pod of what no endpoint of the release answered.
NOBODY = "-"

_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_OVERRIDE = "override-"
_ANONYMOUS = frozenset({"minted", "address"})
#: The router's own time-outs: whole answer, silent stream, longest stream, longest request.
_CUT_OFF = frozenset({"UT", "SI", "UMSDR", "DT"})
#: Every try was used up, so the last attempt failed by itself.
_OUT_OF_RETRIES = "URX"
#: Flags that say nothing against the pod: none, the user left, the user broke the protocol.
_BLAMELESS = frozenset({"-", "", "DC", "DPE", _OUT_OF_RETRIES})


@dataclass(slots=True)
class _Pod:
    n: int = 0
    errors: int = 0
    client_errors: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Arm:
    """One release of one service while it is summed up; `pods` are its own."""

    own: frozenset[str]
    pods: dict[str, _Pod] = field(default_factory=dict)
    n_failed_own: int = 0
    n_failed_elsewhere: int = 0
    n_later_elsewhere: int = 0

    def on(self, pod: str) -> _Pod:
        return self.pods.setdefault(pod, _Pod())

    def add_failed_attempt(self, labels: Labels, n: int) -> None:
        if not _failed(int(labels["code"]), _flags(labels)):
            return
        if labels["pod"] in self.own:
            self.n_failed_own += n
            self.on(labels["pod"]).n += n
            self.on(labels["pod"]).errors += n
        else:
            self.n_failed_elsewhere += n

    def add_answer(self, labels: Labels, n: int) -> None:
        if labels["pod"] in self.own:
            self._add_own_answer(labels, n)
        elif labels["pod"] in ("", NOBODY) and int(labels["code"]) < _SERVER_ERROR:
            return
        elif labels["att"] in ("0", "1", "-"):
            self.on(NOBODY).n += n
            self.on(NOBODY).errors += n
        else:
            self.n_later_elsewhere += n

    def _add_own_answer(self, labels: Labels, n: int) -> None:
        code, flags = int(labels["code"]), _flags(labels)
        pod = self.on(labels["pod"])
        if flags & _CUT_OFF and _OUT_OF_RETRIES not in flags:
            is_users_doing = _CLIENT_ERROR <= code < _SERVER_ERROR
            pod.n += 0 if is_users_doing else n
            pod.errors += 0 if is_users_doing else n
        elif not _failed(code, flags):
            pod.n += n
            pod.client_errors += n if code >= _CLIENT_ERROR else 0

    def add_marks(self, labels: Labels, bins: Bins) -> None:
        """Add what else an answer says about its own pod: the fault it named, and when its first byte came."""
        if labels["pod"] not in self.own:
            return
        pod = self.on(labels["pod"])
        if fault := labels.get("fault"):
            pod.faults[fault] = pod.faults.get(fault, 0) + sum(bins.values())
        # An answer that failed has no time to its first byte worth knowing, or none at all.
        if int(labels["code"]) < _SERVER_ERROR:
            for edge, n in bins.items():
                pod.latency_ms[edge] = pod.latency_ms.get(edge, 0) + n

    def counts(self, release: int) -> Iterable[PodCounts]:
        untried = min(self.n_failed_elsewhere, max(0, self.n_later_elsewhere - self.n_failed_own))
        if untried:
            self.on(NOBODY).n += untried
            self.on(NOBODY).errors += untried
        for name, pod in self.pods.items():
            if pod.n or pod.latency_ms:
                # A failed answer's fault stands in n as its attempt, which ended before: maybe in the reading before.
                faults = {fault: min(n, pod.n) for fault, n in pod.faults.items()}
                yield PodCounts(release, name, pod.n, pod.errors, pod.client_errors, faults, pod.latency_ms)


@dataclass(slots=True)
class _Service:
    arms: dict[int, _Arm] = field(default_factory=dict)
    n_requests: int = 0
    n_anonymous: int = 0
    n_overridden: int = 0

    def add_user(self, route: str, n: int) -> None:
        if route.startswith(_OVERRIDE):
            self.n_overridden += n
            return
        self.n_requests += n
        self.n_anonymous += n if route in _ANONYMOUS else 0

    def reading(self) -> ServiceReading:
        counts = tuple(c for number, arm in sorted(self.arms.items()) for c in arm.counts(number))
        return ServiceReading(counts, self.n_requests, self.n_anonymous, self.n_overridden)


def tallied(growth: Growth, pods_of: Callable[[str, int], frozenset[str]]) -> Mapping[str, ServiceReading]:
    """Return service -> reading.

    `pods_of` is called with a service and a release's number and returns `host:port` of its endpoints; what it knows
    nothing about is left out.
    """
    services: dict[str, _Service] = {}
    for labels, bins in growth.histograms:
        if found := _arm_of(services, labels, pods_of):
            _add(*found, labels, bins)
    readings = {name: service.reading() for name, service in services.items()}
    return {name: r for name, r in readings.items() if r.counts or r.n_requests or r.n_overridden}


def _add(service: _Service, arm: _Arm, labels: Labels, bins: Bins) -> None:
    n = sum(bins.values())
    overridden = labels["route"].startswith(_OVERRIDE)
    match labels["name"]:
        case "penstock.rq" if int(labels["code"]):
            service.add_user(labels["route"], n)
            if not overridden:
                arm.add_answer(labels, n)
                arm.add_marks(labels, bins)
        case "attempt.failed" if not overridden:
            arm.add_failed_attempt(labels, n)


def _arm_of(
    services: dict[str, _Service], labels: Labels, pods_of: Callable[[str, int], frozenset[str]]
) -> tuple[_Service, _Arm] | None:
    name, _, number = labels.get("arm", "").rpartition("/")
    if not name or not number.isdecimal():
        return None
    known = services.get(name)
    if known and (arm := known.arms.get(int(number))):
        return known, arm
    own = pods_of(name, int(number))
    if not own:
        return None
    service = services.setdefault(name, _Service())
    return service, service.arms.setdefault(int(number), _Arm(own))


def _flags(labels: Labels) -> frozenset[str]:
    return frozenset(labels["flags"].split(","))


def _failed(code: int, flags: frozenset[str]) -> bool:
    return code >= _SERVER_ERROR or not flags <= _BLAMELESS
