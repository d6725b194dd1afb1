"""Which endpoints Envoy may send to: a dead one must be found, a busy one must be left alone."""

import asyncio

from tests.gateways.clients import load, until
from tests.gateways.lab import Lab
from tests.gateways.pods import Pod


async def _count_checks(pod: Pod, n: int = 2) -> None:
    """Wait until a pod was asked for its health `n` more times."""
    goal = pod.n_health + n
    await until(lambda: pod.n_health >= goal)


async def test_a_server_without_health_is_healthy(lab: Lab) -> None:
    (pod,) = lab.pods[1]
    pod.health = "404"
    await lab.apply(lab.table())
    await _count_checks(pod)
    assert await lab.is_healthy(pod)


async def test_a_server_that_says_that_it_is_not_well_is_out_until_it_is(two: Lab) -> None:
    pod, other = two.pods[1]
    await two.apply(two.table())
    pod.health = "503"
    await until(lambda: _is_out(two, pod))
    async with load(two.listen) as seen:
        await seen.more(20)
        n_attempts = pod.n_attempts
        await seen.more(60)
    assert pod.n_attempts == n_attempts
    assert seen.n_failed == 0
    pod.health = "200"
    await until(lambda: two.is_healthy(pod))
    assert await two.is_healthy(other)


async def _is_out(lab: Lab, pod: Pod) -> bool:
    return not await lab.is_healthy(pod)


async def test_a_dead_endpoint_is_found_without_traffic(two: Lab) -> None:
    await two.apply(two.split(0))
    for pod in (two.pods[1][0], two.pods[2][0]):
        pod.die()
    await until(lambda: _is_out(two, two.pods[1][0]), 8)
    await until(lambda: _is_out(two, two.pods[2][0]), 8)
    await two.pods[1][0].start()
    await until(lambda: two.is_healthy(two.pods[1][0]), 8)


async def test_a_server_too_busy_for_its_health_is_adopted_and_served_at_once(lab: Lab) -> None:
    (pod,) = lab.pods[1]
    pod.health = "hang"
    await lab.apply(lab.table())
    async with load(lab.listen) as seen:
        await seen.more(50)
    assert seen.n_failed == 0
    assert await lab.is_healthy(pod)


async def test_a_server_that_becomes_too_busy_stays_in_also_when_a_rollout_begins(lab: Lab) -> None:
    table = await lab.apply(lab.table(request_timeout_s=1.0))
    (pod,) = lab.pods[1]
    pod.health = "hang"
    async with load(lab.listen) as seen:
        await asyncio.sleep(4.0)  # longer than any time-out that could end a probe
        assert await lab.is_healthy(pod)
        table = await lab.apply(lab.next(table, canary=lab.release(2), overrides=True, salt="s"))
        await asyncio.sleep(2.0)  # the canary's probes pass meanwhile
        assert seen.n_failed == 0
        assert set(seen.releases) == {"1.0.0"}


async def test_a_server_that_falls_silent_after_its_first_probe_is_adopted_too(lab: Lab) -> None:
    (pod,) = lab.pods[1]
    pod.health = "once"
    await lab.apply(lab.table())
    assert (await lab.ask()).release == "1.0.0"


async def test_a_canary_that_was_never_well_costs_no_request(lab: Lab) -> None:
    await lab.apply(lab.table())
    lab.pods[2][0].health = "once"
    async with load(lab.listen) as seen:
        await lab.apply(lab.split(10_000))
        await seen.more(100)
    assert seen.n_failed == 0


async def test_after_envoy_s_death_a_busy_server_is_served_again(lab: Lab) -> None:
    await lab.apply(lab.split(0))
    (pod,) = lab.pods[1]
    pod.health = "hang"
    lab.kill_envoy()
    await until(lambda: lab.gateway.n_restarts == 1)

    async def is_served() -> bool:
        try:
            return (await lab.ask()).release == "1.0.0"
        except OSError:
            return False

    await until(is_served)
