"""Server-sent events for whoever watches a service."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from penstock.api.asking import Plane, Service

router = APIRouter(prefix="/v1/services/{service}", tags=["questions"])


def known(service: Service, plane: Plane) -> str:
    """Raise UnknownService before the first byte of a stream is sent; later there is no status left to say it with."""
    plane.status(service)
    return service


@router.get("/events", response_class=EventSourceResponse, summary="Watch a service")
async def events(
    service: Annotated[str, Depends(known)], plane: Plane, request: Request
) -> AsyncIterator[ServerSentEvent]:
    """`entry` events carry journal entries as they are written, `status` events the service about every second.

    The id of an `entry` is its seq: what a broken connection missed is in `history?after=`. Ends when the control plane
    stops, after its last entries.
    """
    stopped = request.app.state.stopped
    source = cast("AsyncGenerator[dict[str, object]]", plane.watch(service))
    async with contextlib.aclosing(source) as watched:
        async for event in watched:
            kind, content = str(event["event"]), cast("dict[str, object]", event["data"])
            place = str(content["seq"]) if kind == "entry" else None
            yield ServerSentEvent(event=kind, data=content, id=place)
            if kind == "status" and stopped.is_set():
                return
