"""Following a service through everything that may happen to the connection."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from penstock.cli.client import Api, service_path
from penstock.kernel.errors import ControlPlaneUnreachable

#: Pauses between attempts, seconds: the first, and the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
#: A control plane that stays away for longer than this is given up, seconds.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something about a service.

    Attributes:
        kind: `entry`, `status`, or `away` while the control plane does not answer.
        value: the entry or the status; empty while away.
    """

    kind: Literal["entry", "status", "away"]
    value: dict[str, Any]


def monotonic_s() -> float:
    return time.monotonic()  # noqa: TID251 - only a person's patience is measured here; nothing is decided by it


class Follower:
    """Yields every journal entry once and in order, and the status about every second, across restarts.

    Attributes:
        seen: seq of the newest entry that was yielded.
    """

    def __init__(self, api: Api, service: str, *, seen: int, say: Callable[[str], None]) -> None:
        self.seen = seen
        self._api = api
        self._service = service
        self._say = say

    def events(self) -> Iterator[Event]:
        """Yield for ever. Raises ControlPlaneUnreachable after two minutes of silence, UnknownService when forgotten."""
        pause_s = _FIRST_PAUSE_S
        lost_s: float | None = None
        while True:
            try:
                for event in self._attempt():
                    if lost_s is not None:
                        self._say("the control plane is back")
                    pause_s, lost_s = _FIRST_PAUSE_S, None
                    yield event
            except ControlPlaneUnreachable:
                if lost_s is None:
                    lost_s = monotonic_s()
                    self._say("the control plane does not answer; trying again (the gateways serve on without it)")
                elif monotonic_s() - lost_s > PATIENCE_S:
                    raise
            yield Event("away", {})
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _attempt(self) -> Iterator[Event]:
        """Yield from one connection, then look once without it: some stand behind what lets no stream through."""
        with contextlib.suppress(ControlPlaneUnreachable):
            yield from self._streamed()
        status = self._api.fetch(service_path(self._service))
        yield from self._missed()
        yield Event("status", status)

    def _streamed(self) -> Iterator[Event]:
        with self._api.events(self._service) as stream:
            fresh = True
            for kind, value in stream:
                if kind == "status":
                    if fresh:
                        # One that is leaving takes no new connection, but this one still tells how it ended.
                        with contextlib.suppress(ControlPlaneUnreachable):
                            yield from self._missed()
                            fresh = False
                    yield Event("status", value)
                elif kind == "entry" and value["seq"] > self.seen:
                    self.seen = value["seq"]
                    yield Event("entry", value)

    def _missed(self) -> Iterator[Event]:
        """Yield what was written while nobody listened."""
        for entry in self._api.fetch(f"{service_path(self._service)}/history", after=self.seen):
            self.seen = entry["seq"]
            yield Event("entry", entry)
