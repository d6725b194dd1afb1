"""Every port in memory: the same laws as the real drivers, with faults at the flick of a switch."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, TypeVar

from penstock.judge.counts import PodCounts
from penstock.kernel.chain import GENESIS, entry_hash
from penstock.kernel.errors import (
    AlreadyRunning,
    FencedOff,
    GatewayRefused,
    GatewaySilent,
    JournalDamaged,
    JournalUnwritable,
    StaleGeneration,
    TelemetryUnavailable,
)
from penstock.ports.clock import Clock
from penstock.ports.gateway import NodeStatus
from penstock.ports.mirror import Outcome, RecordedRequest
from penstock.ports.telemetry import Reading, ServiceReading
from penstock.registry.release import Endpoint, Release
from penstock.rollout.chain import chained, fields_of
from penstock.rollout.entry import Draft, Entry
from penstock.routing.repeatable import is_repeatable
from penstock.routing.table import ArmName, RouteTable, predicted_arm

_Key = TypeVar("_Key", int, str)

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_BODY_LIMIT_BYTES = 64 * 1024


class ManualClock:
    """Time that stands still until a test moves it."""

    def __init__(self, start: datetime = _EPOCH) -> None:
        self._now = start
        self._monotonic_s = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` (>= 0) pass on both clocks."""
        if seconds < 0:
            raise ValueError("time does not run backwards; to set the wall clock back, use jump")
        self._monotonic_s += seconds
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back when negative."""
        self._now += timedelta(seconds=seconds)


@dataclass
class Book:
    """What several MemoryJournals share, as processes share a file.

    Attributes:
        entries: oldest first.
        term: of the newest writer; raise it to fence a journal off.
        owner: the journal that acquired it, or None.
    """

    entries: list[Entry] = field(default_factory=list)
    term: int = 0
    owner: object | None = None


class MemoryJournal:
    """A journal in memory.

    Attributes:
        book: pass it to another MemoryJournal to open the same journal again.
        unwritable: set to a sentence, and every append fails with it; None heals.
    """

    def __init__(self, clock: Clock, book: Book | None = None) -> None:
        self.book = book or Book()
        self.unwritable: str | None = None
        self._clock = clock
        self._term = 0

    async def acquire(self, holder: str) -> int:  # noqa: ARG002 - the port's name; nobody asks a fake who holds it
        if self.book.owner not in (None, self):
            raise AlreadyRunning(pid=os.getpid(), path="memory")
        self.book.owner = self
        self.book.term += 1
        self._term = self.book.term
        return self._term

    async def append(self, draft: Draft, *, expected_generation: int) -> Entry:
        if self._term == 0:
            raise RuntimeError("acquire the journal before you append to it")
        if draft.generation < expected_generation:
            raise ValueError(f"generation {draft.generation} would fall behind {expected_generation}")
        entries = self.book.entries
        entry = chained(
            draft,
            seq=len(entries) + 1,
            at=self._clock.now(),
            previous=entries[-1].hash if entries else GENESIS,
        )
        if self.unwritable is not None:
            raise JournalUnwritable(path="memory", why=self.unwritable)
        if self._term != self.book.term:
            raise FencedOff(term=self.book.term, ours=self._term)
        actual = next((e.generation for e in reversed(entries) if e.service == draft.service), 0)
        if actual != expected_generation:
            raise StaleGeneration(service=draft.service, actual=actual, expected=expected_generation)
        entries.append(entry)
        return entry

    async def read(self, service: str | None = None, *, after_seq: int = 0) -> list[Entry]:
        return [e for e in self.book.entries if e.seq > after_seq and service in (None, e.service)]

    async def verify(self) -> int:
        previous = GENESIS
        for seq, entry in enumerate(self.book.entries, start=1):
            if entry.seq != seq:
                raise JournalDamaged(path="memory", seq=seq, why=f"entry {entry.seq} stands in its place")
            if entry.hash != entry_hash(previous, fields_of(entry)):
                raise JournalDamaged(path="memory", seq=seq, why="it was changed after it was written")
            previous = entry.hash
        return len(self.book.entries)

    async def close(self) -> None:
        self._term = 0
        if self.book.owner is self:
            self.book.owner = None


class FakeMemory:
    """What a judge knows, as JSON would bring it back."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def save(self, service: str, state: Mapping[str, Any]) -> bool:
        self.kept[service] = json.dumps(state, allow_nan=False)
        return True

    async def load(self, service: str) -> dict[str, Any] | None:
        return json.loads(self.kept[service]) if service in self.kept else None


