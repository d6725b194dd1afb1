"""The arm that `routing` predicts is the arm that the gateway chooses."""

import asyncio
import random

from penstock.routing.bucket import TOTAL
from penstock.routing.table import ArmName, RouteTable, predicted_arm
from tests.gateways.clients import request
from tests.gateways.lab import Lab

_N_USERS = 10_000
_N_CONNECTIONS = 32


def _users() -> list[dict[str, str]]:
    """Return the headers of users as they come: ids of every script, long, odd, and in cookies among others."""
    random_ = random.Random(7)
    users: list[dict[str, str]] = []
    for number in range(_N_USERS):
        kind = number % 12
        user = {
            4: f"用户-{number}-张伟",
            5: random_.randbytes(16).hex(),
            6: f"🎤{number}👩\u200d🚀",
            7: f"{number}" + "x" * (1_990 if number % 120 == 7 else 40),
            8: f"a;b={number};c",
            9: f"two  words {number}",
        }.get(kind, f"user-{number}")
        if kind == 10:
            users.append({"cookie": f"theme=dark; penstock_uid=id-{number}; lang=zh"})
        elif kind == 11:
            users.append({"cookie": f"xpenstock_uid=no; penstock_uid={random_.randbytes(8).hex()}"})
        else:
            users.append({"x-user-id": user})
    return users


class _Pipe(asyncio.Protocol):
    """Sends requests one after another on one connection, without waiting in between for the event loop's streams."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = iter(requests)
        self._buffer = b""
        self.releases: list[str] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        raw = next(self._requests, None)
        if raw is None:
            self.done.set_result(self.releases)
            self._transport.close()
        else:
            self._transport.write(raw)

    def data_received(self, received: bytes) -> None:
        self._buffer += received
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if end and len(body) == 2:  # both pods answer two bytes, `v1` or `v2`
            assert head.startswith(b"HTTP/1.1 200")
            self.releases.append(body.decode())
            self._buffer = b""
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"closed after {len(self.releases)} answers: {error}"))


async def _served(lab: Lab, users: list[dict[str, str]]) -> list[str]:
    """Return which pod answered each user."""
    host, _, port = lab.listen.rpartition(":")
    requests = [request(headers=user) for user in users]
    pipes = [
        (
            await asyncio.get_running_loop().create_connection(
                lambda i=i: _Pipe(requests[i::_N_CONNECTIONS]), host, int(port)
            )
        )[1]
        for i in range(_N_CONNECTIONS)
    ]
    parts = await asyncio.gather(*(pipe.done for pipe in pipes))
    served = [""] * len(users)
    for i, part in enumerate(parts):
        served[i::_N_CONNECTIONS] = part
    return served


async def test_for_ten_thousand_users_the_served_arm_is_the_predicted_one(lab: Lab) -> None:
    users = _users()
    table = await lab.apply(lab.split(0))
    for weight in (100, 1_000, 5_000):
        table = await lab.apply(lab.next(table, weight=weight))
        served = await _served(lab, users)
        predicted = ["v2" if predicted_arm(table, user) is ArmName.CANARY else "v1" for user in users]
        wrong = [user for user, s, p in zip(users, served, predicted, strict=True) if s != p]
        assert wrong == []
        assert 0.8 < served.count("v2") * TOTAL / weight / _N_USERS < 1.25


def _canary_users(served: list[str]) -> set[int]:
    return {number for number, pod in enumerate(served) if pod == "v2"}


async def test_growth_keeps_every_canary_user_and_the_ends_are_exact(lab: Lab) -> None:
    users = _users()[:1_000]
    table = await lab.apply(lab.split(0))
    reached = _canary_users(await _served(lab, users))
    assert reached == set()
    for weight in (100, 1_000, 5_000, 10_000):
        table = await lab.apply(lab.next(table, weight=weight))
        before, reached = reached, _canary_users(await _served(lab, users))
        assert before < reached
    assert len(reached) == len(users)


async def test_another_salt_chooses_other_users(lab: Lab) -> None:
    users = [{"x-user-id": f"user-{number}"} for number in range(1_000)]
    table: RouteTable = await lab.apply(lab.split(5_000))
    first = _canary_users(await _served(lab, users))
    await lab.apply(lab.next(table, salt="tts:2:"))
    second = _canary_users(await _served(lab, users))
    assert 150 < len(first & second) < 350  # independent halves share a quarter
