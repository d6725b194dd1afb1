"""Canary traffic that nobody renews comes to an end by itself."""

import asyncio

from penstock.routing.table import OVERRIDE_HEADER
from tests.gateways.clients import until
from tests.gateways.lab import Lab, opened

_LEASE_S = 2.0
_ASKED = {OVERRIDE_HEADER: "canary"}


async def _is_at_canary(lab: Lab) -> bool:
    return (await lab.ask()).release == "2.0.0" and (await lab.ask(headers=_ASKED)).release == "2.0.0"


async def _is_at_stable(lab: Lab) -> bool:
    return (await lab.ask()).release == "1.0.0" and (await lab.ask(headers=_ASKED)).release == "1.0.0"


async def test_a_renewed_lease_holds_and_an_expired_one_ends_split_overrides_and_sampling() -> None:
    async with opened(lease_s=_LEASE_S) as lab:
        await lab.apply(lab.split(10_000))
        await lab.gateway.sample("tts", 1.0)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 1.5 * _LEASE_S
        while loop.time() < end_s:
            await lab.gateway.renew_lease()
            assert await _is_at_canary(lab)
            await asyncio.sleep(0.2)
        await until(lambda: _is_at_stable(lab))
        assert not {"tts", "mirror"} & {key.partition(".")[0] for key in await lab.gateway._admin.fetch_runtime()}
        await lab.gateway.renew_lease()
        await until(lambda: _is_at_canary(lab))


async def test_without_a_control_plane_the_lease_ends_too() -> None:
    async with opened(lease_s=_LEASE_S) as lab:
        await lab.apply(lab.split(10_000))
        assert await _is_at_canary(lab)
        await lab.gateway._ads.close()
        await until(lambda: _is_at_stable(lab))
