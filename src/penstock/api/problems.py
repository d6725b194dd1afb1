"""Errors as HTTP answers: one shape, RFC 9457. The only place that knows HTTP status codes of errors."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.kernel.errors import (
    BrokenError,
    ConflictError,
    JournalUnwritable,
    NotFoundError,
    PenstockError,
    RefusedError,
    TelemetryUnavailable,
    UnreachableError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
TOO_LARGE = 413
_UNEXPECTED = 500
_MALFORMED = 400
_NOT_FOUND = 404

#: The nearest ancestor's status counts. Source: RFC 9110, RFC 4918 (507: the server cannot store what was asked).
STATUSES: Mapping[type[PenstockError], int] = {
    PenstockError: 500,
    UsageError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    RefusedError: 403,
    UnreachableError: 502,
    TelemetryUnavailable: 503,
    BrokenError: 500,
    JournalUnwritable: 507,
}

_log = logging.getLogger("penstock.api")


class Problem(BaseModel):
    """What went wrong, in the shape of RFC 9457."""

    type: str = Field(description="urn:penstock: and the code", examples=["urn:penstock:unknown-service"])
    title: str = Field(description="The code in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="One sentence for a person")
    hint: str = Field(description="What to do about it")
    code: str = Field(description="Stable, for scripts", examples=["unknown-service"])
    facts: dict[str, Any] = Field(description="What the sentence was filled in with")


class ProblemResponse(Response):
    """A problem on the wire."""

    media_type = MEDIA_TYPE

    def __init__(
        self, error: PenstockError, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        problem = problem_of(error, status)
        # Escaped to ASCII: a problem may quote what no encoding can carry.
        super().__init__(json.dumps(problem.model_dump()), problem.status, headers)


def problem_of(error: PenstockError, status: int | None = None) -> Problem:
    """Return the problem that tells of an error; `status` overrules the one its class stands for."""
    return Problem(
        type=f"urn:penstock:{error.code}",
        title=error.code.replace("-", " ").capitalize(),
        status=status or next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES),
        detail=error.message,
        hint=error.remedy,
        code=error.code,
        facts={
            name: value if isinstance(value, str | int | float) else str(value) for name, value in error.facts.items()
        },
    )


def documented_responses() -> dict[int | str, dict[str, Any]]:
    """Return what every route says about its errors in the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {
        "4XX": {"description": "Refused, and nothing has changed", "content": content},
        "5XX": {"description": "Something failed or does not answer", "content": content},
    }


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(PenstockError, _on_penstock_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(UnexpectedErrors)


class UnexpectedErrors:
    """Logs an exception nobody foresaw, and answers without showing what is inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:  # the outermost edge: whatever it was, the client gets a problem and the log the traceback
            _log.exception("unexpected error in %s %s", scope.get("method"), scope.get("path"))
            if started or scope["type"] != "http":
                raise
            error = BrokenError(detail="an unexpected error; its traceback is in the control plane's log.")
            await ProblemResponse(error, _UNEXPECTED)(scope, receive, send)


async def _on_penstock_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)  # noqa: S101 - registered for this class alone
    return ProblemResponse(error)


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    first = error.errors()[0]
    malformed = first["type"] == "json_invalid"
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    detail = "the body is not valid JSON." if malformed else f"{where}: {first['msg'].lower()}."
    return ProblemResponse(UsageError(detail=detail), _MALFORMED if malformed else None)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    kind = NotFoundError if error.status_code == _NOT_FOUND else UsageError
    said = f"{error.detail.lower()}: {request.method} {request.url.path}"
    return ProblemResponse(kind(detail=said), error.status_code, error.headers)
