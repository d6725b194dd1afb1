"""The API, as commands call it. Problems come back as the errors they were on the other side."""

import getpass
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from penstock.kernel import errors
from penstock.kernel.errors import ControlPlaneUnreachable, InvalidUrl, PenstockError

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL = "http://127.0.0.1:8600"
#: A command may wait for servers that are slow to introduce themselves and for gateways that are slow to acknowledge.
_PATIENCE_S = 60.0
#: The stream says something about every second; after this much silence it is dead.
_SILENCE_S = 10.0
_CONNECT_S = 5.0
_FIRST_ERROR = 400


class Api:
    """A control plane at a URL; leave it through `with`. Every method raises ControlPlaneUnreachable, or the error that the answer tells of."""

    def __init__(self, url: str, actor: str | None = None) -> None:
        self.url = _checked(url)
        self._actor = actor or os_user()
        self._client: httpx2.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def fetch(self, path: str, **query: str | int) -> Any:
        """GET a path below the URL; return the JSON value."""
        return self._ask("GET", path, params=query)

    def command(self, service: str, verb: str, **body: object) -> dict[str, Any]:
        """POST a command about a service."""
        answer = self._ask("POST", f"{service_path(service)}/{verb}", json=body)
        assert isinstance(answer, dict)  # noqa: S101 - every command answers with an object
        return answer

    def withdraw(self, path: str, **query: str) -> Any:
        """DELETE a path."""
        return self._ask("DELETE", path, params=query)

    def events(self, service: str) -> AbstractContextManager[Iterator[tuple[str, Any]]]:
        """Open the stream of a service's events; iterate over (`entry` or `status`, its JSON value)."""
        return self._events(f"{service_path(service)}/events")

    @contextmanager
    def _events(self, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
        import httpx2  # noqa: PLC0415 - `penstock --help` must not pay for it

        timeout = httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
        try:
            with self._http().stream("GET", path, timeout=timeout, headers={"accept": "text/event-stream"}) as answer:
                if answer.status_code >= _FIRST_ERROR:
                    answer.read()
                    raise error_from(_json_of(answer), answer.status_code)
                yield ((event.event, event.json()) for event in httpx2.EventSource(answer))
        except (httpx2.TransportError, ValueError) as error:
            raise ControlPlaneUnreachable(url=self.url) from error

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        import httpx2  # noqa: PLC0415 - `penstock --help` must not pay for it

        try:
            answer = self._http().request(method, path, **request)
        except httpx2.TransportError as error:
            raise ControlPlaneUnreachable(url=self.url) from error
        if answer.status_code >= _FIRST_ERROR:
            raise error_from(_json_of(answer), answer.status_code)
        return _json_of(answer)

    def _http(self) -> "httpx2.Client":
        import httpx2  # noqa: PLC0415 - `penstock --help` must not pay for it

        if self._client is None:
            # The API listens on this machine only; a proxy from the environment has no business in between.
            self._client = httpx2.Client(
                base_url=self.url,
                headers={b"x-penstock-actor": self._actor.encode()},
                timeout=httpx2.Timeout(_PATIENCE_S, connect=_CONNECT_S),
                trust_env=False,
            )
        return self._client


def service_path(service: str) -> str:
    return f"/v1/services/{quote(service, safe='')}"


def error_from(problem: object, status: int) -> PenstockError:
    """Return the error a problem tells of: of the same class where this version knows it, else of a like one."""
    said = problem if isinstance(problem, dict) else {}
    kind = _kinds().get(str(said.get("code")))
    if kind is not None and isinstance(said.get("facts"), dict):
        try:
            return kind(**said["facts"])
        except KeyError:
            pass  # another version fills in other facts; its own words are below
    alike = _BY_STATUS.get(status, errors.BrokenError)
    return alike(detail=str(said.get("detail") or f"the control plane answered with status {status}."))


def _kinds() -> Mapping[str, type[PenstockError]]:
    members = vars(errors).values()
    return {kind.code: kind for kind in members if isinstance(kind, type) and issubclass(kind, PenstockError)}


_BY_STATUS: Mapping[int, type[PenstockError]] = {
    400: errors.UsageError,
    403: errors.RefusedError,
    404: errors.NotFoundError,
    405: errors.UsageError,
    409: errors.ConflictError,
    413: errors.UsageError,
    422: errors.UsageError,
    502: errors.UnreachableError,
}


def _json_of(answer: "httpx2.Response") -> Any:
    try:
        return answer.json()
    except json.JSONDecodeError:
        if answer.status_code < _FIRST_ERROR:
            raise ControlPlaneUnreachable(url=str(answer.request.url)) from None  # somebody else answers there
        return None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidUrl(url=url, why="the control plane speaks http")
    return url.rstrip("/")


def os_user() -> str:
    """Return who works here, for the journal."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "anonymous"
