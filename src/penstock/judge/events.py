"""Crashes, restarts and the like: rare events against the time their pods were watched."""

from penstock.judge.counts import NO_POD, Measure
from penstock.judge.limits import MetricLimit
from penstock.judge.poisson import PoissonProcess
from penstock.judge.verdict import MetricEvidence


class EventsMetric:
    """Evidence that the canary has more events per second than stable.

    Single events may withdraw. To condemn, a pod counts at most one event per block: one that crashes in a loop is one
    broken pod.
    """

    holds: str | None = None
    withdraws = False
    proof = 1.0

    def __init__(self, limit: MetricLimit, *, block_length_s: float, n_starts: int | None) -> None:
        self.limit = limit
        self._length_s = block_length_s
        self._single = PoissonProcess(n_starts=n_starts)
        self._blocks = PoissonProcess(n_starts=n_starts)
        self._opened_at_s: float | None = None
        #: Per arm: events and exposure not yet bet on.
        self._open = {True: (0, 0.0), False: (0, 0.0)}
        #: Per arm: pod -> whether it had an event in the open block.
        self._pods: dict[bool, dict[str, bool]] = {True: {}, False: {}}
        self._sums = {True: (0, 0.0), False: (0, 0.0)}

    @property
    def request_evidence(self) -> float:
        return self._single.evidence

    @property
    def block_evidence(self) -> float:
        return self._blocks.evidence

    @property
    def sentence(self) -> str:
        """What was counted, for a person."""
        canary, stable = (f"{n} in {seconds:.0f} pod-seconds" for n, seconds in (self._sums[True], self._sums[False]))
        return f"{self.limit.name}: {canary} against {stable} on stable (limit {self._words})"

    def take(self, at_s: float, measure: Measure, *, probes: bool, warm: tuple[bool, bool] = (True, True)) -> None:
        """Count the events of one pod. Replayed requests cause no exposure of their own."""
        del warm
        if probes or measure.exposure_s <= 0.0:
            return
        if self._opened_at_s is None:
            self._opened_at_s = at_s
        arm = measure.canary
        for sums in (self._open, self._sums):
            n, seconds = sums[arm]
            sums[arm] = (n + measure.n, seconds + measure.exposure_s)
        if measure.pod != NO_POD or not self._pods[arm]:
            self._pods[arm][measure.pod] = self._pods[arm].get(measure.pod, False) or measure.n > 0

    def close_due(self, at_s: float) -> None:
        """Bet on what both arms were watched for."""
        alone = self.limit.limit is not None
        if self._open[True][1] > 0.0 and (alone or self._open[False][1] > 0.0):
            self._bet(self._single, at_s, self._open[True], self._open[False], 1.0)
            self._open = {True: (0, 0.0), False: (0, 0.0)}
        if self._opened_at_s is None or at_s - self._opened_at_s < self._length_s:
            return
        counts = {arm: (sum(pods.values()), float(len(pods))) for arm, pods in self._pods.items()}
        self._bet(self._blocks, at_s, counts[True], counts[False], self._length_s)
        self._opened_at_s = at_s
        self._pods = {True: {}, False: {}}

    def lengthen(self, length_s: float) -> None:
        """Make pod blocks this long."""
        self._length_s = length_s

    def restart_alarm(self) -> None:
        self._single.restart()

    def freeze(self, at_s: float) -> None:
        """Events of stable are still comparable per second of exposure; without any, nothing is bet."""

    def thaw(self, at_s: float) -> None:
        """See freeze."""

    def snapshot(self) -> MetricEvidence:
        (n_canary, canary_s), (n_stable, stable_s) = self._sums[True], self._sums[False]
        return MetricEvidence(
            metric=self.limit.name,
            request_evidence=self.request_evidence,
            block_evidence=self.block_evidence,
            proof=1.0,
            n_canary=n_canary,
            n_stable=n_stable,
            bad_canary_ratio=None,
            bad_stable_ratio=None,
            gap=n_canary / canary_s - n_stable / stable_s if canary_s and stable_s else None,
            gap_interval=None,
            unit="pod-block",
            limit=self._words,
        )

    @property
    def _words(self) -> str:
        limit = self.limit.limit
        return f"{self.limit.ratio:g}x stable's rate" if limit is None else f"{limit:g} per second"

    def _bet(
        self,
        process: PoissonProcess,
        at_s: float,
        canary: tuple[int, float],
        stable: tuple[int, float],
        unit_s: float,
    ) -> None:
        """Bet on events per exposure, one unit of which is `unit_s` seconds of one pod."""
        limit = self.limit.limit
        rho0, delta_hz = (self.limit.ratio, 0.0) if limit is None else (0.0, limit * unit_s)
        process.observe_events(at_s, canary, stable, rho0=rho0, delta_hz=delta_hz)
