"""One arm stands in for the other when it must, and only then; nothing of it is hidden."""

import asyncio
from collections import Counter

import pytest

from penstock.telemetry.envoy import EnvoyTelemetry
from tests.gateways.clients import load, until
from tests.gateways.lab import Lab


class _Told:
    """What telemetry said about each release's pods, summed up."""

    def __init__(self, lab: Lab) -> None:
        self._telemetry = EnvoyTelemetry(
            lab.gateway.admin_socket,
            pods_of=lambda _, number: frozenset(e.address for e in lab.release(number).endpoints),
        )
        self.n: Counter[tuple[int, str]] = Counter()
        self.errors: Counter[tuple[int, str]] = Counter()

    async def read(self) -> None:
        for service in (await self._telemetry.read()).by_service.values():
            for counts in service.counts:
                self.n[counts.release, counts.pod] += counts.n
                self.errors[counts.release, counts.pod] += counts.errors

    async def has(self, n_errors: int) -> bool:
        """Whether so many errors have shown by now."""
        await self.read()
        return self.errors.total() >= n_errors

    async def close(self) -> None:
        await self._telemetry.close()


@pytest.mark.parametrize("fault", ["refused", "reset", "503"])
async def test_a_dead_canary_s_users_are_served_by_stable_and_each_failure_is_counted(lab: Lab, fault: str) -> None:
    await lab.apply(lab.split(10_000))
    (pod,) = lab.pods[2]
    told = _Told(lab)
    async with load(lab.listen) as seen:
        await seen.more()
        await told.read()
        if fault == "refused":
            pod.die()
        else:
            pod.mode = fault
        n_before, n_attempts = seen.n, pod.n_attempts
        await seen.more(200)
    assert seen.n_failed == 0
    assert seen.releases["1.0.0"] >= 150
    # Who met no server of the canary's any more is an error of the canary's too.
    await until(lambda: told.has(seen.n - n_before - 16))
    await asyncio.sleep(0.5)  # for the last ones
    await told.read()
    await told.close()
    key = (2, pod.endpoint.address)
    n_failures = told.errors[key]
    assert n_failures >= 1
    if fault != "refused":  # a server that answers counts for itself
        assert abs(n_failures - (pod.n_attempts - n_attempts)) <= 16  # in flight at the change or at the end
    assert sum(n for (release, _), n in told.n.items() if release == 1) == 0


async def test_a_dead_stable_s_users_are_served_by_the_canary_unless_that_is_rolled_back(lab: Lab) -> None:
    table = await lab.apply(lab.split(0))
    async with load(lab.listen) as seen:
        await seen.more()
        lab.pods[1][0].die()
        await seen.more(200)
        assert seen.n_failed == 0
        assert seen.releases["2.0.0"] >= 150
        await lab.apply(lab.next(table, overrides=False))
        seen.forget()
        await seen.more(100)
    assert seen.statuses[503] >= 90
    assert (await lab.ask()).status == 503


async def test_the_reserve_serves_for_a_dead_stable_under_its_name(lab: Lab) -> None:
    await lab.apply(lab.split(0, overrides=False, reserve=lab.release(2).endpoints))
    async with load(lab.listen) as seen:
        await seen.more()
        lab.pods[1][0].die()
        await seen.more(200)
    assert (seen.n_failed, set(seen.releases)) == (0, {"1.0.0"})


async def test_while_one_stable_pod_lives_no_request_goes_to_the_canary(two: Lab) -> None:
    await two.start_pods(1)
    await two.apply(two.split(0))
    async with load(two.listen) as seen:
        await seen.more()
        for pod in two.pods[1][:2]:
            pod.die()
            await seen.more(300)
        await until(lambda: _n_healthy(two, 1, 1))
        await seen.more(300)
    assert seen.n_failed == 0
    assert set(seen.releases) == {"1.0.0"}


async def _n_healthy(lab: Lab, number: int, n: int) -> bool:
    health = await lab.gateway.fetch_health()
    return sum(health[pod.endpoint.address] for pod in lab.pods[number]) == n


@pytest.mark.parametrize(("status", "is_ejected"), [("503", True), ("500", False)])
async def test_a_pod_that_cannot_serve_is_ejected_but_a_bad_version_is_not(
    two: Lab, status: str, *, is_ejected: bool
) -> None:
    await two.apply(two.table())
    bad, good = two.pods[1]
    bad.mode = status
    async with load(two.listen, method="POST", path="/other") as seen:
        await seen.more(60)
        if is_ejected:
            await until(lambda: _n_healthy(two, 1, 1))
            bad.mode = good.mode = "503"  # now the last one fails as well
            n_before = good.n_attempts
            await seen.more(60)
            assert good.n_attempts > n_before
            assert await two.is_healthy(good)
        else:
            await seen.more(100)
            assert await _n_healthy(two, 1, 2)


async def test_an_arm_s_only_pod_is_never_ejected(lab: Lab) -> None:
    await lab.apply(lab.split(0))
    (pod,) = lab.pods[1]
    pod.mode = "503"
    async with load(lab.listen, method="POST", path="/other") as seen:
        await seen.more(100)
    assert seen.statuses[503] == seen.n
    assert await lab.is_healthy(pod)
    pod.mode = "200"
    await asyncio.sleep(0)
    assert (await lab.ask()).release == "1.0.0"
