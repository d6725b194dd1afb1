"""The API is what its OpenAPI document says, whatever is sent to it."""

from collections import defaultdict
from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from penstock.api.app import create_app
from tests.api.served import Served, quiet
from tests.control.conftest import World


def operations() -> list[tuple[str, str]]:
    paths = create_app(World().plane).openapi()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


async def test_every_route_documents_its_problems(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Penstock"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            for status in ("4XX", "5XX"):
                assert "application/problem+json" in operation["responses"][status]["content"], (method, path)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Served]:
    served = Served(quiet)
    served.world.version = defaultdict(lambda: "9.9.9", served.world.version)  # anything answers anywhere
    served.start()
    yield served
    served.stop()


@pytest.mark.parametrize(("method", "path"), [o for o in operations() if not o[1].endswith("/events")])
def test_nothing_that_is_sent_breaks_it(fuzzed: Served, method: str, path: str) -> None:
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")

    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy())
    def send(case: schemathesis.Case) -> None:
        if "service" in case.path_parameters:
            case.path_parameters["service"] = "tts"
        answer = case.call(timeout=20)
        assert answer.status_code < 500, answer.text
        # What a schema cannot say (a growing ramp, a version that was never seen) may be refused.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    send()


@pytest.mark.parametrize(
    "plan",
    [
        {"repeatable": 5},
        {"repeatable": "GET /*"},
        {"repeatable": [1]},
        {"min_requests": "nan"},
        {"min_requests": "1e999"},
        {"min_requests": 1.5},
        {"max_withdrawals": -1},
        {"request_timeout": 0},
        {"steps": {}},
        {"steps": "10,5,100"},
        {"steps": "50,101"},
        {"dwell": True},
        {"limits": 3},
        {"stepz": "100"},
        {"longest_stall": "0s"},
    ],
)
async def test_a_wrong_plan_is_one_sentence(client: httpx2.AsyncClient, plan: dict[str, object]) -> None:
    body = {"urls": ["http://127.0.0.1:6007"], "plan": plan}
    answer = await client.post("/v1/services/tts/rollouts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-plan")


async def test_a_pattern_no_gateway_could_match_is_refused_before_anything_changes(client: httpx2.AsyncClient) -> None:
    body = {"urls": ["http://127.0.0.1:6007"], "plan": {"repeatable": ["*"]}}
    answer = await client.post("/v1/services/tts/rollouts", json=body)
    assert answer.status_code == 422
    assert "'*' is not a pattern" in answer.json()["detail"]


@pytest.mark.parametrize(
    "url", ["http://[", "http://x:0", "http://\x00", "ftp://x", "http://a:b", "", "http://x\u2100y", "http://h/path"]
)
async def test_a_wrong_url_is_one_sentence(client: httpx2.AsyncClient, url: str) -> None:
    answer = await client.post("/v1/services/tts/rollouts", json={"urls": [url]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-url")
