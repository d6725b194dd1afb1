"""Trained voices on disk survive two starts at once, a kill in the middle, and damage."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import httpx2
import numpy as np
import pytest

from examples.speech.cache import Trained, cache_folder, load_or_train, recipe_hash
from examples.speech.errors import CacheUnwritable
from examples.speech.recipes import RECIPES
from examples.speech.training import n_steps, train

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60
SMALL = replace(RECIPES["1.6.0"], share_ratio=0.03)  # trained in a moment; enough to be kept and lost


class Server(Protocol):
    url: str


Start = Callable[[str, Path], AbstractContextManager[Server]]


def digest(server: Server) -> str:
    return str(httpx2.get(server.url + "/version").json()["digest"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path))
    return tmp_path


def voice_file() -> Path:
    return cache_folder() / f"{SMALL.version}-{recipe_hash(SMALL)}.voice"


def test_two_first_starts_at_once_share_one_voice(
    start: Start, trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as threads, ExitStack() as servers:
        one, other = threads.map(lambda _: servers.enter_context(start("1.5.0", tmp_path)), range(2))
        assert digest(one) == digest(other) == trained("1.5.0").digest  # a recipe's weights are the same every time
    assert len(list(tmp_path.glob("speech/*.voice"))) == 1
    assert not list(tmp_path.glob("speech/*.partial"))


def test_a_kill_during_training_leaves_nothing_in_the_way(start: Start, cache: Path) -> None:
    program = (
        "from examples.speech.cache import *; from examples.speech.recipes import *; load_or_train(RECIPES['1.5.0'])"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL) as trainer:
        until = time.monotonic() + DEADLINE_S
        while not list(cache.glob("speech/*.lock")) and time.monotonic() < until:
            time.sleep(0.01)
        trainer.kill()
    assert trainer.returncode == -signal.SIGKILL
    assert not list(cache.glob("speech/*.voice"))
    with start("1.5.0", cache) as server:
        assert digest(server).startswith("sha256:")
    assert len(list(cache.glob("speech/*.voice"))) == 1


@pytest.mark.parametrize("damage", ["cut", "one byte", "empty", "no card", "card of another shape"])
@pytest.mark.usefixtures("cache")
def test_a_damaged_voice_is_trained_again(damage: str) -> None:
    whole = load_or_train(SMALL)
    content = voice_file().read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "one byte": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "no card": content[9:],
        "card of another shape": b"[]\n" + content,
    }
    voice_file().write_bytes(damaged[damage])
    voice_file().with_suffix(".partial").write_bytes(b"left by a killed process" * 100_000)
    again = load_or_train(SMALL)
    assert again.weights.keys() == whole.weights.keys()
    assert load_or_train(SMALL).digest == again.digest
    assert not voice_file().with_suffix(".partial").exists()


@pytest.mark.usefixtures("cache")
def test_a_second_start_loads_what_the_first_one_trained() -> None:
    first, second = load_or_train(SMALL), load_or_train(SMALL)
    assert (first.digest, first.build_time) == (second.digest, second.build_time)
    assert first.weights.keys() == second.weights.keys()
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_versions_have_weights_of_their_own(trained: Callable[[str], Trained]) -> None:
    assert trained("1.5.0").digest != trained("1.6.0").digest
    assert len({recipe_hash(recipe) for recipe in RECIPES.values()}) == len(RECIPES)


def test_progress_reaches_its_end() -> None:
    steps: list[None] = []
    train(SMALL, lambda: steps.append(None))
    assert len(steps) == n_steps(SMALL)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheUnwritable, match="set PENSTOCK_CACHE"):
        load_or_train(SMALL)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/penstock/speech")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache/penstock/speech"
    monkeypatch.setenv("PENSTOCK_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/speech")
