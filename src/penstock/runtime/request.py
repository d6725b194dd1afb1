"""The request that is being answered: on which arm it is, what it leased, and what it says of itself.

A web server's middleware sets it; leases read it. It goes with the request into tasks and threads, as context variables do.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.runtime.lease import Bundle, Pointer


class Request:
    """One request to a mounted server.

    Attributes:
        pointer: of the slots that are mounted; leases on others are not noted.
        canary: the gateway gave it to the canary.
        bundle: what it leased last; None before.
        audio_s: how many seconds of audio it made.
    """

    __slots__ = ("audio_s", "bundle", "canary", "pointer")

    def __init__(self, pointer: "Pointer", *, canary: bool = False) -> None:
        self.pointer = pointer
        self.canary = canary
        self.bundle: Bundle | None = None
        self.audio_s = 0.0


REQUEST: ContextVar[Request | None] = ContextVar("penstock_request", default=None)


def report_audio(seconds: float) -> None:
    """Say that this request made so much audio (>= 0, more each time): `/metrics` tells the real-time factor by it.

    Outside of a request to a mounted server, it does nothing.
    """
    request = REQUEST.get()
    if request is not None:
        request.audio_s += seconds
