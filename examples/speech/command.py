"""The command line: which version, on which address. Prints one line when it answers, or one sentence when it cannot."""

import argparse
import signal
import socket
import sys

import uvicorn

from .cache import load_or_train
from .errors import AddressTaken, SpeechError, UnknownVersion
from .recipes import RECIPES
from .service import build_service
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
        _serve(asked.version, asked.host, asked.port)
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
    parser.add_argument("--version", default="1.5.0", help=f"one of {', '.join(RECIPES)} (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=_port, default=6006, help="0 takes a free one (default %(default)s)")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < _N_PORTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are whole numbers from 0 to {_N_PORTS - 1}")
    return int(text)


def _serve(version: str, host: str, port: int) -> None:
    if version not in RECIPES:
        raise UnknownVersion(version, ", ".join(RECIPES))
    # Bound before the training: a taken port is said at once, and requests that come early wait instead of failing.
    listener = _listen(host, port)
    trained = load_or_train(RECIPES[version])
    voice = Voice(RECIPES[version], trained.weights)
    for text in ("Ready.", "好。"):  # the first synthesis loads a language: no user should wait for that
        voice.say(text)
    config = uvicorn.Config(
        build_service(voice, trained),
        log_level="warning",
        access_log=False,
        headers=[("X-Model-Version", version)],
        timeout_graceful_shutdown=_GRACE_S,
    )
    shown = f"[{host}]" if ":" in host else host
    _Server(config, f"speech {version} ready on http://{shown}:{listener.getsockname()[1]}").run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise AddressTaken(host, port, str(error.strerror).partition(" (")[0]) from error