@dataclass
class FakeNode:
    """One gateway process of a FakeGateway.

    Attributes:
        live: whether it is connected; a dead node keeps its tables and misses new ones.
        silent: connected, but acknowledges nothing.
        refusal: why it refuses tables, or None.
        tables: service -> the table in force on it.
    """

    id: str
    live: bool = True
    silent: bool = False
    refusal: str | None = None
    tables: dict[str, RouteTable] = field(default_factory=dict)


class FakeGateway:
    """A fleet in memory that routes as the real one would.

    Attributes:
        fleet: id -> node; switch them as you like, `restart` brings one back.
        health: endpoint `host:port` -> whether traffic may go there; endpoints of applied tables start healthy.
        pushes: every table handed to `apply` that was not in force already, refused ones included, oldest first.
        samples: service -> share that is mirrored.
        lease_s: how long canary traffic outlives the last `apply` or `renew_lease`.
    """

    def __init__(self, clock: Clock, *, nodes: Iterable[str] = ("node-1",), lease_s: float = 10.0) -> None:
        self.fleet = {id_: FakeNode(id_) for id_ in nodes}
        self.health: dict[str, bool] = {}
        self.pushes: list[RouteTable] = []
        self.samples: dict[str, float] = {}
        self.lease_s = lease_s
        self._clock = clock
        self._newest: dict[str, RouteTable] = {}
        self._renewed_at_s = clock.monotonic_s()
        self._n_minted = 0

    @property
    def lease_expired(self) -> bool:
        return self._clock.monotonic_s() - self._renewed_at_s > self.lease_s

    async def start(self, tables: tuple[RouteTable, ...]) -> None:
        self._newest = {table.service: table for table in tables}
        self._renewed_at_s = self._clock.monotonic_s()
        for table in tables:
            self._meet_endpoints(table)
        for node in self.fleet.values():
            if node.live and not node.silent and node.refusal is None:
                node.tables = dict(self._newest)

    def _meet_endpoints(self, table: RouteTable) -> None:
        for release in filter(None, (table.stable, table.canary, table.warm)):
            self.health = {endpoint.address: True for endpoint in release.endpoints} | self.health

    async def apply(self, table: RouteTable) -> None:
        live = [node for node in self.fleet.values() if node.live]
        self._renewed_at_s = self._clock.monotonic_s()
        if any(node.tables.get(table.service) != table for node in live):
            self.pushes.append(table)
        self._meet_endpoints(table)
        for node in live:
            if not node.silent and node.refusal is None:
                node.tables[table.service] = table
        behind = [node for node in live if node.tables.get(table.service) != table]
        for node in behind:
            if node.refusal is not None and not node.silent:
                raise GatewayRefused(generation=table.generation, why=node.refusal)
        # A silent gateway that will speak again must find the table waiting for it.
        self._newest[table.service] = table
        if behind:
            raise GatewaySilent(generation=table.generation, nodes=", ".join(sorted(node.id for node in behind)))

    async def renew_lease(self) -> None:
        self._renewed_at_s = self._clock.monotonic_s()

    def nodes(self, service: str) -> tuple[NodeStatus, ...]:
        return tuple(
            NodeStatus(id_, node.tables[service].generation if service in node.tables else -1, node.live)
            for id_, node in sorted(self.fleet.items())
        )

    async def fetch_health(self) -> Mapping[str, bool]:
        return dict(self.health)

    async def sample(self, service: str, share: float) -> None:
        self.samples[service] = share

    def restart(self, node_id: str) -> None:
        """Bring a node back, or add one: it is live, answers, and has the newest tables."""
        self.fleet[node_id] = FakeNode(node_id, tables=dict(self._newest))

    def in_force(self, service: str) -> RouteTable | None:
        """Return the table by which the first live node routes, with nothing for a canary whose lease ran out."""
        table = self._pushed(service)
        if table and table.canary and self.lease_expired:
            return replace(table, weight=0, overrides=False)
        return table

    def _pushed(self, service: str) -> RouteTable | None:
        node = next((node for _, node in sorted(self.fleet.items()) if node.live), None)
        return node.tables.get(service) if node else None

    def route(self, service: str, headers: Mapping[str, str] | None = None) -> Release | None:
        """Return the release that would answer a request with these headers (lower-case names); None: it fails."""
        table, pushed = self.in_force(service), self._pushed(service)
        if table is None or pushed is None:
            return None
        arm = predicted_arm(table, headers or {}) or predicted_arm(table, self._minted(table))
        chosen = table.release_of(arm or ArmName.STABLE)
        other = pushed.stand_in(chosen)  # who stands in is not on the lease
        return next((release for release in (chosen, other) if release and self._is_healthy(release)), None)

    def _minted(self, table: RouteTable) -> dict[str, str]:
        self._n_minted += 1
        return {"cookie": f"{table.identity.cookie}=minted-{self._n_minted}"}

    def _is_healthy(self, release: Release) -> bool:
        return any(self.health.get(endpoint.address, True) for endpoint in release.endpoints)


