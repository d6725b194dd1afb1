"""The laws of ports/gateway.py, as a client and the control plane can see them."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from penstock.ports.gateway import Gateway
from penstock.registry.release import Release
from penstock.routing.bucket import TOTAL
from penstock.routing.table import OVERRIDE_HEADER, ArmName, RouteTable, predicted_arm
from penstock.testing.contracts.waiting import eventually

_USERS = [f"user-{i}" for i in range(60)]
_HALF = TOTAL // 2


class GatewayContract:
    """Hooks: `open_gateway`, `stop`, `release`, `send`, `expire_lease`, `stop_servers`, and the attribute `listen`."""

    #: Where the service's clients send to, `host:port`; set it in `open_gateway` where it must be a free port.
    listen = "127.0.0.1:0"

    @abstractmethod
    async def open_gateway(self) -> Gateway:
        """Return a gateway of at least one node that is not started yet, and start the servers of releases 1 and 2."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop the gateway and the servers."""

    @abstractmethod
    def release(self, number: int) -> Release:
        """Return release 1 or 2 of the service `contract`, with at least one endpoint that answers 200."""

    @abstractmethod
    async def send(self, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send one user's request to the service; return its status and the name of the release that answered."""

    @abstractmethod
    async def expire_lease(self) -> None:
        """Let more than the lease time pass while nobody renews it."""

    @abstractmethod
    async def stop_servers(self, release: Release) -> None:
        """Stop this release's servers; return at once."""

    @pytest.fixture
    async def unstarted(self) -> AsyncIterator[Gateway]:
        try:
            yield await self.open_gateway()
        finally:
            await self.stop()

    @pytest.fixture
    async def gateway(self, unstarted: Gateway) -> Gateway:
        await unstarted.start(())
        return unstarted

    def table(self, generation: int, **changes: Any) -> RouteTable:
        return RouteTable("contract", generation, self.listen, stable=self.release(1), salt="salt", **changes)

    def split(self, generation: int, weight: int, **changes: Any) -> RouteTable:
        return self.table(generation, canary=self.release(2), weight=weight, **changes)

    async def canary_users(self) -> set[str]:
        """Send one request for each user and return those whom the canary answered; nobody may see an error."""
        reached = set()
        for user in _USERS:
            status, name = await self.send({"x-user-id": user})
            assert status == 200, f"{user} got {status}"
            if name == self.release(2).name:
                reached.add(user)
        return reached

    async def test_it_starts_with_tables_from_before(self, unstarted: Gateway) -> None:
        await unstarted.start((self.split(4, TOTAL),))

        async def is_served() -> bool:
            return await self.send({}) == (200, self.release(2).name)

        await eventually(is_served)
        await unstarted.apply(self.split(5, 0))
        assert await self.canary_users() == set()

    async def test_stable_alone_serves_everybody(self, gateway: Gateway) -> None:
        await gateway.apply(self.table(1))
        assert await self.canary_users() == set()
        assert await self.send({}) == (200, self.release(1).name)

    async def test_applied_means_that_every_live_node_said_so(self, gateway: Gateway) -> None:
        assert {node.generation for node in gateway.nodes("contract")} <= {-1}
        for generation in (1, 2, 5):
            await gateway.apply(self.split(generation, _HALF))
            live = [node for node in gateway.nodes("contract") if node.live]
            assert live
            assert {node.generation for node in live} == {generation}

    async def test_the_split_is_the_predicted_one(self, gateway: Gateway) -> None:
        for generation, weight in enumerate((0, 1000, _HALF, TOTAL), start=1):
            table = self.split(generation, weight)
            await gateway.apply(table)
            predicted = {u for u in _USERS if predicted_arm(table, {"x-user-id": u}) is ArmName.CANARY}
            assert await self.canary_users() == predicted

    async def test_the_same_table_twice_changes_nothing(self, gateway: Gateway) -> None:
        table = self.split(1, _HALF)
        await gateway.apply(table)
        before = await self.canary_users()
        await gateway.apply(table)
        assert await self.canary_users() == before

    async def test_after_rolling_back_nobody_reaches_the_canary(self, gateway: Gateway) -> None:
        await gateway.apply(self.split(1, TOTAL))
        assert await self.canary_users() == set(_USERS)
        await gateway.apply(self.split(2, 0))
        assert await self.canary_users() == set()

    async def test_overrides_reach_an_arm_only_when_they_are_on(self, gateway: Gateway) -> None:
        stable, canary = self.release(1).name, self.release(2).name
        for generation, overrides in enumerate((False, True), start=1):
            await gateway.apply(self.split(generation, 0, overrides=overrides))
            wanted = (200, canary if overrides else stable)
            assert await self.send({OVERRIDE_HEADER: "canary"}) == wanted
            assert await self.send({"cookie": "a=b; gray_test=true"}) == wanted
            assert await self.send({OVERRIDE_HEADER: "stable", "cookie": "gray_test=true"}) == (200, stable)

    async def test_an_expired_lease_returns_the_canary_s_traffic(self, gateway: Gateway) -> None:
        await gateway.apply(self.split(1, TOTAL, overrides=True))
        await gateway.renew_lease()
        assert await self.canary_users() == set(_USERS)
        await self.expire_lease()
        assert await self.canary_users() == set()
        assert await self.send({OVERRIDE_HEADER: "canary"}) == (200, self.release(1).name)

    @pytest.mark.parametrize("dead", [1, 2])
    async def test_an_arm_without_servers_is_served_by_the_other(self, gateway: Gateway, dead: int) -> None:
        await gateway.apply(self.split(1, _HALF))
        await self.stop_servers(self.release(dead))

        async def is_known_dead() -> bool:
            health = await gateway.fetch_health()
            return not any(health.get(endpoint.address, False) for endpoint in self.release(dead).endpoints)

        await eventually(is_known_dead)
        await gateway.renew_lease()
        assert await self.canary_users() == (set(_USERS) if dead == 1 else set())

    async def test_health_names_every_endpoint(self, gateway: Gateway) -> None:
        await gateway.apply(self.split(1, 0))
        wanted = {endpoint.address for n in (1, 2) for endpoint in self.release(n).endpoints}

        async def all_are_healthy() -> bool:
            health = await gateway.fetch_health()
            return all(health.get(address, False) for address in wanted)

        await eventually(all_are_healthy)

    async def test_sampling_costs_no_request(self, gateway: Gateway) -> None:
        await gateway.apply(self.table(1))
        await gateway.sample("contract", 1.0)
        assert await self.canary_users() == set()
        await gateway.sample("contract", 0.0)
        assert await self.canary_users() == set()
