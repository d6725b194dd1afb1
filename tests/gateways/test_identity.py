"""Overrides, and users who carry no identity yet."""

from dataclasses import replace

import pytest

from penstock.routing.table import OVERRIDE_HEADER, Identity, predicted_arm
from tests.gateways.clients import until
from tests.gateways.lab import Lab

_TO_CANARY = [{OVERRIDE_HEADER: "canary"}, {"cookie": "gray_test=true"}, {"cookie": "a=b; gray_test=true ; c=d"}]
_NOT_TO_CANARY = [{}, {OVERRIDE_HEADER: "other"}, {"cookie": "gray_test=false"}, {"cookie": "xgray_test=true"}]


async def test_overrides_choose_the_arm_until_the_release_is_rolled_back(lab: Lab) -> None:
    table = await lab.apply(lab.split(0))
    assert {(await lab.ask(headers=headers)).release for headers in _TO_CANARY} == {"2.0.0"}
    assert {(await lab.ask(headers=headers)).release for headers in _NOT_TO_CANARY} == {"1.0.0"}
    table = await lab.apply(lab.next(table, weight=10_000))
    to_stable = {OVERRIDE_HEADER: "stable", "cookie": "gray_test=true"}
    assert (await lab.ask(headers=to_stable)).release == "1.0.0"
    assert (await lab.ask()).release == "2.0.0"
    await lab.apply(lab.next(table, weight=0, overrides=False))
    assert {(await lab.ask(headers=headers)).release for headers in _TO_CANARY} == {"1.0.0"}


async def test_a_minted_cookie_leads_where_its_first_request_went(lab: Lab) -> None:
    table = await lab.apply(lab.split(5_000))
    reached = set()
    for _ in range(40):
        first = await lab.ask(headers={"x-penstock-mint": "spoofed"})
        cookie = first.headers["set-cookie"]
        name_and_value, *attributes = cookie.split("; ")
        assert name_and_value.startswith("penstock_uid=")
        assert "spoofed" not in cookie
        assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes)
        again = {"cookie": f"theme=dark; {name_and_value}"}
        followed = await lab.ask(headers=again)
        assert followed.release == first.release == table.release_of(predicted_arm(table, again)).name  # type: ignore[arg-type]
        assert "set-cookie" not in followed.headers
        reached.add(first.release)
    assert reached == {"1.0.0", "2.0.0"}


async def test_who_carries_an_identity_is_given_none(lab: Lab) -> None:
    await lab.apply(lab.split(5_000))
    for headers in ({"x-user-id": "u"}, {"cookie": "penstock_uid=u"}):
        assert "set-cookie" not in (await lab.ask(headers=headers)).headers
    for headers in ({"x-user-id": ""}, {"cookie": "penstock_uid="}, {"cookie": "xpenstock_uid=u"}):
        assert "set-cookie" in (await lab.ask(headers=headers)).headers


async def test_the_header_wins_over_the_cookie(lab: Lab) -> None:
    table = await lab.apply(lab.split(5_000))
    for number in range(20):
        headers = {"x-user-id": f"user-{number}", "cookie": f"penstock_uid=other-{number}"}
        arm = predicted_arm(table, headers)
        assert arm is not None
        assert (await lab.ask(headers=headers)).release == table.release_of(arm).name


@pytest.mark.parametrize("identity", [Identity(header="x-account", cookie="session.id")])
async def test_header_and_cookie_can_be_named_otherwise(lab: Lab, identity: Identity) -> None:
    table = await lab.apply(replace(lab.split(5_000), identity=identity))
    for number in range(20):
        for headers in ({"x-account": f"a{number}", "x-user-id": "u"}, {"cookie": f"session.id=a{number}; x=y"}):
            arm = predicted_arm(table, headers)
            assert arm is not None
            assert (await lab.ask(headers=headers)).release == table.release_of(arm).name


async def test_an_address_is_one_user_and_no_cookie_is_minted(lab: Lab) -> None:
    await lab.apply(lab.split(5_000, identity=Identity(use_address=True)))
    answers = [await lab.ask() for _ in range(20)]
    assert len({answer.release for answer in answers}) == 1
    assert all("set-cookie" not in answer.headers for answer in answers)


async def test_servers_never_see_what_only_the_gateway_needs(lab: Lab) -> None:
    await lab.apply(lab.split(0))
    await lab.gateway.sample("tts", 1.0)
    await lab.ask()
    (pod,) = lab.pods[1]
    await until(lambda: pod.n_attempts == 1)
    assert b"x-penstock-service" not in pod.heads[0].lower()
