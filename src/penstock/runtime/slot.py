"""A slot: the place in a running process where one component's versions are swapped."""

from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.kernel.names import checked_version
from penstock.runtime import memory
from penstock.runtime.lease import SlotLease
from penstock.runtime.report import PrepareReport, SlotState, SwapReport, prepare_report_of, report_of, state_of
from penstock.runtime.seat import LOCK, SWAPPING, Seat, holding
from penstock.runtime.shelf import Callables, Shelf
from penstock.runtime.stage import Switched

M = TypeVar("M")


class Slot(Generic[M]):
    """Serves one version of a component, and swaps it for another while requests run.

    Safe to use from any number of threads and event loops. `lease` never waits for a swap. `swap` blocks, one swap after the
    other, so an event loop calls it with `asyncio.to_thread`; `roll_back` does not wait for another version's load.

    Args:
        name: what messages and reports call it.
        load: version -> model, beside the model that serves; may take as long as it needs.
        warm_up: is given a loaded model before any request is, e.g. to synthesise a sentence.
        check: refuses a warm model by raising, or by returning something false other than None.
        unload: is given a model once nothing uses it, once; without it the model is just forgotten.
        keep: how many earlier versions stay warm for `roll_back` and for swapping back without a load.
        free_gpu_bytes: how much GPU memory is free, e.g. `lambda: torch.cuda.mem_get_info()[0]`.
        free_ram_bytes: how much RAM is free, or None for not known; the default asks Linux and the container's limits.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], M],
        *,
        warm_up: Callable[[M], object] | None = None,
        check: Callable[[M], object] | None = None,
        unload: Callable[[M], object] | None = None,
        keep: int = 1,
        free_gpu_bytes: Callable[[], int | None] | None = None,
        free_ram_bytes: Callable[[], int | None] = memory.free_ram_bytes,
    ) -> None:
        callables = Callables(load, warm_up, check, unload)
        #: Where it is on stage; for pipelines.
        self.seat = Seat(Shelf(name, callables, memory.Memory(free_ram_bytes, free_gpu_bytes), keep))

    @property
    def name(self) -> str:
        """What messages and reports call it."""
        return self.seat.name

    def swap(self, version: str, *, drain_first: bool = False, drain_timeout_s: float = 30.0) -> SwapReport:
        """Load `version` beside what serves, warm it up, check it, and serve it; return when it serves.

        A version that is warm is not loaded again; the one that serves is left as it is. What is over `keep` is unloaded
        when its last lease is back. In a pipeline this is `pipeline.swap` with this part alone.

        `drain_first` is for two versions that do not fit beside each other: no lease is given out, those that are out are
        waited for (up to `drain_timeout_s`), all versions are unloaded, then `version` is loaded. Nothing is warm to roll
        back to afterwards; when it fails, the version that served is loaded again.

        Raises SwapRefused when load, warm-up or check fail: what served still serves. DoesNotFit says so before the load,
        measured by the last one; InvalidVersion refuses a name that could not stand in a header.
        """
        wanted = {self.seat.shelf: checked_version(version)}
        with holding(self.seat, SWAPPING) as stage:
            return self._report(stage.swap(wanted, drain_first=drain_first, drain_timeout_s=drain_timeout_s))

    def prepare(self, version: str) -> PrepareReport:
        """Load `version` beside what serves, warm it up and check it; it then waits, ready, for `switch` or `give_up`.

        Raises what `swap` raises; what serves is not touched either way. Asking again is free. What is prepared is counted
        as memory in use, not given up for another load, and not unloaded by later swaps.
        """
        wanted = {self.seat.shelf: checked_version(version)}
        with holding(self.seat, SWAPPING) as stage:
            return prepare_report_of(self.seat.shelf, stage.prepare(wanted), version)

    def switch(self, version: str, *, release: str | None = None) -> SwapReport:
        """Serve a version that is prepared or warm, at once; never loads, and waits for no other version's load.

        `release` names the set that serves from now on, for whoever asks. Raises SwapRefused when the version is not ready,
        and nothing has changed then.
        """
        wanted = {self.seat.shelf: checked_version(version)}
        with holding(self.seat, LOCK) as stage:
            return self._report(stage.switch(wanted, release))

    def split(self, version: str | None, *, release: str | None = None) -> None:
        """Serve the canary's requests with a version that is prepared or warm, all others with what serves; None ends it.

        The canary's requests are those that a mounted server (`penstock.runtime.asgi`) was given as such. Raises SwapRefused
        when the version is not ready. Joining a pipeline ends a split.
        """
        wanted = None if version is None else {self.seat.shelf: checked_version(version)}
        with holding(self.seat, LOCK) as stage:
            stage.split(wanted, release)

    def give_up(self, version: str) -> None:
        """Let go of a prepared or warm version that is no longer wanted; one that is not in memory is no error.

        Raises StillServing for a version that serves.
        """
        with holding(self.seat, LOCK) as stage:
            stage.give_up({self.seat.shelf: version})

    def roll_back(self) -> SwapReport:
        """Serve the earlier version again, at once: it is still warm. A swap that is under way goes on, and serves after it.

        A version that was rolled back from is not returned to, so calling this twice does not bring it back. Raises
        NothingWarm when no other earlier version is in memory. In a pipeline, the other parts stay as they are.
        """
        with holding(self.seat, LOCK) as stage:
            return self._report(stage.roll_back(self.seat.shelf))

    def lease(self, *, wait_s: float = 0.0) -> SlotLease[M]:
        """Pin the version that serves, for one request: `with slot.lease() as model`, or `async with`.

        Raises SlotEmpty before the first swap. During a drain-swap it raises SlotSwapping, unless `wait_s` says how long to
        wait for it; the wait is then where the lease is entered.
        """
        return SlotLease(self.seat, wait_s)

    @property
    def version(self) -> str | None:
        """The version that serves; None before the first swap, and during a drain-swap."""
        loaded = self.seat.pick(self.seat.pointer.current)
        return None if loaded is None else loaded.version

    @property
    def warm(self) -> tuple[str, ...]:
        """The earlier versions that are kept, those worth rolling back to first; at most `keep`."""
        return tuple(loaded.version for loaded in self.seat.shelf.kept)

    @property
    def draining(self) -> tuple[str, ...]:
        """Versions that serve no longer, but still have leases out."""
        return self.seat.stage.draining(self.seat.shelf)

    @property
    def prepared(self) -> tuple[str, ...]:
        """Versions that were prepared, and wait for `switch` or `give_up`."""
        return tuple(loaded.version for loaded in self.seat.shelf.prepared)

    @property
    def canary(self) -> str | None:
        """The version that serves the canary's requests; None while no canary is split off."""
        canary = self.seat.pointer.canary
        return None if canary is None else canary.loaded[self.seat.shelf].version

    @property
    def state(self) -> SlotState:
        """What is in memory."""
        return state_of(self.seat.shelf, self.seat.pick(self.seat.pointer.current), self.draining)

    def _report(self, switched: Switched) -> SwapReport:
        return report_of(self.seat.shelf, switched)
