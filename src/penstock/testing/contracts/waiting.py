"""Waiting for a condition, since a law that says "soon" needs a bound."""

import asyncio
from collections.abc import Awaitable, Callable

#: Generous: suites also run on machines that are busy with something else.
_PATIENCE_S = 20.0
_PAUSE_S = 0.05


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once `condition` is true; TimeoutError when it is not within 20 s."""
    async with asyncio.timeout(_PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - no port tells when a foreign process has changed
            await asyncio.sleep(_PAUSE_S)
