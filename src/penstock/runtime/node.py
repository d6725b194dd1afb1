"""The routes of a mounted server, whatever it speaks: who it is, how it is, and the admin that switches its versions.

docs/reference/node.md describes what is said. Everything here may block, so `asgi` calls it in a thread.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from penstock.kernel.errors import (
    AdminRefused,
    ConflictError,
    NotFoundError,
    PenstockError,
    RefusedError,
    UnknownPart,
    UnreachableError,
    UsageError,
)
from penstock.kernel.names import checked_version
from penstock.runtime import upstream
from penstock.runtime.admission import TOKEN_VARIABLE, check_admission
from penstock.runtime.meters import CONTENT_TYPE, Meters
from penstock.runtime.parts import Mounted
from penstock.runtime.pipeline import Pipeline
from penstock.runtime.request import Request
from penstock.runtime.slot import Slot

_PREFIX = "/penstock/v1/"
_ROLLBACK = "/rollback/"
#: What the gateway says: whose request it is, and the how-manieth attempt.
ARM_HEADER, ATTEMPT_HEADER = "x-penstock-arm", "x-envoy-attempt-count"
#: What every answer says.
VERSION_HEADER = "x-model-version"
#: An admin's body is a few names; anything longer is a mistake.
BODY_LIMIT_BYTES = 64 * 1024
#: What these routes' bodies may hold. A field that is misspelt would mean something else: it is refused.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "prepare": ("versions",),
    "switch": ("versions", "release"),
    "split": ("versions", "release"),
    "release": ("versions",),
    "attach": ("control_plane", "service"),
}
_JSON = "application/json"
#: How much of what was asked is quoted in an answer.
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for one of our routes.

    Attributes:
        headers: lower-case names.
        peer: the address it came from; None where that is not known.
        body: None when it did not come whole.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str | None
    body: bytes | None = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers."""

    status: int
    body: bytes
    content_type: str = _JSON


