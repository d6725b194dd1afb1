"""One component's versions in memory: loading, proving and keeping them. Who uses them is not known here."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.kernel.errors import DoesNotFit, SwapRefused
from penstock.runtime.loaded import Loaded
from penstock.runtime.memory import Footprint, Memory, in_words

#: How many failed versions are remembered.
_N_FAILED = 8


@dataclass(frozen=True, slots=True)
class Callables:
    """What the user gave a slot; `load` may block for minutes, none of them is ever called from a request."""

    load: Callable[[str], Any]
    warm_up: Callable[[Any], object] | None = None
    check: Callable[[Any], object] | None = None
    unload: Callable[[Any], object] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that is ready to serve, and what that took, in seconds."""

    loaded: Loaded
    seconds_loading: float = 0.0
    seconds_warming: float = 0.0
    reused: bool = False


class Shelf:
    """The versions of one component in memory: the one that serves, up to `keep` earlier ones, and those that are prepared.

    Who changes what serves or is kept holds the stage's lock; who loads holds `swapping`.

    Attributes:
        name: the slot's name.
        serving: None before the first swap.
        kept: earlier versions, still warm, those worth going back to first.
        prepared: asked for ahead; they stay until they serve or are given up. They may be kept ones, too.
        failed: version -> why it did not get into memory, the last few.
        swaps: version -> how often it began to serve.
    """

    def __init__(self, name: str, callables: Callables, memory: Memory, keep: int) -> None:
        if keep < 0:
            raise ValueError(f"slot {name!r} cannot keep {keep} versions")
        self.name = name
        self.serving: Loaded | None = None
        self.kept: Sequence[Loaded] = ()
        self.prepared: Sequence[Loaded] = ()
        self.failed: dict[str, str] = {}
        self.swaps: Counter[str] = Counter()
        self._keep = keep
        self._callables = callables
        self._memory = memory
        self._last_load = Footprint()

    def ready(self) -> list[Loaded]:
        """Return what could serve at once: the serving version, then the kept and the prepared ones."""
        ready = [*([self.serving] if self.serving else []), *self.kept]
        return ready + [each for each in self.prepared if each not in ready]

    def find(self, version: str) -> Loaded | None:
        """Return a version that is in memory."""
        return next((loaded for loaded in self.ready() if loaded.version == version), None)

    def earlier(self) -> Loaded | None:
        """Return the version to roll back to: the last that served and was not rolled back from itself."""
        return next((loaded for loaded in self.kept if not loaded.left), None)

    def make_room(self, version: str, ahead: Footprint) -> Footprint:
        """Say before a load whether it fits beside what is loaded; kept versions make room where they must.

        `ahead` is what other components will take first. Returns what this one is expected to take, as the last load did;
        raises DoesNotFit, with nothing changed.
        """
        need = ahead + self._last_load
        idle = [loaded for loaded in reversed(self.kept) if loaded.idle and loaded not in self.prepared]
        shortage = self._memory.shortages(need)
        short = shortage(_total(idle))
        if short is not None:
            words = {"what": short.what, "need": in_words(short.need_bytes), "free": in_words(short.free_bytes)}
            error = DoesNotFit(slot=self.name, version=version, now=self.now(), **words)
            self._note(version, error)
            raise error
        given_up: list[Loaded] = []
        while shortage(_total(given_up)):
            given_up.append(idle.pop(0))
        self.give_up(given_up)
        return self._last_load

    def load(self, version: str) -> Prepared:
        """Load, warm up and check a version beside what serves.

        Raises SwapRefused, with whatever was loaded unloaded again.
        """
        try:
            prepared = self._loaded(version)
        except SwapRefused as error:
            self._note(version, error)
            raise
        self.failed = {each: why for each, why in self.failed.items() if each != version}
        return prepared

    def _note(self, version: str, error: SwapRefused) -> None:
        """Remember why a version did not get into memory."""
        others = [each for each in self.failed.items() if each[0] != version]
        self.failed = dict([*others, (version, error.message)][-_N_FAILED:])

    def _loaded(self, version: str) -> Prepared:
        taken = self._memory.mark()
        began_s = time.perf_counter()
        model = self._tried(version, "load", self._callables.load, version)
        loaded_s = time.perf_counter()
        loaded = Loaded(self.name, version, model, taken(), self._callables.unload)
        try:
            if self._callables.warm_up is not None:
                self._tried(version, "warm-up", self._callables.warm_up, model)
            if self._callables.check is not None:
                self._check(version, self._callables.check, model)
        except BaseException:
            del model
            loaded.evict()
            raise
        loaded.footprint = self._last_load = taken()
        loaded.seconds_loading = loaded_s - began_s
        return Prepared(loaded, loaded_s - began_s, time.perf_counter() - loaded_s)

    def pin(self, loaded: Loaded) -> None:
        """Keep a version that does not serve until it serves or is given up."""
        if loaded is not self.serving and loaded not in self.prepared:
            self.prepared = (*self.prepared, loaded)

    def adopt(self, loaded: Loaded, *, leaving: bool = False) -> Sequence[Loaded]:
        """Note what serves from now on, and keep what served before; return what is over `keep`, for the caller to evict.

        `leaving`: it is rolled back from, so `roll_back` never returns to it, and it is the first to make room.
        """
        before = self.serving
        if loaded is before:
            return ()
        loaded.left = False
        self.serving = loaded
        self.swaps[loaded.version] += 1
        self.prepared = tuple(each for each in self.prepared if each is not loaded)
        rest = [each for each in self.kept if each is not loaded]
        if before is not None:
            before.left = leaving
            rest.insert(0, before)
        rest.sort(key=lambda each: each.left)
        self.kept = tuple(rest[: self._keep])
        return [each for each in rest[self._keep :] if each not in self.prepared]

    def give_up(self, versions: Sequence[Loaded]) -> None:
        """Let go of versions: each is unloaded now, or when its last lease is back."""
        self.kept = tuple(each for each in self.kept if each not in versions)
        self.prepared = tuple(each for each in self.prepared if each not in versions)
        if self.serving in versions:
            self.serving = None
        for each in versions:
            each.evict()

    def now(self) -> str:
        """Return what serves, in words."""
        return f"{self.serving.version} still serves" if self.serving else "Nothing serves yet"

    def _tried(self, version: str, what: str, call: Callable[[Any], Any], argument: object) -> Any:
        try:
            return call(argument)
        except Exception as error:
            why = f"its {what} raised {type(error).__name__}: {str(error).rstrip('.')}"
            raise SwapRefused(slot=self.name, version=version, why=why, now=self.now()) from error

    def _check(self, version: str, check: Callable[[Any], object], model: object) -> None:
        """Run the user's check: it refuses by raising, or by returning something false other than None."""
        answer = self._tried(version, "check", check, model)
        if answer is not None and not answer:
            raise SwapRefused(slot=self.name, version=version, why=f"its check returned {answer!r}", now=self.now())


def _total(versions: Sequence[Loaded]) -> Footprint:
    return sum((each.footprint for each in versions), Footprint())
