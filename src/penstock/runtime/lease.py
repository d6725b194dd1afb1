"""Leases: how a request pins the versions it uses, without a lock.

A pointer points at one bundle: what serves now. A lease marks itself in that bundle's `leases` and then looks again
whether the pointer still points there. The swap moves the pointer first and looks at the marks after. So either the lease
sees that the pointer has moved, takes its mark back and starts again, or the swap sees the mark and waits: nobody holds a
version that is being unloaded. A bundle serves once in its life, so looking again cannot be fooled by one that came back.
While a canary is split off, the pointer has a second bundle, for requests of its arm, and all of this holds for it as well.

No lock, because a lease also comes back from within the garbage collector, where the same thread may hold any lock.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, overload

from penstock.kernel.errors import LeaseSpent, SlotEmpty, SlotSwapping
from penstock.runtime.loaded import Loaded
from penstock.runtime.request import REQUEST, Request
from penstock.runtime.shelf import Shelf

T = TypeVar("T")
P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)
C = TypeVar("C")


class Bundle:
    """A set of versions that serve together, one of each part.

    Attributes:
        loaded: shelf -> its version in memory; a shelf that has none yet is missing.
        leases: one mark for every lease that is out.
        parts: the same by the names that a pipeline gives its parts; made by its first lease.
        release: what whoever switched to it calls it; None when they did not say.
        retired: where to say that the last lease is back; None while it serves.
        reopened: done when requests are let in again; None unless this stands for a closed door.
    """

    __slots__ = ("leases", "loaded", "parts", "release", "reopened", "retired")

    def __init__(
        self,
        loaded: Mapping[Shelf, Loaded],
        *,
        release: str | None = None,
        reopened: "concurrent.futures.Future[None] | None" = None,
    ) -> None:
        self.loaded = dict(loaded)
        self.leases: set[object] = set()
        self.parts: Parts | None = None
        self.release = release
        self.retired: Callable[[Bundle], None] | None = None
        self.reopened = reopened
        for each in self.loaded.values():
            each.hold()

    def give_back(self, mark: object) -> None:
        """Take a lease's mark back; the last one on a retired bundle says so."""
        self.leases.discard(mark)
        retired = self.retired
        if retired is not None and not self.leases:
            retired(self)

    def let_go(self) -> None:
        """Its versions are no longer needed by it."""
        for each in self.loaded.values():
            each.let_go()


class Pointer:
    """What a swap and a split change.

    Attributes:
        current: the bundle that serves.
        canary: the one that serves the canary's requests; None while no canary is split off.
    """

    __slots__ = ("canary", "current")

    def __init__(self) -> None:
        self.current = Bundle({})
        self.canary: Bundle | None = None

    def seen_by(self, request: Request) -> Bundle:
        """Return the bundle that serves this request."""
        canary = self.canary
        return self.current if canary is None or not request.canary else canary


