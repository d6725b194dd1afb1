"""A mounted server's routes, over real ASGI and WSGI servers."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from penstock.runtime import Slot
from penstock.runtime.node import BODY_LIMIT_BYTES, Answer, Asked, Node
from tests.end_to_end.programs import until
from tests.servers.toys import Toy, free_port

BEFORE, AFTER = "acoustic-1.0.0+vocoder-1.0.0", "acoustic-1.0.0+vocoder-2.0.0"


@pytest.fixture(params=["asgi", "wsgi"])
def toy(request: pytest.FixtureRequest) -> Iterator[Toy]:
    with Toy(request.param) as toy:
        yield toy


def test_it_says_who_and_how_it_is(toy: Toy) -> None:
    said = toy.client.get("/version").json()
    assert (said["model"], said["version"], said["sample_rate"]) == ("toy", BEFORE, 22050)
    assert said["components"]["vocoder"] == {"version": "1.0.0"}
    health = toy.client.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "ready", "live": True, "ready": True})
    assert toy.client.head("/health").content == b""


def test_every_answer_says_which_versions_made_it(toy: Toy) -> None:
    answer = toy.post("/synthesize")
    assert answer.json() == {"acoustic": "acoustic 1.0.0", "vocoder": "vocoder 1.0.0"}
    assert answer.headers["x-model-version"] == BEFORE
    assert toy.client.get("/nothing").headers["x-model-version"] == BEFORE


def test_the_canarys_requests_get_the_canarys_set_on_their_first_attempt(toy: Toy) -> None:
    toy.post("/penstock/v1/prepare", {"versions": {"vocoder": "2.0.0"}}).raise_for_status()
    toy.post("/penstock/v1/split", {"versions": {"vocoder": "2.0.0"}, "release": "second"}).raise_for_status()
    for headers, label in (
        ({}, BEFORE),
        ({"x_penstock_arm": "stable"}, BEFORE),
        ({"x_penstock_arm": "canary"}, AFTER),
        ({"x_penstock_arm": "canary", "x_envoy_attempt_count": "1"}, AFTER),
        ({"x_penstock_arm": "canary", "x_envoy_attempt_count": "2"}, BEFORE),
    ):
        answer = toy.post("/synthesize", **headers)
        assert answer.headers["x-model-version"] == label
        assert answer.json()["vocoder"] == f"vocoder {label[-5:]}"
    toy.post("/penstock/v1/split", {"versions": None}).raise_for_status()
    assert toy.post("/synthesize", x_penstock_arm="canary").headers["x-model-version"] == BEFORE


def test_rolling_back_answers_with_what_serves_now(toy: Toy) -> None:
    refused = toy.post("/rollback/vocoder")
    assert refused.status_code == 409
    assert refused.json()["new_version"] == "1.0.0"
    ahead = toy.post("/rollback/vocoder", {"to_version": "2.0.0"}).json()
    assert ahead == {"status": "success", "new_version": "2.0.0", "message": "vocoder 2.0.0 serves instead of 1.0.0"}
    assert toy.post("/rollback/vocoder").json()["new_version"] == "1.0.0"
    damaged = toy.post("/rollback/vocoder", {"to_version": "9.0.0"})
    assert (damaged.status_code, damaged.json()["new_version"]) == (409, "1.0.0")
    assert "damaged" in damaged.json()["message"]
    assert toy.post("/rollback/emotion").status_code == 404
    assert toy.post("/synthesize").headers["x-model-version"] == BEFORE


def test_an_attached_server_forwards_and_changes_nothing_itself(toy: Toy) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    toy.post("/penstock/v1/attach", {"control_plane": nobody, "service": "tts"}).raise_for_status()
    answer = toy.post("/rollback/vocoder", {"to_version": "2.0.0"})
    assert answer.status_code == 502
    assert answer.json()["new_version"] == "1.0.0"
    assert nobody in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/penstock/v1/prepare", b"{", 400, "no JSON object"),
        ("POST", "/penstock/v1/prepare", b"[" * 50_000, 400, "no JSON object"),
        ("POST", "/penstock/v1/prepare", b"\xff", 400, "no JSON object"),
        ("POST", "/penstock/v1/split", b"{}", 400, "end the split with null"),
        (
            "POST",
            "/rollback/vocoder",
            b'{"to_versoin": "2.0.0"}',
            400,
            "has a field 'to_versoin'; it may have to_version",
        ),
        ("POST", "/penstock/v1/prepare", b"[]", 400, "no JSON object"),
        ("POST", "/penstock/v1/prepare", b"{}", 400, "name the versions"),
        ("POST", "/penstock/v1/prepare", b'{"versions": {"vocoder": 1}}', 400, "name the versions"),
        ("POST", "/penstock/v1/prepare", b'{"versions": {"vocoder": "a b"}}', 400, "cannot name a version"),
        ("POST", "/penstock/v1/prepare", b'{"versions": {"emotion": "1.0.0"}}', 404, "no part 'emotion'"),
        ("POST", "/penstock/v1/prepare", b" " * (BODY_LIMIT_BYTES + 1), 413, "longer than"),
        ("POST", "/penstock/v1/switch", b'{"versions": {"vocoder": "2.0.0"}}', 409, "not prepared"),
        ("POST", "/penstock/v1/switch", b'{"versions": {"vocoder": "1.0.0"}, "release": 1}', 400, "release is no text"),
        ("POST", "/penstock/v1/attach", b'{"control_plane": "ftp://x", "service": "tts"}', 400, "attach needs"),
        ("POST", "/penstock/v1/release", b'{"versions": {"vocoder": "1.0.0"}}', 409, "it serves"),
        ("GET", "/penstock/v1/prepare", b"", 405, "takes POST"),
        ("POST", "/version", b"", 405, "takes GET"),
        ("GET", "/penstock/v1/nothing", b"", 404, "/penstock/v1/nothing"),
    ],
)
def test_wrong_requests_get_one_sentence(toy: Toy, method: str, path: str, body: bytes, status: int, said: str) -> None:
    answer = toy.client.request(method, path, content=body)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True)
    assert toy.client.get("/version").json()["version"] == BEFORE


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": "10.0.0.9"},
        {"x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=10.0.0.9"},
        {"x_real_ip": "10.0.0.9"},
        {"via": "1.1 proxy"},
        {"x_penstock_arm": "stable"},
        {"origin": "https://example.org"},
        {"host": "rebound.example.org"},
        {"host": "[::1"},
    ],
)
def test_only_callers_on_this_machine_may_without_a_token(toy: Toy, headers: dict[str, str]) -> None:
    answer = toy.post("/rollback/vocoder", {"to_version": "2.0.0"}, **headers)
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]
    assert toy.client.get("/version").json()["version"] == BEFORE


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer s3cre", "Basic s3cret", "s3cret"])
def test_a_wrong_token_opens_nothing(given: str) -> None:
    node = Node(Slot("vocoder", load=str), admin_token="s3cret")

    def ask(authorization: str) -> Answer:
        return node.answer(Asked("GET", "/penstock/v1/slots", {"authorization": authorization}, "127.0.0.1"))

    assert ask(given).status == 403
    assert b"s3cret" not in ask(given).body
    assert ask("bearer s3cret").status == 200


def test_whose_address_is_not_known_may_not() -> None:
    node = Node(Slot("vocoder", load=str))
    for peer, status in ((None, 403), ("10.0.0.9", 403), ("unix:", 403), ("::1", 200), ("::ffff:127.0.0.1", 200)):
        asked = Asked("GET", "/penstock/v1/slots", {"host": "localhost:80"}, peer)
        assert node.answer(asked).status == status


def test_a_body_that_breaks_off_is_no_order(toy: Toy) -> None:
    toy.post("/rollback/vocoder", {"to_version": "2.0.0"}).raise_for_status()
    with socket.create_connection((toy.endpoint.host, toy.endpoint.port), 10.0) as connection:
        connection.sendall(b"POST /rollback/vocoder HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    assert answer == b"" or b" 400 " in answer
    assert toy.client.get("/version").json()["version"] == AFTER


def test_loads_stop_neither_health_nor_a_rollback() -> None:
    with Toy() as toy, ThreadPoolExecutor(50) as pool:
        toy.post("/rollback/vocoder", {"to_version": "2.0.0"}).raise_for_status()
        loads = [pool.submit(toy.post, "/penstock/v1/prepare", {"versions": {"vocoder": "5.0.0"}}) for _ in range(50)]
        while not toy.client.get("/penstock/v1/slots").json()["busy"]:
            pass
        assert toy.client.get("/health").status_code == 200
        assert toy.post("/rollback/vocoder").json()["new_version"] == "1.0.0"
        toy.kill()
        for load in loads:
            with pytest.raises(httpx2.TransportError):
                load.result()


def test_prometheus_finds_requests_by_the_versions_that_answered_them(toy: Toy) -> None:
    toy.post("/synthesize")
    toy.post("/rollback/vocoder", {"to_version": "2.0.0"})
    toy.post("/synthesize")
    wanted = {
        'penstock_requests_total{component="vocoder",version="1.0.0"} 1.0',
        'penstock_requests_total{component="vocoder",version="2.0.0"} 1.0',
        'penstock_requests_total{component="acoustic",version="1.0.0"} 2.0',
        'penstock_swaps_total{component="vocoder",version="2.0.0"} 1.0',
    }
    # An answer is counted once it is over, which may be after its last byte was read.
    until(lambda: wanted <= set(toy.client.get("/metrics").text.splitlines()), "all is counted")


def test_a_stream_says_and_keeps_the_version_it_began_with() -> None:
    with Toy() as toy, toy.client.stream("GET", "/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "vocoder 1.0.0"
        assert toy.post("/rollback/vocoder", {"to_version": "2.0.0"}).status_code == 200
        assert set(lines) == {"vocoder 1.0.0"}
        assert answer.headers["x-model-version"] == BEFORE


def test_failures_are_counted_as_errors() -> None:
    with Toy() as toy:
        # The server closes a connection on which the application raised.
        assert toy.client.get("/broken", headers={"connection": "close"}).status_code == 500
        assert 'penstock_errors_total{component="vocoder",version="1.0.0"} 1.0' in toy.client.get("/metrics").text


def test_no_answer_mixes_sets_while_both_components_switch(toy: Toy) -> None:
    versions = ("1.0.0", "2.0.0")
    for version in versions:
        toy.post("/penstock/v1/prepare", {"versions": {"acoustic": version, "vocoder": version}}).raise_for_status()

    def ask(_: int) -> tuple[str, str, str]:
        answer = toy.post("/synthesize")
        made = answer.json()
        return made["acoustic"][-5:], made["vocoder"][-5:], answer.headers["x-model-version"]

    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(ask, range(200))
        for number in range(20):
            both = dict.fromkeys(("acoustic", "vocoder"), versions[number % 2])
            toy.post("/penstock/v1/switch", {"versions": both, "release": str(number)}).raise_for_status()
        for acoustic, vocoder, label in asked:
            assert acoustic == vocoder
            assert label == f"acoustic-{acoustic}+vocoder-{vocoder}"


def test_a_lone_slot_is_a_component_by_its_name() -> None:
    slot = Slot("vocoder", load=lambda version: version)
    node = Node(slot)

    def ask(method: str, path: str, body: bytes = b"") -> Answer:
        return node.answer(Asked(method, path, {"host": "127.0.0.1"}, "127.0.0.1", body))

    assert ask("GET", "/health").status == 503
    assert b'"starting"' in ask("GET", "/health").body
    slot.swap("1.0.0")
    assert ask("POST", "/penstock/v1/prepare", b'{"versions": {"vocoder": "2.0.0"}}').status == 200
    assert ask("POST", "/penstock/v1/prepare", b'{"versions": {"acoustic": "2.0.0"}}').status == 404
    assert ask("POST", "/penstock/v1/split", b'{"versions": {"vocoder": "2.0.0"}}').status == 200
    assert ask("POST", "/penstock/v1/split", b'{"versions": null}').status == 200
    assert ask("POST", "/penstock/v1/switch", b'{"versions": {"vocoder": "2.0.0"}}').status == 200
    assert node.label() == slot.version == "2.0.0"
    assert ask("POST", "/rollback/vocoder", b'{"to_version": "1.0.0"}').status == 200
    assert slot.version == "1.0.0"
    assert ask("POST", "/penstock/v1/release", b'{"versions": {"vocoder": "2.0.0"}}').status == 200
    assert slot.warm == ()
    node.draining = True
    assert b'"draining"' in ask("GET", "/health").body
