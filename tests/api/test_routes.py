"""Every route does what its use case does, under the actor's name."""

from typing import Any

import httpx2
import pytest

from penstock.kernel.errors import JournalDamaged
from tests.control.conftest import CANARY, PLAN, World, answer

TTS = "/v1/services/tts"
BODY = {"urls": [f"http://{CANARY}"], "version": "2.0.1", "plan": PLAN, "reason": "better voice"}
ANN = {"x-penstock-actor": "ann"}


async def started(client: httpx2.AsyncClient) -> dict[str, Any]:
    said = await client.post(f"{TTS}/rollouts", json=BODY, headers=ANN)
    assert said.status_code == 202
    return dict(said.json())


async def kinds(client: httpx2.AsyncClient) -> list[str]:
    return [entry["kind"] for entry in (await client.get(f"{TTS}/history")).json()]


async def test_a_release_is_accepted_and_journalled_under_the_actors_name(client: httpx2.AsyncClient) -> None:
    status = await started(client)
    assert (status["phase"], status["canary"]["release"], status["rollout"]) == ("preflight", "2.0.1", 1)
    entry = next(e for e in (await client.get(f"{TTS}/history")).json() if e["kind"] == "started")
    assert (entry["actor"], entry["reason"]) == ("ann", "better voice")
    assert (await client.get(f"{TTS}/outcome")).json() is None


async def test_the_whole_life_of_a_rollout(client: httpx2.AsyncClient, world: World) -> None:
    await started(client)
    await world.tick(answer(10))
    assert (await client.post(f"{TTS}/pause", json={"reason": "lunch"})).json()["reason"] == "lunch"
    assert (await client.post(f"{TTS}/pause")).status_code == 200
    assert (await client.post(f"{TTS}/resume")).json()["phase"] == "stepping"
    assert (await client.post(f"{TTS}/promote")).json()["weight_pct"] == 50
    assert (await client.post(f"{TTS}/promote", json={"full": True})).json()["phase"] == "baking"
    assert (await client.post(f"{TTS}/promote")).json()["stable"]["release"] == "2.0.1"
    outcome = (await client.get(f"{TTS}/outcome")).json()
    assert (outcome["outcome"], outcome["final"], outcome["applied_at"] is not None) == ("promoted", True, True)
    planned = (await client.get(f"{TTS}/rollback-plan")).json()
    assert planned["target"] == "1.5.0"
    done = (await client.post(f"{TTS}/rollback", json={"reason": "hoarse"})).json()
    assert (done["release"], done["acknowledged"], done["nodes"]) == ("1.5.0", 1, 1)
    await world.tick()
    assert (await client.get(TTS)).json()["quarantined"] == [{"version": "2.0.1", "why": "hoarse"}]
    lifted = await client.delete(f"{TTS}/quarantine/2.0.1", params={"reason": "mended"})
    assert lifted.json() == {"service": "tts", "version": "2.0.1", "quarantined": False}


async def test_an_abort_quarantines_nothing(client: httpx2.AsyncClient, world: World) -> None:
    await started(client)
    await client.post(f"{TTS}/abort")
    status = await world.tick()
    assert (status["phase"], status["outcome"]["outcome"], status["quarantined"]) == ("idle", "aborted", [])


async def test_explain_and_history_tell_what_happened(client: httpx2.AsyncClient, world: World) -> None:
    await started(client)
    await world.healthy(3)
    said = (await client.get(f"{TTS}/explain")).json()
    assert said["verdict"]["word"]
    assert any("longest_stall" in assumption for assumption in said["assumptions"])
    whole = (await client.get(f"{TTS}/history")).json()
    assert [e["seq"] for e in whole] == sorted(e["seq"] for e in whole)
    rest = (await client.get(f"{TTS}/history", params={"after": whole[1]["seq"]})).json()
    assert rest == whole[2:]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"  ann  ", "ann"),
        ("Zo\u00eb \u4f60".encode(), "Zo\u00eb \u4f60"),
        ("Zo\u00eb".encode("latin-1"), "Zo\u00eb"),
        (b"a\x1b[31mn", "a[31mn"),
        (b"x" * 100, "x" * 64),
        (b" ", "anonymous"),
        (None, "anonymous"),
    ],
)
async def test_actors_are_cleaned(client: httpx2.AsyncClient, said: bytes | None, heard: str) -> None:
    headers = {b"x-penstock-actor": said} if said is not None else {}
    await client.post(f"{TTS}/rollouts", json=BODY, headers=headers)
    entries = (await client.get(f"{TTS}/history")).json()
    assert next(e for e in entries if e["kind"] == "started")["actor"] == heard


@pytest.mark.parametrize("name", ["judge", "Controller", "local"])
async def test_nobody_signs_as_penstock_itself(client: httpx2.AsyncClient, name: str) -> None:
    said = await client.post(f"{TTS}/rollouts", json=BODY, headers={"x-penstock-actor": name})
    assert (said.status_code, said.json()["code"]) == (403, "refused")
    assert "started" not in await kinds(client)


async def test_health_and_doctor_when_all_is_well(client: httpx2.AsyncClient) -> None:
    health = (await client.get("/health")).json()
    assert (health["status"], health["services"][0]["nodes_live"]) == ("ok", 1)
    checks = (await client.get("/doctor")).json()
    assert {check["name"].split()[-1] for check in checks} == {"journal", "gateways", "force", "counters", "servers"}
    assert all(check["ok"] and not check["remedy"] for check in checks)


async def test_the_doctor_names_what_is_wrong_and_what_to_do(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged() -> int:
        raise JournalDamaged(path="journal.db", seq=3, why="it was changed")

    monkeypatch.setattr(world.plane, "verify", damaged)
    await started(client)
    world.telemetry.failure = "the admin socket is gone"
    world.gateway.fleet["node-1"].live = False
    for _ in range(20):
        await world.tick(seconds=1.0)
    wrong = {check["name"]: check for check in (await client.get("/doctor")).json() if not check["ok"]}
    assert {"journal", "tts gateways", "tts counters"} <= set(wrong)
    assert all(check["remedy"] for check in wrong.values())
    assert (await client.get("/health")).json()["status"] == "trouble"
