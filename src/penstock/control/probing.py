"""Testing a withdrawn canary: recorded requests are replayed on both releases."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from penstock.judge.counts import PodCounts, Round, Tick
from penstock.ports.clock import Clock
from penstock.ports.mirror import Mirror, Outcome, RecordedRequest
from penstock.registry.release import Release
from penstock.routing.table import ArmName

#: Pairs per second at most, so that testing never loads a server. Source: JUDGE section 10.6.
_MAX_RATE_HZ = 10.0
#: A replayed request that takes longer has failed on either side.
_PATIENCE_S = 30.0
#: Two significant digits, as the gateway's histograms have them.
_DIGITS = 10
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


class Prober:
    """Replays one rollout's recorded requests while its canary is withdrawn.

    It goes round the recorded requests, one pair at a time: the same request to a canary pod and to a stable pod. Once
    a request failed on the canary and passed on stable (a suspect) while another passed on both (a control), rounds
    are played in between: suspect on canary, suspect on stable, control on canary, in random order. A round's answers
    are evidence of their own and never counted as errors: the suspect was chosen because it failed.
    """

    def __init__(
        self,
        mirror: Mirror,
        clock: Clock,
        rng: np.random.Generator,
        *,
        canary: Release,
        stable: Release,
        marked: bool = False,
    ) -> None:
        """`marked`: the same processes serve both releases, and are told with each request which one is meant."""
        self._mirror = mirror
        self._clock = clock
        self._rng = rng
        self._canary = canary
        self._stable = stable
        self._marked = marked
        self._suspects: dict[int, RecordedRequest] = {}
        self._controls: dict[int, RecordedRequest] = {}
        self._turn = 0
        self._n_recorded = 0

    @property
    def has_gone_round(self) -> bool:
        """Whether every recorded request had its turn: one that was not replayed yet may be the one that fails."""
        return 0 < self._n_recorded <= self._turn

    async def run(self, on_tick: Callable[[Tick], None], on_round: Callable[[Round], None]) -> None:
        """Replay until cancelled."""
        while True:
            started_s = self._clock.monotonic_s()
            recorded = self._mirror.recorded(self._canary.service)
            if recorded:
                on_tick(await self.pair(recorded))
                if outcome := await self.round(recorded):
                    on_round(outcome)
            spent_s = self._clock.monotonic_s() - started_s
            await asyncio.sleep(max(1 / _MAX_RATE_HZ - spent_s, 0.0))

    async def pair(self, recorded: Sequence[RecordedRequest]) -> Tick:
        """Replay the next request on both releases and return what happened."""
        request = recorded[self._turn % len(recorded)]
        on_canary, on_stable = await asyncio.gather(
            self._replay(request, ArmName.CANARY), self._replay(request, ArmName.STABLE)
        )
        self._turn += 1
        self._n_recorded = len(recorded)
        self._remember(request, on_canary, on_stable)
        return Tick(
            at_s=self._clock.monotonic_s(),
            canary=(_counts(self._canary, on_canary),),
            stable=(_counts(self._stable, on_stable),),
            probes=True,
        )

    async def round(self, recorded: Sequence[RecordedRequest]) -> Round | None:
        """Play one round, or return None while there is no suspect with a control."""
        known = {request.key for request in recorded}
        suspects = [r for key, r in self._suspects.items() if key in known]
        controls = [r for key, r in self._controls.items() if key in known]
        if not suspects or not controls:
            return None
        suspect = suspects[self._turn % len(suspects)]
        control = controls[self._turn % len(controls)]
        calls = ((suspect, ArmName.CANARY), (suspect, ArmName.STABLE), (control, ArmName.CANARY))
        failed = [False] * len(calls)
        for i in self._rng.permutation(len(calls)):
            failed[i] = (await self._replay(*calls[i])).failed
        return Round(
            suspect_fails_on_canary=failed[0], suspect_fails_on_stable=failed[1], control_fails_on_canary=failed[2]
        )

    def _remember(self, request: RecordedRequest, on_canary: Outcome, on_stable: Outcome) -> None:
        self._suspects.pop(request.key, None)
        self._controls.pop(request.key, None)
        if on_canary.failed and not on_stable.failed:
            self._suspects[request.key] = request
        elif not on_canary.failed and not on_stable.failed:
            self._controls[request.key] = request

    async def _replay(self, request: RecordedRequest, arm: ArmName) -> Outcome:
        release = self._canary if arm is ArmName.CANARY else self._stable
        pod = release.endpoints[self._turn % len(release.endpoints)]
        mark = arm if self._marked else None
        return await self._mirror.replay(request, pod, timeout_s=_PATIENCE_S, arm=mark)


def _counts(release: Release, outcome: Outcome) -> PodCounts:
    answered = outcome.status != 0
    return PodCounts(
        release=release.number,
        pod=outcome.pod,
        n=1,
        errors=int(not answered or outcome.status >= _SERVER_ERROR),
        client_errors=int(_CLIENT_ERROR <= outcome.status < _SERVER_ERROR),
        faults={outcome.fault: 1} if outcome.fault else {},
        latency_ms={_edge(outcome.latency_ms): 1} if answered else {},
    )


def _edge(latency_ms: float) -> int:
    """Return the lower edge of the bin: whole milliseconds, two significant digits, rounded down."""
    whole = int(latency_ms)
    scale = 1
    while whole // scale >= _DIGITS * 10:
        scale *= 10
    return whole // scale * scale
