"""What a server does with a control plane's answer to a rollback that it forwarded."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock.runtime import Slot
from penstock.runtime.node import Answer, Asked, Node
from tests.runtime.conftest import PATIENCE_S


class ControlPlane(http.server.ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.deed: Any = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(http.server.BaseHTTPRequestHandler):
    server: ControlPlane

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        self.server.deed()
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE_S)


@pytest.fixture
def node(control_plane: ControlPlane) -> Node:
    slot = Slot("vocoder", load=str)
    slot.swap("1.3.0")
    slot.swap("1.4.0")
    node = Node(slot)
    attached = {"control_plane": control_plane.url, "service": "tts"}
    assert asked(node, "/penstock/v1/attach", attached).status == 200
    return node


def asked(node: Node, path: str, body: dict[str, Any]) -> Answer:
    return node.answer(Asked("POST", path, {"host": "127.0.0.1"}, "127.0.0.1", json.dumps(body).encode()))


def test_the_control_plane_decides(node: Node, control_plane: ControlPlane) -> None:
    switch = {"versions": {"vocoder": "1.3.0"}, "release": "tts-1"}
    control_plane.deed = lambda: asked(node, "/penstock/v1/switch", switch)
    back = asked(node, "/rollback/vocoder", {"to_version": "1.3.0"})
    assert json.loads(back.body)["new_version"] == "1.3.0"
    reason = "asked for at a server of tts"
    body = {"component": "vocoder", "to": "1.3.0", "reason": reason}
    assert control_plane.asked == [("/v1/services/tts/rollback", body)]


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (409, b'{"detail": "nothing was promoted before."}', "nothing was promoted before"),
        (500, b"<html>", "the control plane answered 500"),
        (500, b"[" * 100_000, "the control plane answered 500"),
        (503, b"[]", "the control plane answered 503"),
    ],
)
def test_what_the_control_plane_says_against_it_is_passed_on(
    node: Node, control_plane: ControlPlane, status: int, answer: bytes, words: str
) -> None:
    control_plane.answer = (status, answer)
    refused = asked(node, "/rollback/vocoder", {})
    assert (refused.status, json.loads(refused.body)["new_version"]) == (409, "1.4.0")
    assert words in json.loads(refused.body)["message"]


def test_something_else_that_listens_there_is_no_control_plane(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        asked(node, "/penstock/v1/attach", {"control_plane": url, "service": "tts"})

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example.org\r\n")

        with ThreadPoolExecutor() as pool:
            greeting = pool.submit(greet)
            refused = asked(node, "/rollback/vocoder", {})
            greeting.result()
    assert (refused.status, json.loads(refused.body)["new_version"]) == (502, "1.4.0")
    assert json.loads(refused.body)["message"] == f"No control plane answers at {url}."
