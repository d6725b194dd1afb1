"""Whatever goes wrong, the answer has one shape."""

import logging
import string
from collections.abc import Iterator

import httpx2
import pytest

from penstock.api.problems import MEDIA_TYPE, STATUSES, problem_of
from penstock.kernel import errors
from penstock.kernel.errors import PenstockError
from tests.control.conftest import World

FIELDS = {"type", "title", "status", "detail", "hint", "code", "facts"}


def every_error(kind: type[PenstockError] = PenstockError) -> Iterator[type[PenstockError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_error(child)


def example(kind: type[PenstockError]) -> PenstockError:
    names = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}
    return kind(**dict.fromkeys(names, "x"))


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
async def test_every_error_class_has_one_shape(
    kind: type[PenstockError], world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = example(kind)

    def fail() -> None:
        raise error

    monkeypatch.setattr(world.plane, "services", fail)
    answer = await client.get("/v1/services")
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = answer.json()
    assert set(problem) == FIELDS
    assert problem["type"] == f"urn:penstock:{kind.code}"
    assert (problem["detail"], problem["hint"], problem["code"]) == (error.message, error.remedy, kind.code)
    assert problem["facts"] == error.facts
    assert answer.status_code == problem["status"] == next(STATUSES[k] for k in kind.__mro__ if k in STATUSES)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidPlan, 422),
        (errors.UnknownService, 404),
        (errors.RolloutInProgress, 409),
        (errors.Quarantined, 403),
        (errors.EndpointUnreachable, 502),
        (errors.TelemetryUnavailable, 503),
        (errors.JournalUnwritable, 507),
        (errors.GatewaySilent, 500),
    ],
)
def test_each_branch_of_the_tree_has_its_status(kind: type[PenstockError], status: int) -> None:
    assert problem_of(example(kind)).status == status


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/nothing", None, 404, "/v1/nothing"),
        ("GET", "/", None, 404, "/"),
        ("PUT", "/v1/services", None, 405, "method not allowed"),
        ("POST", "/v1/services/tts/rollouts", b"{", 400, "not valid JSON"),
        ("POST", "/v1/services/tts/rollouts", b'{"urls": 5}', 422, "urls: input should be a valid list"),
        ("POST", "/v1/services/tts/rollouts", b'{"urls": ["http://127.0.0.1:1"], "uls": 1}', 422, "uls"),
        ("POST", "/v1/services/tts/quarantine", b'{"version": "2", "reason": ""}', 422, "reason"),
        ("DELETE", "/v1/services/tts/quarantine/2", None, 422, "query.reason"),
        ("GET", "/v1/services/tts/history?after=-1", None, 422, "query.after"),
    ],
)
async def test_the_frameworks_own_errors_have_it_too(
    client: httpx2.AsyncClient, method: str, path: str, body: bytes | None, status: int, says: str
) -> None:
    answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
    problem = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert set(problem) == FIELDS
    assert answer.status_code == problem["status"] == status
    assert says in problem["detail"]


async def test_an_unexpected_error_shows_nothing_of_the_inside_and_is_logged(
    world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(world.plane, "services", fail)
    with caplog.at_level(logging.ERROR, "penstock.api"):
        answer = await client.get("/v1/services")
    assert answer.status_code == 500
    assert answer.json()["code"] == "broken"
    assert "secret" not in answer.text
    assert "RuntimeError: secret" in caplog.text


async def test_a_fact_that_json_cannot_carry_is_told_as_text(
    world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise errors.InvalidVersion(version="\ud800")

    monkeypatch.setattr(world.plane, "services", fail)
    answer = await client.get("/v1/services")
    assert answer.status_code == 422
    assert answer.json()["facts"]["version"] == "\ud800"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_huge_body_is_refused_before_it_is_read_whole(client: httpx2.AsyncClient, *, announced: bool) -> None:
    n_sent = 0

    async def chunks() -> object:
        nonlocal n_sent
        for _ in range(100):
            n_sent += 1
            yield b" " * 65_536

    content = b" " * 2_000_000 if announced else chunks()
    answer = await client.post(
        "/v1/services/tts/rollouts", content=content, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (413, MEDIA_TYPE)
    assert n_sent < 30
