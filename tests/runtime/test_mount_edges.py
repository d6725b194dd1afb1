"""The edges of ASGI and WSGI: what applications may do and few of them do."""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from penstock.runtime import Slot, asgi, wsgi
from tests.runtime.conftest import Maker, Model

HTTP = {"type": "http", "method": "GET", "path": "/any", "headers": []}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY = {"type": "http.response.body", "body": b"x"}


@pytest.fixture
def slot(maker: Maker) -> Slot[Model]:
    slot = maker.slot()
    slot.swap("1.2.0")
    return slot


async def sent_by(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    waiting = iter(received)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_a_server_that_stops_is_draining(slot: Slot[Model]) -> None:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            pass

    mounted = asgi.Mount(app, slot)
    await sent_by(mounted, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert mounted.node.draining


async def test_websockets_lease_as_their_arm_does(slot: Slot[Model]) -> None:
    said = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        with slot.lease() as model:
            said.append(model.version)
        await send({"type": "websocket.accept"})

    mounted = asgi.Mount(app, slot)
    slot.prepare("1.3.0")
    slot.split("1.3.0")
    scope = {"type": "websocket", "path": "/health", "headers": [(b"X-Penstock-Arm", b"canary")]}
    assert await sent_by(mounted, scope) == [{"type": "websocket.accept"}]
    assert said == ["1.3.0"]


async def test_a_stream_that_leases_late_is_named_as_it_is(slot: Slot[Model]) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        slot.swap("1.3.0")  # between the head and the first piece
        with slot.lease() as model:
            await send({**BODY, "body": model.version.encode()})

    head, body = await sent_by(asgi.Mount(app, slot), HTTP)
    assert head["headers"][-1] == (b"x-model-version", b"1.3.0")
    assert body["body"] == b"1.3.0"


async def test_an_answer_that_leased_nothing_names_what_serves_its_arm(slot: Slot[Model]) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)

    slot.prepare("1.3.0")
    slot.split("1.3.0")
    scope = HTTP | {"headers": [(b"x-penstock-arm", b"canary")]}
    assert (await sent_by(asgi.Mount(app, slot), scope))[0]["headers"][-1] == (b"x-model-version", b"1.3.0")


async def test_streams_of_events_begin_at_once(slot: Slot[Model]) -> None:
    begun = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"Content-Type", b"text/event-stream; charset=utf-8")]})
        begun.set()

    sent = await sent_by(asgi.Mount(app, slot), HTTP)
    assert begun.is_set()
    assert sent[0]["headers"][-1] == (b"x-model-version", b"1.2.0")


async def test_a_head_without_a_body_is_sent_at_the_end(slot: Slot[Model]) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)

    assert [each["type"] for each in await sent_by(asgi.Mount(app, slot), HTTP)] == ["http.response.start"]


async def test_an_application_below_a_path_has_its_routes_there(slot: Slot[Model]) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    scope = HTTP | {"path": "/tts/health", "root_path": "/tts"}
    assert (await sent_by(asgi.Mount(app, slot), scope, {"type": "http.request"}))[0]["status"] == 200


async def test_who_left_before_the_order_was_whole_gave_none(slot: Slot[Model]) -> None:
    slot.swap("1.3.0")
    scope = HTTP | {
        "method": "POST",
        "path": "/rollback/vocoder",
        "client": ("::ffff:127.0.0.1", 5),
        "headers": [(b"host", b"[::1]:80")],
    }
    received = {"type": "http.request", "body": b"", "more_body": True}, {"type": "http.disconnect"}
    assert (await sent_by(asgi.Mount(_none, slot), scope, *received))[0]["status"] == 400
    assert slot.version == "1.3.0"
    scope["client"] = None
    assert (await sent_by(asgi.Mount(_none, Slot("other", load=str)), scope, {"type": "http.request"}))[0][
        "status"
    ] == 403


async def _none(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError


class Server:
    """Calls a WSGI application as PEP 3333 says, and remembers what it sent."""

    def __init__(self) -> None:
        self.heads: list[tuple[str, list[tuple[str, str]]]] = []
        self.written: list[bytes] = []

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.heads and exc_info:
            raise exc_info[1]
        self.heads.append((status, headers))
        return self.written.append

    def run(self, app: Any, **environ: Any) -> list[bytes]:
        base = {"REQUEST_METHOD": "GET", "PATH_INFO": "/any", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1"}
        pieces = app({**base, "wsgi.input": io.BytesIO(), **environ}, self.start_response)
        try:
            return list(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()


def test_a_wsgi_application_may_write(slot: Slot[Model]) -> None:
    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])(b"written")
        return [b"returned"]

    server = Server()
    assert server.run(wsgi.Mount(app, slot)) == [b"returned"]
    assert server.written == [b"written"]
    assert server.heads == [("200 OK", [("x-model-version", "1.2.0")])]


def test_a_wsgi_application_may_change_its_mind_before_the_first_piece(slot: Slot[Model]) -> None:
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b""
        start_response("500 Sorry", [], (None, None, None))
        yield b"sorry"

    server = Server()
    assert server.run(wsgi.Mount(app, slot)) == [b"", b"sorry"]
    assert [status for status, _ in server.heads] == ["500 Sorry"]


def test_a_wsgi_application_that_fails_later_breaks_off(slot: Slot[Model]) -> None:
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        with slot.lease():
            yield b"first"
            error = RuntimeError("the model broke")
            start_response("500 Sorry", [], (RuntimeError, error, None))

    server = Server()
    mounted = wsgi.Mount(app, slot)
    with pytest.raises(RuntimeError, match="the model broke"):
        server.run(mounted)
    assert 'penstock_errors_total{component="vocoder"' in Server().run(mounted, PATH_INFO="/metrics")[0].decode()


def _never_starts(_environ: Any, _start_response: Any) -> Iterable[bytes]:
    return [b"body"]


def _raises(_environ: Any, _start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("the application sent nothing")


@pytest.mark.parametrize("app", [_never_starts, _raises])
def test_a_wsgi_application_that_breaks_the_rules(slot: Slot[Model], app: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="the application sent"):
        Server().run(wsgi.Mount(app, slot))


def test_an_answer_that_is_never_read_is_closed(slot: Slot[Model]) -> None:
    class Pieces(list[bytes]):
        closed = False

        def close(self) -> None:
            self.closed = True

    pieces = Pieces([b"x"])

    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces

    answer = wsgi.Mount(app, slot)({"REQUEST_METHOD": "GET", "PATH_INFO": "/any"}, Server().start_response)
    answer.close()  # type: ignore[attr-defined]
    assert pieces.closed


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "200 OK"),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, "400 Bad Request"),
        ({"CONTENT_LENGTH": "9"}, "400 Bad Request"),
        ({"CONTENT_LENGTH": "-1"}, "200 OK"),
        ({"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}, "200 OK"),
    ],
)
def test_wsgi_bodies_are_read_to_where_they_end(slot: Slot[Model], environ: dict[str, Any], status: str) -> None:
    slot.swap("1.3.0")
    server = Server()
    server.run(wsgi.Mount(_raises, slot), REQUEST_METHOD="POST", PATH_INFO="/rollback/vocoder", **environ)
    assert server.heads[0][0] == status
