"""Looking before acting: whether a port is free, and how a server's health can be asked for."""

import asyncio
import contextlib
import errno
import socket
import ssl
from pathlib import Path

from penstock.kernel.errors import GatewayFailed, PortTaken
from penstock.registry.release import Endpoint

#: A server that answers `/health` later than this is checked by connecting to it, seconds.
_HELLO_S = 2.0


def check_free(listen: str, remedy: str = "choose another one with --listen") -> None:
    """Raise PortTaken where another program listens: Envoy's own socket option would silently share the port."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(address=listen, remedy=remedy) from None
        raise GatewayFailed(why=f"{listen}: {error.strerror}", log="--listen") from None


async def until_free(listen: str, patience_s: float) -> None:
    """Wait until a port that was ours is free; it is not for as long as its listener drains."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while True:
                with contextlib.suppress(PortTaken):
                    return check_free(listen)
                await asyncio.sleep(0.05)


async def answers_health(endpoint: Endpoint, trusted_ca: Path) -> bool:
    """Whether a server answers `/health` in HTTP/1.1, be it with a 404.

    A server that is down is taken for one that will. One that accepts and is silent is not: Envoy keeps a cluster back
    until it has checked it once.
    """
    try:
        async with asyncio.timeout(_HELLO_S):
            secure = ssl.create_default_context(cafile=trusted_ca) if endpoint.scheme == "https" else None
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=secure)
            try:
                writer.write(f"GET /health HTTP/1.1\r\nhost: {endpoint.address}\r\nconnection: close\r\n\r\n".encode())
                return (await reader.read(5)) == b"HTTP/"
            finally:
                writer.transport.abort()
    except TimeoutError:
        return False
    except OSError:
        return True
