"""`penstock up`: the control plane and its API in one process, until a signal."""

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from penstock.api.app import create_app
from penstock.bootstrap.plane import Composition, UpOptions, composed, take_down
from penstock.control.plane import ControlPlane
from penstock.kernel.errors import AddressNotLocal, InvalidAddress, PortTaken, UsageError
from penstock.rollout.state import ServiceState
from penstock.routing.table import Identity

_FIRST_LISTEN_PORT, _LAST_LISTEN_PORT = 8500, 8599
_LAST_PORT = 65_535


def serve(options: UpOptions, say: Callable[[str], None]) -> None:
    """Adopt, announce, and serve until SIGINT or SIGTERM. Then the canary goes to 0 %, and Envoy serves stable on."""
    with _bound(options.api) as api:
        asyncio.run(_serve(options, api, say))


def down(state_dir: Path, say: Callable[[str], None]) -> None:
    """Stop what `penstock up` started in this folder: the control plane, then the gateway."""
    if state_dir.is_dir() and asyncio.run(take_down(state_dir)):
        say("control plane and gateway are stopped")
    else:
        say(f"nothing runs in {state_dir}")


async def _serve(options: UpOptions, api: socket.socket, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, stop.set)
    async with composed(options, api_url=_url_of(api)) as parts:
        await _begin(parts, options, say)
        server = _Server(
            uvicorn.Config(
                create_app(parts.plane, stopped=parts.loop.stopped), log_level="warning", timeout_graceful_shutdown=2
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[api]))
        _announce(parts.plane, api, say)
        await _first(asyncio.create_task(stop.wait()), asyncio.create_task(parts.loop.stopped.wait()), serving)
        await _leave(parts, say)
        server.should_exit = True
        await serving


async def _begin(parts: Composition, options: UpOptions, say: Callable[[str], None]) -> None:
    """Restore what the journal knows and adopt what it does not; an `up` that fails leaves no more running than before."""
    known = True
    try:
        await parts.loop.start()
        known = bool(parts.loop.services)
        await _adopt(parts.plane, options, say)
    except BaseException:
        await parts.loop.stop()
        if not (known and parts.loop.services):
            await parts.gateway.stop_envoy()
        raise


async def _leave(parts: Composition, say: Callable[[str], None]) -> None:
    rolling = [c for c in parts.loop.services.values() if c.state.canary is not None]
    await parts.loop.stop()
    if parts.loop.fenced_off:
        say("another control plane took over this journal; it decides from now on")
    else:
        for control in rolling:
            say(_left(control.state))
    say("the gateway serves stable on; stop with: penstock down")


def _left(state: ServiceState) -> str:
    in_force = state.applied_generation == state.generation
    where = "is at 0 %" if in_force else "goes to 0 % when its lease ends: the gateway did not acknowledge"
    return f"{state.service}: the canary {where}, resume with: penstock up, then penstock resume {state.service}"


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Wait until one of them is over: a signal came, the loop stopped, or the server ended by itself."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


class _Server(uvicorn.Server):
    """A server that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _adopt(plane: ControlPlane, options: UpOptions, say: Callable[[str], None]) -> None:
    known = {status["service"]: status for status in plane.services()}
    if not known and not options.services:
        raise UsageError(detail="there is nothing to serve yet; name a running server, e.g. tts=http://127.0.0.1:6006")
    taken = {str(status["gateway_url"]).removeprefix("http://") for status in known.values()}
    listens = [_listen(options.listen, place) for place in range(len(options.services))]
    for (service, urls), listen in zip(options.services, listens, strict=True):
        if service not in known:
            await plane.look_at(service, urls, listen=listen)
    for (service, urls), listen in zip(options.services, listens, strict=True):
        if service in known:
            await _keep(plane, known[service], urls, listen, options.identity, say)
        else:
            address = listen or _free_listen(taken)
            taken.add(address)
            await plane.adopt(service, urls, listen=address, identity=options.identity, actor="local")


async def _keep(
    plane: ControlPlane,
    status: dict[str, object],
    urls: tuple[str, ...],
    listen: str | None,
    identity: Identity,
    say: Callable[[str], None],
) -> None:
    """A service that the journal knows stays what the journal says, whatever the command line remembers."""
    service = str(status["service"])
    stable = status["stable"]
    assert isinstance(stable, dict)  # noqa: S101 - views.status_of builds it
    if sorted(urls) != sorted(stable["endpoints"]):
        say(
            f"{service}: the journal says that {stable['release']} at {', '.join(stable['endpoints'])} is stable; "
            f"keeping that instead of {', '.join(urls)}"
        )
    if listen is not None and f"http://{listen}" != status["gateway_url"]:
        await plane.move(service, listen=listen, identity=identity, actor="local")


def _announce(plane: ControlPlane, api: socket.socket, say: Callable[[str], None]) -> None:
    services = plane.services()
    for status in services:
        name = f" {status['service']}" if len(services) > 1 else ""
        say(f"gateway {status['gateway_url']}{name}")
    say(f"api {_url_of(api)}")
    for status in services:
        if status["phase"] != "idle":
            say(f"{status['service']}: {status['phase']}: {status['reason']}; see penstock status {status['service']}")
    say("point clients here")


def _listen(first: str | None, place: int) -> str | None:
    """Return the listener of the service at this place: the first one's port, and the ports after it."""
    if first is None:
        return None
    host, port = _address(first)
    return _joined(*_address(_joined(host, port + place))) if port else _joined(host, _free_port(host))


def _free_listen(taken: set[str]) -> str:
    for port in range(_FIRST_LISTEN_PORT, _LAST_LISTEN_PORT + 1):
        address = f"127.0.0.1:{port}"
        if address not in taken and _is_free(port):
            return address
    return f"127.0.0.1:{_free_port('127.0.0.1')}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port(host: str) -> int:
    try:
        with socket.create_server((host, 0), family=_family(host)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        raise InvalidAddress(address=_joined(host, 0)) from None


@contextlib.contextmanager
def _bound(address: str) -> Iterator[socket.socket]:
    """Bind the API's address before anything else is done. Raises AddressNotLocal, PortTaken, InvalidAddress."""
    host, port = _address(address)
    if not ipaddress.ip_address(host).is_loopback:
        raise AddressNotLocal(address=address)
    try:
        bound = socket.create_server((host, port), family=_family(host))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(address=address, remedy="choose another one with --api") from None
        raise InvalidAddress(address=address) from None
    with bound:
        yield bound


def _address(written: str) -> tuple[str, int]:
    host, _, port = written.rpartition(":")
    host = {"localhost": "127.0.0.1"}.get(host, host.strip("[]"))
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise InvalidAddress(address=written) from None
    if not 0 <= number <= _LAST_PORT:
        raise InvalidAddress(address=written)
    return host, number


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _url_of(api: socket.socket) -> str:
    host, port = api.getsockname()[:2]
    return f"http://{_joined(host, port)}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
