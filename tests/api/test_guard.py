"""No web page may use the API through somebody's browser."""

import httpx2
import pytest

from tests.api.conftest import BASE_URL
from tests.control.conftest import World


@pytest.mark.parametrize(
    "host",
    ["penstock.example", "127.0.0.1.nip.example:8600", "192.0.2.1:8600", "[2001:db8::1]:8600", "", "localhost.example"],
)
async def test_a_host_that_is_not_this_machine_is_refused(client: httpx2.AsyncClient, host: str) -> None:
    for path in ("/health", "/v1/services", "/openapi.json", "/nothing"):
        answer = await client.get(path, headers={"host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8600", "LOCALHOST", "[::1]:8600", "127.1.2.3:1"])
async def test_names_of_this_machine_are_welcome(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:8601", "https://127.0.0.1:8600"])
async def test_another_origin_changes_nothing(client: httpx2.AsyncClient, world: World, origin: str) -> None:
    body = {"version": "9", "reason": "mischief"}
    answer = await client.post("/v1/services/tts/quarantine", json=body, headers={"origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "refused")
    assert world.plane.status("tts")["quarantined"] == []
    assert (await client.get("/health", headers={"origin": origin})).status_code == 200


async def test_our_own_origin_may(client: httpx2.AsyncClient, world: World) -> None:
    body = {"version": "9", "reason": "known bad"}
    answer = await client.post("/v1/services/tts/quarantine", json=body, headers={"origin": BASE_URL})
    assert answer.status_code == 200
    assert world.plane.status("tts")["quarantined"] == [{"version": "9", "why": "known bad"}]
