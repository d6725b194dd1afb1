"""The Envoy process: it outlives its control plane, and its control plane outlives it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.gateways.envoy.driver import EnvoyGateway
from penstock.kernel.errors import PortTaken, StatePathTooLong
from penstock.registry.release import Release
from penstock.routing.table import ArmName, RouteTable, predicted_arm
from penstock.stores.clock import SystemClock
from tests.gateways.clients import load, until
from tests.gateways.lab import Lab, free_port

_USERS = [{"x-user-id": f"user-{number}"} for number in range(40)]


async def _is_split_as(lab: Lab, table: RouteTable) -> bool:
    try:
        served = [(await lab.ask(headers=user)).body for user in _USERS]
    except OSError:
        return False
    return served == [b"v2" if predicted_arm(table, user) is ArmName.CANARY else b"v1" for user in _USERS]


async def test_a_killed_envoy_comes_back_with_the_same_tables(lab: Lab) -> None:
    table = await lab.apply(lab.split(5_000))
    killed = lab.kill_envoy()
    await until(lambda: not lab.gateway.nodes("tts")[0].live)
    assert lab.gateway.nodes("tts")[0].generation == table.generation
    generations = set()

    async def is_back() -> bool:
        (node,) = lab.gateway.nodes("tts")
        generations.add((node.live, node.generation))
        return node.live and node.generation == table.generation

    await until(is_back)
    assert lab.gateway.pid != killed
    assert lab.gateway.n_restarts == 1
    assert generations <= {(False, table.generation), (True, -1), (True, table.generation)}
    await until(lambda: _is_split_as(lab, table))
    await lab.apply(lab.next(table, weight=0))
    assert (await lab.ask()).status == 200


async def test_an_envoy_that_lives_is_taken_over_without_a_failed_request(lab: Lab) -> None:
    table = await lab.apply(lab.split(5_000))
    first = lab.gateway
    async with load(lab.listen) as seen:
        await seen.more()
        await first.close()
        await seen.more()
        second = lab.open_gateway()
        await second.start((table,))
        await second.apply(table)
        await seen.more()
        table = await lab.apply(lab.next(table, weight=10_000))
        await until(lambda: seen.releases["2.0.0"] > 100)
    assert seen.n_failed == 0
    assert second.pid == first.pid
    assert [(node.live, node.generation) for node in second.nodes("tts")] == [(True, table.generation)]
    assert (await lab.ask()).release == "2.0.0"
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: second.n_restarts == 1)  # also one that is not its child is watched


async def test_an_envoy_that_died_while_nobody_watched_is_replaced(lab: Lab) -> None:
    table = await lab.apply(lab.split(0))
    first = lab.gateway
    await first.close()
    killed = lab.kill_envoy()
    os.waitpid(killed, 0)  # noqa: ASYNC222 - it has been killed
    second = lab.open_gateway()
    await second.start((table,))
    assert second.pid != killed
    await until(lambda: _is_split_as(lab, table))


async def test_a_foreign_process_with_the_recorded_pid_is_left_alone(lab: Lab) -> None:
    await lab.apply(lab.table())
    first = lab.gateway
    assert first.pid is not None
    assert await first.stop_envoy()
    await first.close()
    with subprocess.Popen(  # noqa: ASYNC220 - it starts at once and waits for us
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as foreign:
        (lab.folder / "envoy.pid").write_text(str(foreign.pid))
        second = lab.open_gateway()
        await second.start(())
        assert second.pid != foreign.pid
        assert await second.stop_envoy()
        assert foreign.poll() is None
        foreign.communicate(b"\n")


async def test_stopping_leaves_nothing_behind(lab: Lab) -> None:
    await lab.apply(lab.table())
    pid = lab.gateway.pid
    assert await lab.gateway.stop_envoy()
    await lab.gateway.close()
    assert not os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240, PTH110 - procfs does not block
    assert {path.name for path in lab.folder.iterdir()} <= {"envoy.log", "envoy.json"}
    with pytest.raises(ConnectionRefusedError):
        await lab.ask()
    assert not await lab.gateway.stop_envoy()


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEPORT,)])
async def test_a_port_of_another_program_is_refused(lab: Lab, options: tuple[int, ...]) -> None:
    with socket.socket() as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(PortTaken, match=taken):
            await lab.apply(replace(lab.table(), listen=taken))
    await lab.apply(lab.table())
    assert (await lab.ask()).status == 200


async def test_a_program_on_the_port_of_a_known_service_must_be_stopped(lab: Lab) -> None:
    """Whatever `--listen` says, and while a rollout is under way too: clients know that port."""
    table = lab.table()
    await lab.gateway.stop_envoy()
    await lab.gateway.close()
    host, _, port = table.listen.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(PortTaken, match=table.listen) as refused:
        await lab.open_gateway().start((table,))
    assert "stop that program" in str(refused.value.remedy)
    await lab.gateway.start((table,))
    await until(lambda: _is_split_as(lab, table))


async def test_services_have_listeners_of_their_own_and_may_move(lab: Lab) -> None:
    first = await lab.apply(lab.table())
    (pod,) = await lab.start_pods(7, name="asr")
    asr = Release("asr", 1, "1.0.0", {"model": "1.0.0"}, (pod.endpoint,))
    second = RouteTable("asr", 1, f"127.0.0.1:{free_port()}", asr)
    await lab.apply(second)
    with pytest.raises(PortTaken):
        await lab.apply(replace(second, generation=2, listen=first.listen))
    async with load(lab.listen) as seen:
        await seen.more()
        moved = f"127.0.0.1:{free_port()}"
        await lab.apply(replace(second, generation=3, listen=moved))
        client = lab.client(moved)
        await until(lambda: _answers(lab, moved))
        assert (await client.ask()).body == b"asr"
        await seen.more()
    assert seen.n_failed == 0
    assert (await lab.ask()).body == b"v1"


async def _answers(lab: Lab, listen: str) -> bool:
    with contextlib.suppress(OSError):
        return (await lab.client(listen).ask()).status == 200
    return False


def test_a_folder_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(StatePathTooLong):
        EnvoyGateway(Path("/tmp") / ("x" * 100), lease_s=10.0, clock=SystemClock())
