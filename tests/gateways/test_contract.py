"""The driver keeps the port's laws."""

import asyncio
from collections.abc import Mapping

from penstock.ports.gateway import Gateway
from penstock.registry.release import Release
from penstock.testing.contracts.gateway import GatewayContract
from tests.gateways.lab import Lab

_LEASE_S = 3.0


class TestEnvoyGateway(GatewayContract):
    async def open_gateway(self) -> Gateway:
        self.lab = Lab()
        self.listen = self.lab.listen
        for number in (1, 2):
            await self.lab.start_pods(number)
        return self.lab.open_gateway(lease_s=_LEASE_S)

    async def stop(self) -> None:
        await self.lab.close()

    def release(self, number: int) -> Release:
        (pod,) = self.lab.pods[number]
        return Release("contract", number, f"{number}.0.0", {"model": f"{number}.0.0"}, (pod.endpoint,))

    async def send(self, headers: Mapping[str, str]) -> tuple[int, str]:
        await self.lab.gateway.renew_lease() if self.renewing else None
        try:
            answer = await self.lab.ask(headers=headers)
        except OSError:
            return 0, ""
        return answer.status, answer.release

    async def expire_lease(self) -> None:
        self.renewing = False
        await asyncio.sleep(_LEASE_S * 1.5)

    async def stop_servers(self, release: Release) -> None:
        for pod in self.lab.pods[release.number]:
            pod.die()

    #: Until a test lets the lease expire, it is renewed as a control plane would.
    renewing = True
