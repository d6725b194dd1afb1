"""The laws of ports/model_server.py."""

from abc import abstractmethod
from collections.abc import AsyncIterator

import pytest

from penstock.kernel.errors import EndpointUnreachable, SwapRefused
from penstock.ports.model_server import ModelServer
from penstock.registry.release import Endpoint

#: What the server of the suite serves at first, what it can load besides, and what it cannot.
FIRST = {"acoustic": "1.0.0", "vocoder": "1.0.0"}
GOOD, BAD = "2.0.0", "9.0.0"
_S = 20.0


class ModelServerContract:
    """Hooks: `start`, `stop`, `gone`."""

    @abstractmethod
    async def start(self) -> tuple[ModelServer, Endpoint]:
        """Return a driver, and a server that serves FIRST and can load every version GOOD, but not BAD."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop what `start` started."""

    @abstractmethod
    def gone(self) -> Endpoint:
        """Return an endpoint at which nobody listens."""

    @pytest.fixture
    async def fleet(self) -> AsyncIterator[tuple[ModelServer, Endpoint]]:
        try:
            yield await self.start()
        finally:
            await self.stop()

    async def test_it_says_what_serves_and_what_is_ready(self, fleet: tuple[ModelServer, Endpoint]) -> None:
        servers, node = fleet
        seen = await servers.observe(node, timeout_s=_S)
        assert (dict(seen.versions), seen.canary) == (FIRST, None)
        assert {component: "1.0.0" in ready for component, ready in seen.ready.items()} == {
            "acoustic": True,
            "vocoder": True,
        }

    async def test_what_is_prepared_serves_nobody_until_it_is_switched_to(
        self, fleet: tuple[ModelServer, Endpoint]
    ) -> None:
        servers, node = fleet
        for _ in range(2):
            seen = await servers.prepare(node, {"vocoder": GOOD}, timeout_s=_S)
            assert dict(seen.versions) == FIRST
            assert GOOD in seen.ready["vocoder"]
        for _ in range(2):
            seen = await servers.switch(node, {"vocoder": GOOD}, release="second", timeout_s=_S)
            assert dict(seen.versions) == {"acoustic": "1.0.0", "vocoder": GOOD}
            assert seen.release == "second"
        back = await servers.switch(node, FIRST, release="first", timeout_s=_S)
        assert (dict(back.versions), back.release) == (FIRST, "first")
        assert await servers.observe(node, timeout_s=_S) == back

    async def test_a_switch_never_loads_and_changes_nothing_by_halves(
        self, fleet: tuple[ModelServer, Endpoint]
    ) -> None:
        servers, node = fleet
        await servers.prepare(node, {"acoustic": GOOD}, timeout_s=_S)
        with pytest.raises(SwapRefused):
            await servers.switch(node, {"acoustic": GOOD, "vocoder": GOOD}, release="second", timeout_s=_S)
        assert dict((await servers.observe(node, timeout_s=_S)).versions) == FIRST

    async def test_what_cannot_be_loaded_is_refused_with_the_servers_reason(
        self, fleet: tuple[ModelServer, Endpoint]
    ) -> None:
        servers, node = fleet
        with pytest.raises(SwapRefused, match="damaged"):
            await servers.prepare(node, {"vocoder": BAD}, timeout_s=_S)
        seen = await servers.observe(node, timeout_s=_S)
        assert dict(seen.versions) == FIRST
        assert BAD not in seen.ready["vocoder"]

    async def test_a_split_leaves_everybody_else_where_they_are(self, fleet: tuple[ModelServer, Endpoint]) -> None:
        servers, node = fleet
        with pytest.raises(SwapRefused):
            await servers.split(node, {"vocoder": GOOD}, release="second", timeout_s=_S)
        await servers.prepare(node, {"vocoder": GOOD}, timeout_s=_S)
        seen = await servers.split(node, {"vocoder": GOOD}, release="second", timeout_s=_S)
        assert dict(seen.versions) == FIRST
        assert seen.canary == {"acoustic": "1.0.0", "vocoder": GOOD}
        ended = await servers.split(node, None, release="first", timeout_s=_S)
        assert (dict(ended.versions), ended.canary) == (FIRST, None)

    async def test_what_is_given_up_is_out_of_memory_and_what_serves_is_not(
        self, fleet: tuple[ModelServer, Endpoint]
    ) -> None:
        servers, node = fleet
        seen = await servers.prepare(node, {"vocoder": GOOD}, timeout_s=_S)
        assert seen.prepared["vocoder"] == (GOOD,)
        for _ in range(2):
            seen = await servers.give_up(node, {"vocoder": GOOD}, timeout_s=_S)
            assert (GOOD in seen.ready["vocoder"], seen.prepared["vocoder"]) == (False, ())
        with pytest.raises(SwapRefused):
            await servers.give_up(node, {"vocoder": "1.0.0"}, timeout_s=_S)
        assert dict((await servers.observe(node, timeout_s=_S)).versions) == FIRST

    async def test_a_server_is_told_who_decides(self, fleet: tuple[ModelServer, Endpoint]) -> None:
        servers, node = fleet
        for url in ("http://127.0.0.1:1", None):
            await servers.attach(node, control_plane=url, service="tts", timeout_s=_S)
            assert (await servers.observe(node, timeout_s=_S)).attached_to == url

    async def test_a_server_that_is_gone_is_unreachable(self, fleet: tuple[ModelServer, Endpoint]) -> None:
        servers, _ = fleet
        with pytest.raises(EndpointUnreachable):
            await servers.observe(self.gone(), timeout_s=2.0)
        with pytest.raises(EndpointUnreachable):
            await servers.switch(self.gone(), FIRST, release="first", timeout_s=2.0)
