"""The command line: which version, or which components, on which address. Prints one line when it answers, or one sentence when it cannot."""

import argparse
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from .cache import load_or_train
from .components import COMPONENTS, FIRST
from .errors import AddressTaken, NothingToServe, SpeechError, UnknownVersion
from .making import make
from .recipes import RECIPES
from .service import FACTS, MODEL, add_card, build_service
from .voice import Voice

_USAGE_ERROR = 2
_INTERRUPTED = 128 + signal.SIGINT
_N_PORTS = 65536
_GRACE_S = 5  # how long requests in flight may take after SIGTERM


class _Server(uvicorn.Server):
    """Says on stdout when it answers, and where."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal, which then ends the process. Exit codes: 1 cannot start, 2 asked for what there is not."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.make is not None:
            _make(asked.make)
        elif asked.service is not None:
            _serve_components(asked)
        else:
            _serve_whole(asked.version, asked.host, asked.port)
    except UnknownVersion as error:
        print(f"speech: {error}", file=sys.stderr)
        return _USAGE_ERROR
    except SpeechError as error:
        print(f"speech: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech", description="A small bilingual speech synthesiser over HTTP.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--version", default="1.5.0", help=f"one of {', '.join(RECIPES)} (default %(default)s)")
    what.add_argument("--service", metavar="NAME", help="serve this service's components, pulled from the store")
    what.add_argument("--make", metavar="DIR", type=Path, help="write all versions of the components into DIR, and end")
    for component in COMPONENTS:
        parser.add_argument(
            f"--{component}",
            default=FIRST,
            metavar="V",
            help="with --service: what to begin with (default %(default)s)",
        )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=_port, default=6006, help="0 takes a free one (default %(default)s)")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < _N_PORTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are whole numbers from 0 to {_N_PORTS - 1}")
    return int(text)


def _make(root: Path) -> None:
    for folder in make(root):
        print(folder, flush=True)


def _serve_whole(version: str, host: str, port: int) -> None:
    if version not in RECIPES:
        raise UnknownVersion(version, ", ".join(RECIPES))
    # Bound before the training: a taken port is said at once, and requests that come early wait instead of failing.
    listener = _listen(host, port)
    trained = load_or_train(RECIPES[version])
    voice = Voice.of(RECIPES[version], trained.weights)
    for text in ("Ready.", "好。"):  # the first synthesis loads a language: no user should wait for that
        voice.say(text)
    app = build_service(voice.say)
    add_card(app, version, trained)
    _run(app, version, listener, {"X-Model-Version": version})


def _serve_components(asked: argparse.Namespace) -> None:
    from penstock import Weights  # noqa: PLC0415 - a whole version needs nothing of Penstock
    from penstock.kernel.errors import PenstockError  # noqa: PLC0415 - as above
    from penstock.runtime.asgi import Mount  # noqa: PLC0415 - as above

    from .pipeline import build_pipeline, speaker  # noqa: PLC0415 - as above

    listener = _listen(asked.host, asked.port)
    try:
        pipeline = build_pipeline(Weights(asked.service).load)
        pipeline.swap({component: getattr(asked, component) for component in COMPONENTS})
    except PenstockError as error:
        raise NothingToServe(error.message, error.remedy) from error
    app = build_service(speaker(pipeline))
    app.add_middleware(Mount, slots=pipeline, model=MODEL, facts=FACTS)
    _run(app, asked.service, listener, {})


def _run(app: FastAPI, name: str, listener: socket.socket, headers: dict[str, str]) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        headers=list(headers.items()),
        timeout_graceful_shutdown=_GRACE_S,
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _Server(config, f"speech {name} ready on http://{shown}:{port}").run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise AddressTaken(host, port, str(error.strerror).partition(" (")[0]) from error
