"""A rollout without I/O: entries are made by hand and folded."""

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.judge.verdict import Verdict, Word
from penstock.registry.release import Endpoint, Release
from penstock.rollout.decide import Decision
from penstock.rollout.entry import Entry, Kind
from penstock.rollout.phases import ROUTING_KINDS
from penstock.rollout.plan import Plan
from penstock.rollout.state import ServiceState, evolve


def release(number: int, name: str, *ports: int, digest: str | None = None) -> Release:
    endpoints = tuple(Endpoint("http", "127.0.0.1", port) for port in ports or (6000 + number,))
    return Release("tts", number, name, {"model": name}, endpoints, digest)


class Story:
    """One service's journal, told entry by entry."""

    def __init__(self) -> None:
        facts = {
            "release": release(1, "1.5.0").as_json(),
            "listen": "127.0.0.1:8500",
            "identity": {"header": "x-user-id", "cookie": "penstock_uid", "use_address": False},
        }
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.entries: list[Entry] = []
        self.state: ServiceState = self._fold(None, Kind.ADOPTED, "adopted", facts, 1)

    def add(self, kind: Kind, reason: str = "", **facts: Any) -> ServiceState:
        generation = self.state.generation + (kind in ROUTING_KINDS)
        self.state = self._fold(self.state, kind, reason, facts, generation)
        return self.state

    def take(self, decision: Decision) -> ServiceState:
        assert decision.kind is not None
        return self.add(decision.kind, decision.reason, **decision.facts)

    def start(self, name: str = "2.0.0", *, plan: Plan | None = None, digest: str | None = None) -> ServiceState:
        plan = plan or Plan.ramp((10, 50, 100), 30.0)
        number = self.state.n_releases + 1
        canary = release(number, name, digest=digest).as_json()
        return self.add(Kind.STARTED, "started", release=canary, plan=plan.as_json())

    def acknowledge(self) -> ServiceState:
        return self.add(Kind.APPLIED, applied=self.state.generation, nodes=["envoy-1"])

    def _fold(
        self, state: ServiceState | None, kind: Kind, reason: str, facts: dict[str, Any], generation: int
    ) -> ServiceState:
        entry = Entry(len(self.entries) + 1, self.now, "tts", kind, "judge", reason, generation, facts, "")
        self.entries.append(entry)
        return evolve(state, entry)


@pytest.fixture
def story() -> Story:
    return Story()


def verdict(word: Word = Word.UNDECIDED, **others: Any) -> Verdict:
    return Verdict(word, **{"n_canary": 100, "reasons": ("errors 47 % against 0.2 %",), **others})
