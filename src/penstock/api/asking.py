"""What routes ask for by type: the control plane, and who is asking."""

import contextlib
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from penstock.control.plane import ControlPlane
from penstock.kernel.errors import RefusedError

ACTOR_HEADER = "X-Penstock-Actor"
ANONYMOUS = "anonymous"
_ACTOR_LENGTH = 64
#: These sign what Penstock decides by itself; nobody else may.
_OWN_ACTORS = frozenset({"judge", "controller", "local"})


def plane_of(request: Request) -> ControlPlane:
    """Return the control plane the application was made for."""
    plane = request.app.state.plane
    assert isinstance(plane, ControlPlane)  # noqa: S101 - create_app put it there
    return plane


def actor_of(
    said: Annotated[str, Header(alias=ACTOR_HEADER, description="Who asks; it stands in the journal")] = ANONYMOUS,
) -> str:
    """Return who asks, cleaned: printable, at most 64 characters. Raises RefusedError for a name of Penstock's own."""
    with contextlib.suppress(UnicodeError):  # header bytes are read as Latin-1, and people write UTF-8
        said = said.encode("latin-1").decode()
    actor = "".join(c for c in said if c.isprintable()).strip()[:_ACTOR_LENGTH] or ANONYMOUS
    if actor.lower() in _OWN_ACTORS:
        raise RefusedError(detail=f"{actor!r} signs what Penstock decides by itself; use another {ACTOR_HEADER}.")
    return actor


Plane = Annotated[ControlPlane, Depends(plane_of)]
Actor = Annotated[str, Depends(actor_of)]
Service = Annotated[str, Path(description="The service's name", examples=["tts"])]