class Source(Protocol[P_co]):
    """Whom a lease asks: a slot or a pipeline."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    @property
    def pointer(self) -> Pointer:
        """Where it reads what serves; joining a pipeline changes it."""
        ...

    def pick(self, bundle: Bundle) -> P_co | None:
        """Return what a lease on this bundle hands out; None when something is missing."""
        ...

    def missing(self, bundle: Bundle) -> str:
        """Return what is missing, in words."""
        ...


class Lease(Generic[T, P]):
    """Pins what serves now until it is returned: at the end of `with` or `async with`, or when it is dropped.

    It may be entered once. What comes out of `with` is valid inside only; `stream` carries it further.
    """

    __slots__ = ("_bundle", "_entered", "_mark", "_picked", "_source", "_wait_s")

    def __init__(self, source: Source[P], wait_s: float = 0.0) -> None:
        self._source = source
        self._wait_s = wait_s
        self._entered = False
        self._mark: object | None = None
        self._take()

    def _take(self) -> "concurrent.futures.Future[None] | None":
        """Pin what serves now; return what to wait for while a drain-swap keeps the door closed."""
        source = self._source
        request = REQUEST.get()
        mark = object()
        while True:
            pointer = source.pointer
            # `__del__` knows the mark before it is set, so that an interrupt at any line leaves none behind.
            self._bundle = bundle = pointer.current if request is None else pointer.seen_by(request)
            self._mark = mark
            bundle.leases.add(mark)
            if bundle is (pointer.current if request is None else pointer.seen_by(request)):
                picked = source.pick(bundle)
                if picked is not None:
                    self._picked = picked
                    if request is not None and request.pointer is pointer:
                        request.bundle = bundle
                    return None
                if pointer is source.pointer:
                    self.give_back()
                    return self._refused(bundle)
            bundle.give_back(mark)

    def _refused(self, bundle: Bundle) -> "concurrent.futures.Future[None]":
        if bundle.reopened is None:
            raise SlotEmpty(slot=self._source.name, parts=self._source.missing(bundle))
        if self._wait_s <= 0:
            raise SlotSwapping(slot=self._source.name)
        return bundle.reopened

    def _value(self) -> T:
        raise NotImplementedError

    def _enter(self) -> None:
        if self._entered:
            raise LeaseSpent(slot=self._source.name, why="it was entered before")
        self._entered = True

    def __enter__(self) -> T:
        self._enter()
        if self._mark is None:
            self._wait()
        return self._value()

    async def __aenter__(self) -> T:
        self._enter()
        if self._mark is None:
            await self._wait_async()
        return self._value()

    def _wait(self) -> None:
        until_s = time.perf_counter() + self._wait_s
        while (reopened := self._take()) is not None:
            concurrent.futures.wait([reopened], until_s - time.perf_counter())
            self._check_patience(until_s)

    async def _wait_async(self) -> None:
        until_s = time.perf_counter() + self._wait_s
        while (reopened := self._take()) is not None:
            # asyncio.wait, unlike wait_for, does not cancel the future that all the others wait for too.
            await asyncio.wait([asyncio.wrap_future(reopened)], timeout=until_s - time.perf_counter())
            self._check_patience(until_s)

    def _check_patience(self, until_s: float) -> None:
        if time.perf_counter() >= until_s:
            raise SlotSwapping(slot=self._source.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mark, self._mark = self._mark, None  # as `give_back`, less one call for every request
        if mark is not None:
            self._bundle.give_back(mark)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Return the lease before its `with` ends, or one that was never entered; a second time changes nothing."""
        mark, self._mark = self._mark, None
        if mark is not None:
            self._bundle.give_back(mark)

    __del__ = give_back

    def _held(self) -> P:
        """Return what was picked; the lease may be back already."""
        try:
            return self._picked
        except AttributeError:
            raise LeaseSpent(slot=self._source.name, why="it still waits for the swap") from None

    @overload
    def stream(self, chunks: AsyncIterable[C]) -> AsyncIterator[C]: ...

    @overload
    def stream(self, chunks: Iterable[C]) -> Iterator[C]: ...

    def stream(self, chunks: Iterable[C] | AsyncIterable[C]) -> Iterator[C] | AsyncIterator[C]:
        """Return the chunks, keeping these versions until the last one is taken, also after `with` has ended.

        A stream that is closed, cancelled or dropped midway closes `chunks` and returns its lease then. Raises LeaseSpent
        when this lease is not held.
        """
        if self._mark is None:
            raise LeaseSpent(slot=self._source.name, why="it was returned before")
        hold = Hold(self._bundle)
        return _streamed_async(hold, chunks) if isinstance(chunks, AsyncIterable) else _streamed(hold, chunks)


class Hold:
    """Holds a bundle on which a lease is out, until it is given back or dropped."""

    __slots__ = ("_bundle", "_mark")

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._mark = object()
        bundle.leases.add(self._mark)

    def give_back(self) -> None:
        """Hold it no longer; a second time changes nothing."""
        self._bundle.give_back(self._mark)

    __del__ = give_back


# Both are generators, so that dropping them works in every state: one that never started drops its hold with its
# arguments, one that did runs its `finally`.
def _streamed(hold: Hold, chunks: Iterable[C]) -> Iterator[C]:
    try:
        yield from chunks
    finally:
        hold.give_back()


async def _streamed_async(hold: Hold, chunks: AsyncIterable[C]) -> AsyncIterator[C]:
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        try:
            if close is not None:
                await close()
        finally:
            hold.give_back()


class SlotLease(Lease[T, Loaded]):
    """A lease on one slot: `with lease as model`."""

    __slots__ = ()

    @property
    def version(self) -> str:
        """The version it pins; still known after it was returned."""
        return self._held().version

    def _value(self) -> T:
        model: T = self._picked.model
        return model


class Parts(Mapping[str, Any]):
    """What a pipeline's lease hands out: part -> model, all of one set.

    Attributes:
        versions: part -> version.
    """

    __slots__ = ("_loaded", "versions")

    def __init__(self, loaded: Mapping[str, Loaded]) -> None:
        self._loaded = loaded
        self.versions: Mapping[str, str] = {part: each.version for part, each in loaded.items()}

    def __getitem__(self, part: str) -> Any:
        loaded = self._loaded[part]
        try:
            return loaded.model
        except AttributeError:
            why = f"it was returned, and version {loaded.version} is unloaded"
            raise LeaseSpent(slot=loaded.slot, why=why) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)


class PipelineLease(Lease[Parts, Parts]):
    """A lease on a consistent set: `with lease as parts`."""

    __slots__ = ()

    @property
    def versions(self) -> Mapping[str, str]:
        """Part -> version that it pins; still known after it was returned."""
        return self._held().versions

    def _value(self) -> Parts:
        return self._picked
