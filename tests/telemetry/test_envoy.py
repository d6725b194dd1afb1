"""Against a real Envoy: what it counted, and what telemetry makes of it, add up."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from penstock.kernel.errors import TelemetryUnavailable
from penstock.ports.telemetry import ServiceReading
from penstock.telemetry.envoy import EnvoyTelemetry
from penstock.testing.contracts.telemetry import TelemetryContract
from penstock.testing.contracts.waiting import eventually
from penstock.testing.fakes import merged
from tests.telemetry.lab import Gateway, Pod, running


class World:
    """Release 1 has two pods; release 2 has one, and fails over to those of 1; release 3 has lost its only pod."""

    def __init__(self, gateway: Gateway, stable: tuple[Pod, Pod], canary: Pod) -> None:
        self.gateway = gateway
        self.stable = stable
        self.canary = canary
        self.dead = "127.0.0.1:1"
        self.telemetry = EnvoyTelemetry(gateway.admin_socket, pods_of=self.pods_of)

    def pods_of(self, service: str, number: int) -> frozenset[str]:
        pods = {
            ("tts", 1): {pod.address for pod in self.stable},
            ("tts", 2): {self.canary.address},
            ("tts", 3): {self.dead},
        }
        return frozenset(pods.get((service, number), ()))

    async def ask(self, path: str, n: int = 1) -> Counter[int]:
        """Send n users' requests, one after another; return status -> answers, 0 for a broken one."""
        seen: Counter[int] = Counter()
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            for _ in range(n):
                try:
                    seen[(await client.get(self.gateway.url + path)).status_code] += 1
                except httpx2.TransportError:
                    seen[0] += 1
        return seen

    async def counted(self, is_enough: Callable[[ServiceReading], bool]) -> ServiceReading:
        """Read until it is enough, once more, and return the sum."""
        readings = []

        async def enough() -> bool:
            readings.append(await self.telemetry.read())
            assert readings[-1].complete
            return is_enough(merged(readings).by_service.get("tts", ServiceReading()))

        await eventually(enough)
        readings.append(await self.telemetry.read())
        return merged(readings).by_service["tts"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one, two, canary = Pod(), Pod(), Pod()
    arms = {"tts/1": ((one, two), ()), "tts/2": ((canary,), (one, two)), "tts/3": ((), (one, two))}
    async with running(arms) as gateway:
        world = World(gateway, (one, two), canary)
        await world.telemetry.read()
        yield world
        await world.telemetry.close()


def by_pod(reading: ServiceReading, release: int) -> dict[str, tuple[int, int, int]]:
    """Return pod -> (n, errors, client errors)."""
    return {c.pod: (c.n, c.errors, c.client_errors) for c in reading.counts if c.release == release and c.n}


def has(n: int) -> Callable[[ServiceReading], bool]:
    return lambda reading: reading.n_requests >= n


#: path's mode -> n, errors, client errors of one request to a release with a single pod that is not retried.
_PLAIN = [
    ("ok", (1, 0, 0)),
    ("404", (1, 0, 1)),
    ("500", (1, 1, 0)),
    ("503", (1, 1, 0)),
    ("reset", (1, 1, 0)),
    ("garbage", (1, 1, 0)),
    ("torn", (1, 1, 0)),  # the status was 200
    ("hang", (1, 1, 0)),  # the route's time-out
    ("stuck", (1, 1, 0)),  # the same, after the status
]


async def test_each_way_to_end_is_counted_once(world: World) -> None:
    for mode, expected in _PLAIN:
        await world.ask(f"/2/header/{mode}")
        reading = await world.counted(has(1))
        assert by_pod(reading, 2) == {world.canary.address: expected}, mode
        assert reading.n_requests == 1


async def test_a_rescue_by_the_same_release_hides_nothing(world: World) -> None:
    broken, sound = world.stable
    broken.broken = True
    assert await world.ask("/1/header-retried/ok", 40) == {200: 40}
    reading = await world.counted(has(40))
    assert broken.n_attempts > 0
    assert by_pod(reading, 1) == {
        broken.address: (broken.n_attempts, broken.n_attempts, 0),
        sound.address: (40, 0, 0),
    }


async def test_a_rescue_by_the_other_release_is_one_failure_of_the_canary(world: World) -> None:
    world.canary.broken = True
    assert await world.ask("/2/header-retried/ok", 20) == {200: 20}
    reading = await world.counted(has(20))
    assert by_pod(reading, 2) == {world.canary.address: (20, 20, 0)}
    assert by_pod(reading, 1) == {}
    assert reading.n_requests == 20


async def test_answers_for_a_release_without_pods_are_its_failures(world: World) -> None:
    assert await world.ask("/3/header/ok", 10) == {200: 10}
    assert by_pod(await world.counted(has(10)), 3) == {"-": (10, 10, 0)}


async def test_a_release_without_pods_whose_stand_in_fails_is_not_silent(world: World) -> None:
    for pod in world.stable:
        pod.broken = True
    assert await world.ask("/3/header-retried/ok", 5) == {503: 5}
    assert by_pod(await world.counted(has(5)), 3) == {"-": (5, 5, 0)}


async def test_a_request_that_fails_everywhere_counts_every_own_attempt(world: World) -> None:
    assert await world.ask("/1/header-retried/reset", 5) == {503: 5}
    reading = await world.counted(has(5))
    assert by_pod(reading, 1) == {pod.address: (pod.n_attempts, pod.n_attempts, 0) for pod in world.stable}
    assert sum(pod.n_attempts for pod in world.stable) == 20  # three retries


async def test_a_user_who_leaves_is_nobodys_failure(world: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(world.gateway.url).port)
    writer.write(b"GET /2/header/hang HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(20):
        await world.canary.reached.wait()
    writer.transport.abort()
    await world.ask("/2/header/ok")
    reading = await world.counted(has(1))
    assert by_pod(reading, 2) == {world.canary.address: (1, 0, 0)}
    assert reading.n_requests == 1


async def test_overridden_requests_are_kept_apart(world: World) -> None:
    for mode in ("ok", "503", "fault"):
        await world.ask(f"/2/override-canary-retried/{mode}", 2)
    reading = await world.counted(lambda r: r.n_overridden >= 6)
    assert (reading.counts, reading.n_requests, reading.n_overridden) == ((), 0, 6)


async def test_requests_without_identity_are_counted(world: World) -> None:
    await world.ask("/2/header/ok", 3)
    await world.ask("/1/minted/ok", 2)
    await world.ask("/1/address/ok", 1)
    reading = await world.counted(has(6))
    assert (reading.n_requests, reading.n_anonymous) == (6, 3)


async def test_faults_that_servers_name_are_counted_on_their_pod(world: World) -> None:
    await world.ask("/2/header/fault", 3)
    await world.ask("/2/header/ok", 2)
    reading = await world.counted(has(5))
    assert [(c.pod, c.n, c.errors, c.faults) for c in reading.counts] == [(world.canary.address, 5, 0, {"silence": 3})]


async def test_a_fault_that_is_no_plain_name_is_no_label(world: World) -> None:
    """Whatever a server writes there, Envoy's memory stays small."""
    await world.ask("/2/header/fault-0.83", 3)
    reading = await world.counted(has(3))
    assert [(c.pod, c.n, c.errors, c.faults) for c in reading.counts] == [(world.canary.address, 3, 0, {})]


async def test_errors_and_successes_are_of_the_same_moment(world: World) -> None:
    """Whenever it is read: of requests that fail and succeed in turn, never are many of one kind missing."""

    async def in_turn() -> None:
        for _ in range(100):
            assert await world.ask("/2/header/500") + await world.ask("/2/header/ok") == {500: 1, 200: 1}

    asking = asyncio.create_task(in_turn())
    n = errors = 0
    while not asking.done():
        for reading in (await world.telemetry.read()).by_service.values():
            n += sum(counts.n for counts in reading.counts)
            errors += sum(counts.errors for counts in reading.counts)
        assert abs(n - 2 * errors) <= 2
        await asyncio.sleep(0.02)
    await asking


async def test_latency_is_that_of_the_releases_own_pods(world: World) -> None:
    await world.ask("/2/header/slow", 4)
    world.canary.broken = True
    await world.ask("/2/header-retried/ok", 3)  # answered by the other release

    def has_latency(reading: ServiceReading) -> bool:
        return sum(sum(c.latency_ms.values()) for c in reading.counts if c.release == 2) >= 4

    reading = await world.counted(has_latency)
    (canary,) = (c for c in reading.counts if c.release == 2)
    assert (canary.n, canary.errors) == (7, 3)
    assert sum(canary.latency_ms.values()) == 4
    assert all(edge >= 110 and edge % 10 == 0 for edge in canary.latency_ms)


async def test_a_mixed_crowd_adds_up(world: World) -> None:
    modes = ("ok", "404", "500", "503", "reset", "garbage", "torn", "fault")
    paths = [f"/{arm}/header{retried}/{mode}" for arm in (1, 2) for retried in ("", "-retried") for mode in modes]
    await asyncio.gather(*(world.ask(path, 4) for path in paths))
    reading = await world.counted(has(4 * len(paths)))
    on_stable = {pod.address: pod.n_attempts for pod in world.stable}
    canary = by_pod(reading, 2)
    stable = by_pod(reading, 1)
    assert canary.keys() == {world.canary.address}
    assert canary[world.canary.address][0] == world.canary.n_attempts
    # Attempts that stable's pods made for the canary's users count for neither.
    assert all(n <= on_stable[pod] for pod, (n, _, _) in stable.items())
    # 404s are never retried, so each one is one attempt.
    assert canary[world.canary.address][2] == 8
    assert sum(c for _, _, c in stable.values()) == 8
    for counts in reading.counts:
        assert 0 <= counts.errors <= counts.n
        assert all(n <= counts.n for n in counts.faults.values())


async def test_a_restart_is_told_and_counting_goes_on(world: World) -> None:
    await world.ask("/2/header/ok", 5)
    await world.counted(has(5))
    await world.gateway.stop()
    with pytest.raises(TelemetryUnavailable):
        await world.telemetry.read()
    await world.gateway.start()
    await world.ask("/2/header/ok", 3)
    assert not (await world.telemetry.read()).complete
    assert by_pod(await world.counted(has(3)), 2) == {world.canary.address: (3, 0, 0)}
    await world.ask("/2/header/ok", 2)
    assert by_pod(await world.counted(has(2)), 2) == {world.canary.address: (2, 0, 0)}


async def test_an_answer_that_is_not_envoys_is_an_error(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    path = tmp_path / "s"
    telemetry = EnvoyTelemetry(path, pods_of=lambda _service, _number: frozenset())
    with pytest.raises(TelemetryUnavailable, match="/s: "):
        await telemetry.read()
    async with await asyncio.start_unix_server(refuse, path):
        with pytest.raises(TelemetryUnavailable, match="503"):
            await telemetry.read()
    await telemetry.close()


class TestContract(TelemetryContract):
    async def start(self) -> EnvoyTelemetry:
        self._stack = AsyncExitStack()
        self._pod = Pod()
        self._gateway = await self._stack.enter_async_context(running({"contract/1": ((self._pod,), ())}))
        self._telemetry = EnvoyTelemetry(
            self._gateway.admin_socket,
            pods_of=lambda _service, _number: frozenset({self._pod.address}),
            timeout_s=0.5,
        )
        self._stack.push_async_callback(self._telemetry.close)
        await self._telemetry.read()
        return self._telemetry

    async def stop(self) -> None:
        await self._stack.aclose()

    async def answer(self, n: int, *, errors: int = 0) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            for i in range(n):
                mode = "500" if i < errors else "ok"
                await client.get(f"{self._gateway.url}/1/header/{mode}")

    @contextlib.contextmanager
    def unavailable(self) -> Iterator[None]:
        """The process stands still, as on a machine that is short of memory."""
        self._gateway.freeze()
        try:
            yield
        finally:
            self._gateway.thaw()
