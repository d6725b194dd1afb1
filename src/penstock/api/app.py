"""The HTTP application."""

import asyncio
from importlib.metadata import version

from fastapi import FastAPI

from penstock.api import commands, events, health, problems, questions
from penstock.api.guard import BoundedBodies, LocalOnly
from penstock.control.plane import ControlPlane

_DESCRIPTION = "Meters a new AI model into live traffic, judges it, and shuts it off when it is worse."


def create_app(plane: ControlPlane, *, stopped: asyncio.Event | None = None) -> FastAPI:
    """Return the API of a control plane; `stopped` ends the event streams once it is set."""
    app = FastAPI(
        title="Penstock",
        version=version("penstock"),
        description=_DESCRIPTION,
        # The documentation pages would run another host's scripts where a click can change what is released.
        docs_url=None,
        redoc_url=None,
        # What is measured stays on this machine, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses=problems.documented_responses(),
    )
    app.state.plane = plane
    app.state.stopped = stopped or asyncio.Event()
    for part in (questions, commands, events, health):
        app.include_router(part.router)
    app.add_middleware(BoundedBodies)
    app.add_middleware(LocalOnly)
    problems.install(app)
    return app