class FakeTelemetry:
    """Readings from a script, one a call, then empty ones.

    Attributes:
        failure: set to a sentence, and every reading fails with it; None heals. What the script held for failed
            readings comes with the next one.
    """

    def __init__(self, script: Iterable[Reading] = ()) -> None:
        self.failure: str | None = None
        self._script: Iterator[Reading] = iter(script)
        self._missed: deque[Reading] = deque()

    def feed(self, *readings: Reading) -> None:
        """Add to the end of the script."""
        self._script = chain(self._script, readings)

    async def read(self) -> Reading:
        self._missed.append(next(self._script, Reading()))
        if self.failure is not None:
            raise TelemetryUnavailable(why=self.failure)
        readings = tuple(self._missed)
        self._missed.clear()
        return merged(readings)


def merged(readings: Iterable[Reading]) -> Reading:
    """Return one reading that covers them all."""
    by_service: dict[str, ServiceReading] = {}
    complete = True
    for reading in readings:
        complete = complete and reading.complete
        for service, right in reading.by_service.items():
            left = by_service.get(service, ServiceReading())
            by_service[service] = ServiceReading(
                counts=_merged_counts(left.counts + right.counts),
                n_requests=left.n_requests + right.n_requests,
                n_anonymous=left.n_anonymous + right.n_anonymous,
                n_overridden=left.n_overridden + right.n_overridden,
            )
    return Reading(by_service, complete)


def _merged_counts(counts: tuple[PodCounts, ...]) -> tuple[PodCounts, ...]:
    by_pod: dict[tuple[int, str], PodCounts] = {}
    for right in counts:
        left = by_pod.get((right.release, right.pod), PodCounts(right.release, right.pod, 0))
        by_pod[right.release, right.pod] = PodCounts(
            release=right.release,
            pod=right.pod,
            n=left.n + right.n,
            errors=left.errors + right.errors,
            client_errors=left.client_errors + right.client_errors,
            faults=_summed(left.faults, right.faults),
            latency_ms=_summed(left.latency_ms, right.latency_ms),
        )
    return tuple(by_pod.values())


def _summed(left: Mapping[_Key, int], right: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}


class FakeMirror:
    """Records what tests hand it, and replays by rule.

    Attributes:
        answer: (pod, key of the request) -> what that pod answers to it.
        page: (pod, path) -> body of a probe's answer.
        replayed: every (pod, key) so far, oldest first; `marked`: the arm that each was sent for.
    """

    def __init__(
        self,
        answer: Callable[[str, int], Outcome] | None = None,
        *,
        page: Callable[[str, str], bytes] = lambda _pod, _path: b"",
        limit: int = 256,
    ) -> None:
        self.answer = answer or (lambda pod, _key: Outcome(pod, status=200, latency_ms=1.0))
        self.page = page
        self.replayed: list[tuple[str, int]] = []
        self.marked: list[ArmName | None] = []
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._limit = limit
        self._kept: dict[str, deque[RecordedRequest]] = {}
        self._n_recorded = 0

    def allow(self, service: str, patterns: tuple[str, ...]) -> None:
        self._patterns[service] = patterns

    def record(self, service: str, method: str = "GET", path: str = "/", body: bytes = b"") -> None:
        """Keep a request as if a user had sent it, where `allow` allowed it."""
        if not is_repeatable(self._patterns.get(service, ()), method, path):
            return
        self._n_recorded += 1
        request = RecordedRequest(self._n_recorded, method, path, (), body)
        self._kept.setdefault(service, deque(maxlen=self._limit)).append(request)

    def recorded(self, service: str) -> tuple[RecordedRequest, ...]:
        return tuple(self._kept.get(service, ()))

    async def replay(
        self, request: RecordedRequest, endpoint: Endpoint, *, timeout_s: float, arm: ArmName | None = None
    ) -> Outcome:
        self.replayed.append((endpoint.address, request.key))
        self.marked.append(arm)
        return _in_time(self.answer(endpoint.address, request.key), timeout_s)

    async def probe(self, endpoint: Endpoint, path: str, *, timeout_s: float) -> tuple[Outcome, bytes]:
        """GET from a script: the answer to key 0, with the body that `page` gives."""
        outcome = _in_time(self.answer(endpoint.address, 0), timeout_s)
        return outcome, self.page(endpoint.address, path)[:_BODY_LIMIT_BYTES] if outcome.status else b""


def _in_time(outcome: Outcome, timeout_s: float) -> Outcome:
    if outcome.latency_ms <= timeout_s * 1000:
        return outcome
    return Outcome(outcome.pod, status=0, latency_ms=timeout_s * 1000, why=f"no answer within {timeout_s:g} s")
