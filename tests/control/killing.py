"""Kill -9 at a chosen call of a port: what a process that may die holds in its hands."""

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.registry.release import Endpoint

#: Calls that change something. A kill at a question is a kill at the change before or after it.
CHANGES = {
    "journal": ("append",),
    "gateway": ("start", "apply", "sample"),
    "memory": ("save",),
    "registry": ("move", "promote"),
    "servers": ("prepare", "switch", "split", "give_up", "attach"),
}


class Victim(StrEnum):
    """Who is killed."""

    CONTROL_PLANE = "control plane"
    SERVER = "server"


@dataclass(frozen=True, order=True)
class Point:
    """A moment of a run: before or after the nth call of this name."""

    call: str
    nth: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.nth}"


class Killed(BaseException):
    """The process is gone: nothing in it may catch this."""


class Fate:
    """Counts the calls of all ports, and says who is killed at which.

    Attributes:
        begun: before, nothing is counted.
        met: every point passed since then, in order.
        to_come: kills that have not happened.
    """

    def __init__(self, kills: Mapping[Point, Victim]) -> None:
        self.begun = False
        self.met: list[Point] = []
        self.to_come = dict(kills)
        self._counts: Counter[str] = Counter()

    def count(self, call: str) -> int:
        self._counts[call] += 1
        return self._counts[call]

    def meet(self, point: Point) -> Victim | None:
        self.met.append(point)
        return self.to_come.pop(point, None)


#: Is told that a call begins, or is done: its point, and the server that it is for.
Passing = Callable[[Point | None, Endpoint | None], None]


class Doomed:
    """A port as a process holds it that may be killed at any call.

    `passing` is told of every call twice: before, and after it was done; with its point, or None for a question. It may raise.
    """

    def __init__(self, name: str, port: Any, fate: Fate, passing: Passing) -> None:
        self._name = name
        self._port = port
        self._fate = fate
        self._passing = passing

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._port, name)
        if inspect.iscoroutinefunction(asked):
            return self._awaited(name, asked)
        return self._called(name, asked) if callable(asked) else asked

    def _awaited(self, name: str, asked: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **others: Any) -> Any:
            before, after, endpoint = self._moment(name, args)
            self._passing(before, endpoint)
            answer = await asked(*args, **others)
            self._passing(after, endpoint)
            return answer

        return ask

    def _called(self, name: str, asked: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **others: Any) -> Any:
            before, after, endpoint = self._moment(name, args)
            self._passing(before, endpoint)
            answer = asked(*args, **others)
            self._passing(after, endpoint)
            return answer

        return ask

    def _moment(self, name: str, args: tuple[Any, ...]) -> tuple[Point | None, Point | None, Endpoint | None]:
        endpoint = args[0] if args and isinstance(args[0], Endpoint) else None
        if not self._fate.begun or name not in CHANGES[self._name]:
            return None, None, endpoint
        call = f"{self._name}.{name}"
        nth = self._fate.count(call)
        return Point(call, nth, after=False), Point(call, nth, after=True), endpoint