class Node:
    """One mounted server.

    Args:
        slots: what is mounted.
        model: its name at `/version`.
        facts: what else `/version` says, e.g. `build_time`, `sample_rate`, `token_rate`.
        admin_token: what the admin's callers must send; else PENSTOCK_ADMIN_TOKEN. Without one, this machine alone may.

    Attributes:
        draining: the server is about to end; `/health` says so.
    """

    def __init__(
        self,
        slots: Pipeline | Slot[Any],
        *,
        model: str = "",
        facts: Mapping[str, object] | None = None,
        admin_token: str | None = None,
    ) -> None:
        self.parts = Mounted(slots)
        self.meters = Meters(self.parts.shelves)
        self.draining = False
        self._model = model
        self._facts = dict(facts or {})
        self._token = admin_token or os.environ.get(TOKEN_VARIABLE) or None
        self._attached: tuple[str, str] | None = None
        self._busy = threading.Lock()
        self._admin: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "prepare": self._prepare,
            "switch": self._switch,
            "split": self._split,
            "release": self._release,
            "attach": self._attach,
        }

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of ours."""
        return path in ("/health", "/version", "/metrics") or path.startswith((_PREFIX, _ROLLBACK))

    def request(self, headers: Mapping[str, str]) -> Request:
        """Return what leases must know of a request: what failed as the canary's is tried again as stable's."""
        canary = headers.get(ARM_HEADER) == "canary" and headers.get(ATTEMPT_HEADER, "1") == "1"
        return Request(self.parts.pointer, canary=canary)

    def count(self, request: Request, *, status: int, seconds: float) -> None:
        """Count an answer that is over."""
        versions = self.parts.versions_in(request.bundle)
        self.meters.count(versions, status=status, seconds=seconds, audio_s=request.audio_s)

    def label(self, request: Request | None = None) -> str:
        """Return `X-Model-Version` of a request: what it leased; where it leased nothing, what would serve it."""
        bundle = None if request is None else request.bundle or request.pointer.seen_by(request)
        return self.parts.label(self.parts.versions_in(bundle))

    def answer(self, asked: Asked) -> Answer:
        """Answer one request; never raises."""
        try:
            return self._answered(asked)
        except PenstockError as error:
            return _problem(error)

    def _answered(self, asked: Asked) -> Answer:
        if asked.path == "/metrics":
            _check_method(asked, "GET")
            return Answer(HTTPStatus.OK, self.meters.page(), CONTENT_TYPE)
        if asked.path == "/version":
            _check_method(asked, "GET")
            return _json(self._version())
        if asked.path == "/health":
            _check_method(asked, "GET")
            return self._health()
        check_admission(asked.headers, asked.peer, self._token)
        if asked.path.startswith(_ROLLBACK):
            _check_method(asked, "POST")
            return self._rolled_back(asked.path.removeprefix(_ROLLBACK), _object_in(asked, ("to_version",)))
        what = asked.path.removeprefix(_PREFIX)
        if what == "slots":
            _check_method(asked, "GET")
            return _json(self._state())
        if what not in self._admin:
            raise NotFoundError(detail=f"this server has no {asked.path[:_SHOWN]}.")
        _check_method(asked, "POST")
        return _json({**self._admin[what](_object_in(asked, _FIELDS[what])), **self._state()})

    def _health(self) -> Answer:
        ready = len(self.parts.versions) == len(self.parts.shelves)
        word = "draining" if self.draining else "ready" if ready else "starting"
        said = {"status": word, "live": True, "ready": word == "ready"}
        return _json(said, HTTPStatus.OK if word == "ready" else HTTPStatus.SERVICE_UNAVAILABLE)

    def _version(self) -> dict[str, Any]:
        versions = self.parts.versions
        return {
            "model": self._model,
            "version": self.parts.label(versions) or None,
            **self._facts,
            "swappable": True,
            "components": {component: {"version": version} for component, version in versions.items()},
            "release": self.parts.release,
        }

    def _state(self) -> dict[str, Any]:
        components = {
            name: {
                "serving": state.serving,
                "warm": list(state.warm),
                "prepared": list(state.prepared),
                "draining": list(state.draining),
                "failed": dict(state.failed),
            }
            for name, state in self.parts.states.items()
        }
        attached = self._attached
        return {
            "service": attached[1] if attached else None,
            "release": self.parts.release,
            "components": components,
            "canary": self.parts.canary,
            "attached_to": attached[0] if attached else None,
            "busy": self._busy.locked(),
        }

    def _prepare(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        with self._busy:  # one load after the other; who asks again meanwhile waits, and then finds it ready
            self.parts.prepare(_versions_in(asked))
        return {}

    def _switch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.parts.switch(_versions_in(asked), _name_in(asked, "release"))
        return {}

    def _split(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if "versions" not in asked:
            raise UsageError(detail="name the versions, or end the split with null.")
        versions = None if asked["versions"] is None else _versions_in(asked)
        self.parts.split(versions, _name_in(asked, "release"))
        return {}

    def _release(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.parts.give_up(_versions_in(asked))
        return {}

    def _attach(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        url, service = _name_in(asked, "control_plane"), _name_in(asked, "service")
        if url is not None and (service is None or not url.startswith(("http://", "https://"))):
            raise UsageError(detail="attach needs the http:// URL of a control_plane, and the name of a service.")
        self._attached = None if url is None or service is None else (url.rstrip("/"), service)
        return {}

    def _rolled_back(self, component: str, asked: Mapping[str, Any]) -> Answer:
        """Answer `{"status", "new_version", "message"}`, with the version that serves now, whatever was asked for."""
        if component not in self.parts.shelves:
            raise UnknownPart(part=component, known=", ".join(self.parts.shelves))
        to = _name_in(asked, "to_version")
        before = self.parts.versions.get(component)
        try:
            if self._attached is not None:
                upstream.roll_back(*self._attached, component, to)
            else:
                self.parts.roll_back(component, None if to is None else checked_version(to))
        except PenstockError as error:
            said = {"status": "error", "new_version": self.parts.versions.get(component), "message": error.message}
            return _json(said, _status_of(error))
        now = self.parts.versions.get(component)
        message = f"{component} {now} serves" + (f" instead of {before}" if now != before else ", as before")
        return _json({"status": "success", "new_version": now, "message": message})


def _check_method(asked: Asked, method: str) -> None:
    if asked.method != method and not (method == "GET" and asked.method == "HEAD"):
        raise _WrongMethod(detail=f"{asked.path[:_SHOWN]} takes {method}, not {asked.method[:_SHOWN]}.")


def _object_in(asked: Asked, fields: tuple[str, ...]) -> Mapping[str, Any]:
    body = asked.body
    if body is None:
        raise UsageError(detail="the body did not come whole, or without its length.")
    if len(body) > BODY_LIMIT_BYTES:
        raise _TooLarge(detail=f"the body is longer than {BODY_LIMIT_BYTES} bytes.")
    if not body.strip():
        return {}
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UsageError(detail="the body is no JSON object.")
    for name in said:
        if name not in fields:
            raise UsageError(detail=f"the body has a field {name[:_SHOWN]!r}; it may have {', '.join(fields)}.")
    return said


def _versions_in(asked: Mapping[str, Any]) -> dict[str, str]:
    versions = asked.get("versions")
    if not isinstance(versions, dict) or not versions or not all(isinstance(v, str) for v in versions.values()):
        raise UsageError(detail='name the versions, e.g. {"versions": {"vocoder": "1.3.0"}}.')
    return {component: checked_version(version) for component, version in versions.items()}


def _name_in(asked: Mapping[str, Any], field: str) -> str | None:
    said = asked.get(field)
    if said is not None and not isinstance(said, str):
        raise UsageError(detail=f"{field} is no text.")
    return said


def _json(said: Mapping[str, Any], status: int = HTTPStatus.OK) -> Answer:
    return Answer(status, json.dumps(said, ensure_ascii=False).encode())


def _problem(error: PenstockError) -> Answer:
    said = {
        "error": error.message,
        "detail": error.message,
        "remedy": error.remedy,
        "code": error.code,
        "facts": {name: str(value) for name, value in error.facts.items()},
    }
    return _json(said, _status_of(error))


def _status_of(error: PenstockError) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


class _WrongMethod(UsageError):
    __doc__ = UsageError.__doc__


class _TooLarge(UsageError):
    __doc__ = UsageError.__doc__


#: The first that fits.
_STATUSES = (
    (_WrongMethod, HTTPStatus.METHOD_NOT_ALLOWED),
    (_TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (AdminRefused, HTTPStatus.FORBIDDEN),
    (ConflictError, HTTPStatus.CONFLICT),
    (RefusedError, HTTPStatus.CONFLICT),
    (UnreachableError, HTTPStatus.BAD_GATEWAY),
)
