"""A trained voice per session in a folder of its own, and real servers: started on a free port, stopped by pid."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.speech.cache import Trained, load_or_train
from examples.speech.recipes import RECIPES
from examples.speech.voice import Voice

SPEECH = Path(__file__).parents[2] / "examples" / "speech"
READY_S = 60


@dataclass(frozen=True)
class Server:
    url: str
    ready_line: str
    pid: int


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SPEECH), *arguments]


def environment(cache: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PENSTOCK_CACHE": str(cache), **more}


@contextmanager
def running(version: str, cache: Path) -> Iterator[Server]:
    with subprocess.Popen(
        command("--version", version, "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(cache),
        cwd="/",  # it must not matter where it is started
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], READY_S)[0], f"{version} was not ready in {READY_S} s"
            line = process.stdout.readline().strip()
            yield Server(line.rpartition(" ")[2], line, process.pid)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def speech_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="session")
def trained(speech_cache: Path) -> Callable[[str], Trained]:
    """A version's weights, trained as in life: by the start of a server."""

    def load(version: str) -> Trained:
        with running(version, speech_cache):
            pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PENSTOCK_CACHE", str(speech_cache))
            return load_or_train(RECIPES[version])

    return load


@pytest.fixture(scope="session")
def voice(trained: Callable[[str], Trained]) -> Voice:
    return Voice.of(RECIPES["1.5.0"], trained("1.5.0").weights)


@pytest.fixture(scope="session")
def retrained_voice(trained: Callable[[str], Trained]) -> Voice:
    return Voice.of(RECIPES["1.6.0"], trained("1.6.0").weights)


@pytest.fixture(scope="session")
def serve(speech_cache: Path) -> Callable[[str], AbstractContextManager[Server]]:
    """Start a server of a version on the session's voices."""
    return lambda version: running(version, speech_cache)


@pytest.fixture(scope="session")
def good_server(serve: Callable[[str], AbstractContextManager[Server]]) -> Iterator[Server]:
    with serve("1.5.0") as server:
        yield server


@pytest.fixture
def start() -> Callable[[str, Path], AbstractContextManager[Server]]:
    """Start a server of a version on voices in a given folder."""
    return running


@pytest.fixture
def run_speech(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end; keywords go into its environment."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            timeout=READY_S,
            env=environment(tmp_path, **more),
            check=False,
        )

    return run
