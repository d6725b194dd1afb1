"""Servers that switch model versions, in memory: the same laws as real ones, with faults at the flick of a switch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.kernel.errors import EndpointUnreachable, SwapRefused
from penstock.ports.model_server import Serving
from penstock.registry.release import Endpoint


@dataclass
class FakeProcess:
    """One server.

    Attributes:
        versions: component -> what serves.
        canary: the canary's set while it splits.
        ready: component -> versions in memory.
        prepared: component -> those of them that were asked for ahead.
        refuses: version -> why it cannot be loaded.
        down: it does not answer.
        attached_to: the control plane that decides for it.
    """

    versions: dict[str, str]
    canary: dict[str, str] | None = None
    release: str | None = None
    ready: dict[str, set[str]] = field(default_factory=dict)
    prepared: dict[str, set[str]] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    down: bool = False
    attached_to: str | None = None

    def __post_init__(self) -> None:
        for component, version in self.versions.items():
            self.ready.setdefault(component, set()).add(version)

    def serving(self) -> Serving:
        ready, prepared = (
            {component: tuple(sorted(versions)) for component, versions in them.items()}
            for them in (self.ready, self.prepared)
        )
        canary = None if self.canary is None else dict(self.canary)
        return Serving(dict(self.versions), canary, self.release, ready, prepared, self.attached_to)


class FakeModelServers:
    """A fleet in memory.

    Attributes:
        processes: `host:port` -> its process.
        asked: every (what, `host:port`) that changes something, oldest first.
    """

    def __init__(self, processes: Mapping[str, FakeProcess] | None = None) -> None:
        self.processes = dict(processes or {})
        self.asked: list[tuple[str, str]] = []

    async def observe(self, endpoint: Endpoint, *, timeout_s: float) -> Serving:
        return self._process(endpoint, timeout_s).serving()

    async def prepare(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        process = self._changing("prepare", endpoint, timeout_s)
        for component, version in versions.items():
            if version in process.refuses:
                raise SwapRefused(slot=component, version=version, why=process.refuses[version], now="it serves on")
        for component, version in versions.items():
            process.ready.setdefault(component, set()).add(version)
            if process.versions.get(component) != version:
                process.prepared.setdefault(component, set()).add(version)
        return process.serving()

    async def switch(
        self, endpoint: Endpoint, versions: Mapping[str, str], *, release: str, timeout_s: float
    ) -> Serving:
        process = self._changing("switch", endpoint, timeout_s)
        _check_ready(process, versions)
        process.versions |= versions
        for component, version in versions.items():
            process.prepared.get(component, set()).discard(version)
        process.release = release
        return process.serving()

    async def split(
        self, endpoint: Endpoint, versions: Mapping[str, str] | None, *, release: str, timeout_s: float
    ) -> Serving:
        del release  # the fake names no sets of the canary
        process = self._changing("split", endpoint, timeout_s)
        _check_ready(process, versions or {})
        process.canary = None if versions is None else {**process.versions, **versions}
        return process.serving()

    async def give_up(self, endpoint: Endpoint, versions: Mapping[str, str], *, timeout_s: float) -> Serving:
        process = self._changing("give up", endpoint, timeout_s)
        for component, version in versions.items():
            if version in (process.versions.get(component), (process.canary or {}).get(component)):
                raise SwapRefused(slot=component, version=version, why="it serves", now="it serves on")
        for component, version in versions.items():
            process.ready.get(component, set()).discard(version)
            process.prepared.get(component, set()).discard(version)
        return process.serving()

    async def attach(self, endpoint: Endpoint, *, control_plane: str | None, service: str, timeout_s: float) -> None:
        del service  # the fake forwards nothing
        self._process(endpoint, timeout_s).attached_to = control_plane

    def _changing(self, what: str, endpoint: Endpoint, timeout_s: float) -> FakeProcess:
        process = self._process(endpoint, timeout_s)
        self.asked.append((what, endpoint.address))
        return process

    def _process(self, endpoint: Endpoint, timeout_s: float) -> FakeProcess:
        process = self.processes.get(endpoint.address)
        if process is None or process.down:
            raise EndpointUnreachable(url=endpoint.url, why=f"no answer within {timeout_s:g} s")
        return process


def _check_ready(process: FakeProcess, versions: Mapping[str, str]) -> None:
    for component, version in versions.items():
        if version not in process.ready.get(component, ()):
            raise SwapRefused(slot=component, version=version, why="it is not loaded", now="it serves on")
