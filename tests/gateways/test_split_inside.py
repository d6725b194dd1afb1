"""One process serves both arms: the gateway marks every request, whatever the client wrote."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from penstock.routing.table import OVERRIDE_HEADER, RouteTable, predicted_arm
from tests.gateways.lab import Lab, opened
from tests.gateways.pods import Pod


@pytest.fixture
async def shared() -> AsyncIterator[Lab]:
    async with opened(n_canary=0) as lab:
        yield lab


def both(lab: Lab, weight: int, **changes: object) -> RouteTable:
    """Return a split of the process of release 1 between two releases."""
    stable = replace(lab.release(1), swapped=True)
    canary = replace(stable, number=2, name="2.0.0", versions={"model": "2.0.0"})
    return lab.table(stable=stable, canary=canary, weight=weight, salt="tts:1:", **{"overrides": True, **changes})


def told(pod: Pod, header: str) -> list[str]:
    """Return what each request so far said in a header."""
    found = (re.search(rf"(?mi)^{header}: (.*?)\r$", head.decode()) for head in pod.heads)
    return [match[1] for match in found if match]


async def test_every_request_says_which_arm_was_chosen(shared: Lab) -> None:
    table = await shared.apply(both(shared, 5000))
    (pod,) = shared.pods[1]
    for number in range(40):
        headers = {"x-user-id": f"user-{number}"}
        answer = await shared.ask(headers=headers)
        arm = predicted_arm(table, headers)
        assert arm is not None
        assert told(pod, OVERRIDE_HEADER)[-1] == arm.value
        assert answer.release == table.release_of(arm).name


async def test_a_client_cannot_choose_while_it_may_not(shared: Lab) -> None:
    await shared.apply(both(shared, 0, overrides=False))
    (pod,) = shared.pods[1]
    await shared.ask(headers={OVERRIDE_HEADER: "canary", "x-user-id": "u"})
    assert told(pod, OVERRIDE_HEADER)[-1] == "stable"


async def test_testers_choose_by_header_and_cookie(shared: Lab) -> None:
    await shared.apply(both(shared, 0))
    (pod,) = shared.pods[1]
    for headers, arm in (
        ({OVERRIDE_HEADER: "canary"}, "canary"),
        ({"cookie": "gray_test=true"}, "canary"),
        ({OVERRIDE_HEADER: "stable", "cookie": "gray_test=true"}, "stable"),
    ):
        await shared.ask(headers=headers)
        assert told(pod, OVERRIDE_HEADER)[-1] == arm


async def test_a_second_attempt_is_told_as_such(shared: Lab) -> None:
    await shared.apply(both(shared, 10000, repeatable=("GET /*",)))
    (pod,) = shared.pods[1]
    pod.mode = "503"
    await shared.ask(headers={"x-user-id": "u"})
    assert told(pod, "x-envoy-attempt-count")[:2] == ["1", "2"]
