"""Models that know whether they are loaded, and what they answer with: a fingerprint of their weights."""

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from penstock.runtime import Slot

#: Longer than anything here takes on a busy machine; only a test that fails waits for it.
PATIENCE_S = 30.0


def fingerprint_of(component: str, version: str) -> str:
    """Return what a model of this version must answer with."""
    return hashlib.sha256(weights_of(component, version)).hexdigest()


def weights_of(component: str, version: str) -> bytes:
    """Return enough for hashing to let other threads run, as inference does."""
    return f"{component} {version} ".encode() * 1024


class Model:
    """Weights in memory; using it after it was unloaded is an error that the test sees."""

    def __init__(self, component: str, version: str) -> None:
        self.version = version
        self.weights = bytearray(weights_of(component, version))
        self.n_unloads = 0

    def say(self) -> str:
        """Answer with the fingerprint of the weights, as they are at this moment."""
        assert not self.n_unloads, f"{self.version} was used after it was unloaded"
        return hashlib.sha256(self.weights).hexdigest()

    def stream(self, n: int) -> Iterator[str]:
        for _ in range(n):
            yield self.say()


class Maker:
    """Loads models, counts what happens to them, and fails where it is told to.

    Attributes:
        loads, unloads: versions, in order.
        alive: one weak reference for every model ever loaded.
        broken: what raises or refuses: `load`, `warm_up`, `check`, `unload`.
    """

    def __init__(self, component: str = "vocoder") -> None:
        self.component = component
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.alive: list[weakref.ref[Model]] = []
        self.broken: dict[str, set[str]] = {"load": set(), "warm_up": set(), "check": set(), "unload": set()}
        self.changed = threading.Condition()

    def load(self, version: str) -> Model:
        if version in self.broken["load"]:
            raise OSError("weights.bin is truncated")
        model = Model(self.component, version)
        self.loads.append(version)
        self.alive.append(weakref.ref(model))
        return model

    def warm_up(self, model: Model) -> None:
        if model.version in self.broken["warm_up"]:
            raise RuntimeError("shape mismatch")
        model.say()

    def check(self, model: Model) -> bool:
        return model.version not in self.broken["check"]

    def unload(self, model: Model) -> None:
        model.n_unloads += 1
        model.weights.clear()
        with self.changed:
            self.unloads.append(model.version)
            self.changed.notify_all()
        if model.version in self.broken["unload"]:
            raise RuntimeError("device lost")

    def slot(self, **options: Any) -> Slot[Model]:
        callables = {"warm_up": self.warm_up, "check": self.check, "unload": self.unload}
        return Slot(self.component, self.load, **callables | options)

    def wait_unloaded(self, *versions: str) -> None:
        """Wait until exactly these were unloaded, in this order."""
        with self.changed:
            self.changed.wait_for(lambda: self.unloads == list(versions), PATIENCE_S)
            assert self.unloads == list(versions)


class SlowMaker(Maker):
    """A maker whose loads can be held up."""

    def __init__(self, component: str = "vocoder") -> None:
        super().__init__(component)
        self.loading = threading.Event()
        self.may_load = threading.Event()
        self.may_load.set()

    def load(self, version: str) -> Model:
        self.loading.set()
        assert self.may_load.wait(PATIENCE_S)
        return super().load(version)

    def held_up(self, pool: ThreadPoolExecutor, swap: Callable[..., Any], *asked: Any, **how: Any) -> "Future[Any]":
        """Begin a swap, and stop it in its load, until `may_load` is set."""
        self.loading.clear()
        self.may_load.clear()
        swapping = pool.submit(swap, *asked, **how)
        assert self.loading.wait(PATIENCE_S)
        return swapping


def gathered(condition: Callable[[], bool]) -> bool:
    """Wait for a condition that nothing announces; return whether it came to hold."""
    waited = threading.Event()
    return any(condition() or waited.wait(0.01) for _ in range(int(PATIENCE_S * 100))) and condition()


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Fail a test that leaves a thread behind: draining ends with the last lease."""
    before = set(threading.enumerate())
    yield
    assert gathered(lambda: not {t for t in threading.enumerate() if "penstock-drain" in t.name} - before)
