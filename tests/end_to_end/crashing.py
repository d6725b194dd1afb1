"""A control plane that is killed again and again in the middle of what it was asked to do, and what must hold then."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from penstock.rollout.entry import Entry, Kind
from penstock.rollout.state import ServiceState, fold
from tests.end_to_end.load import Load, everybody
from tests.end_to_end.programs import until
from tests.end_to_end.stage import SERVICE, Stage, predicted

LEASE_S = 1.0
#: By then canary traffic must be gone. Source: the issue's table.
GRACE_S = LEASE_S + 2.0
#: Kills come this long after a command at most, seconds. Source: measured, a command is over after 10 to 40 ms.
LATEST_S = 0.05
#: Share of the rollouts held by the restart that go on before the next kill.
RESUMED_RATIO = 0.7
USERS = everybody(100)
PLAN = {"steps": "30,60,100", "dwell": "1h", "min_requests": 0, "longest_stall": "5s"}
#: Commands by phase; those that are named twice come twice as often.
COMMANDS = {
    "idle": ("release", "release", "release", "undo"),
    "stepping": ("promote", "promote", "full", "pause", "rollback", "abort"),
    "held": ("resume", "resume", "promote", "full", "rollback"),
    "baking": ("promote", "promote", "pause", "rollback"),
    "withdrawn": ("pause", "rollback", "abort"),
    "fallback": ("abort",),
}
_VERBS = {"full": "promote", "undo": "rollback", "release": "rollouts"}


@dataclass(frozen=True)
class Crash:
    """One kill.

    Attributes:
        phase: in which it came.
        command: that was under way.
        delay_s: from the command to the kill.
        moment: how far the command had come by then, as the journal tells.
        canary_s: from the kill to the last start of a request that the canary answered without a control plane.
        wrong: what did not hold, as sentences.
    """

    phase: str
    command: str
    delay_s: float
    moment: str
    canary_s: float
    wrong: tuple[str, ...] = ()


@dataclass
class Crasher:
    """Two servers that take turns as canary, users who never stop, and a control plane to be killed.

    Attributes:
        load: what the users saw.
        n_quarantined: answers of quarantined releases, given while a control plane lived.
    """

    stage: Stage
    rng: np.random.Generator
    n_quarantined: int = 0
    load: Load = field(init=False)

    def __post_init__(self) -> None:
        self._servers = [self.stage.server().url for _ in range(2)]
        self._n_versions = 1
        self.stage.up(self._servers[0], lease=f"{LEASE_S}s")
        self._up_s = time.monotonic()
        self.load = self.stage.users(rate_hz=40, users=USERS)
        self.load.__enter__()

    def crash(self) -> Crash:
        """Kill the control plane at a random moment, let it come back, and return what was seen."""
        status = self._until_settled()
        if status["phase"] == "held" and self.rng.random() < RESUMED_RATIO:
            assert self.stage.penstock("resume", SERVICE).code == 0
            status = self._until_settled()
        phase = str(status["phase"])
        before = self.stage.journal()
        command = str(self.rng.choice(COMMANDS[phase]))
        delay_s = float(self.rng.uniform(0.0, LATEST_S))
        self._command_and_kill(command, status, delay_s)
        killed_s = time.monotonic()
        after = self.stage.journal()
        wrong = [*self._wrong_split(before, after, killed_s)]
        self._count_quarantined(fold(before)[SERVICE], self._up_s, killed_s)
        if self.rng.random() < 0.5:  # the others come back while the lease still runs
            until(lambda: time.monotonic() > killed_s + GRACE_S and self.load.n_since(killed_s + GRACE_S) > 20, "users")
            wrong += self._wrong_after_lease(fold(after)[SERVICE], killed_s)
        canary_s = self._last_canary_s(fold(before)[SERVICE], fold(after)[SERVICE], killed_s)
        self.stage.up(lease=f"{LEASE_S}s")
        self._up_s = time.monotonic()
        wrong += self._wrong_after_restart(after)
        return Crash(phase, command, delay_s, moment_of(before, after), canary_s, tuple(wrong))

    def _until_settled(self) -> dict[str, Any]:
        """Wait until the service waits for a person and every gateway serves what the journal says."""

        def settled() -> dict[str, Any] | None:
            status: dict[str, Any] = httpx2.get(f"{self.stage.api_url}/v1/services/{SERVICE}", trust_env=False).json()
            return (
                status if status["phase"] in COMMANDS and status["applied_generation"] == status["generation"] else None
            )

        status = until(settled, "the service settles")
        assert status
        return status

    def _command_and_kill(self, command: str, status: dict[str, Any], delay_s: float) -> None:
        with commanded(self.stage.api_url, command, self._body(command, status)):
            time.sleep(delay_s)
            self.stage.plane.kill()

    def _body(self, command: str, status: dict[str, Any]) -> dict[str, Any]:
        if command == "full":
            return {"full": True}
        if command != "release":
            return {"reason": command}
        self._n_versions += 1
        free = next(url for url in self._servers if url not in status["stable"]["endpoints"])
        return {"urls": [free], "version": f"v{self._n_versions}", "plan": PLAN}

    def _wrong_split(self, before: list[Entry], after: list[Entry], killed_s: float) -> list[str]:
        """The gateway serves one whole table: the one before the command, or the one after it."""
        served = self.stage.served(USERS)
        if time.monotonic() - killed_s > LEASE_S / 2:
            return []  # the lease may have ended while users asked
        tables = [fold(entries)[SERVICE].table() for entries in (before, after)]
        return (
            []
            if served in [predicted(table, USERS) for table in tables]
            else ["after the kill: a split of neither state"]
        )

    def _wrong_after_lease(self, state: ServiceState, killed_s: float) -> list[str]:
        releases = self.load.releases(since_s=killed_s + GRACE_S)
        known = {release.name for release in state.promoted}
        return [] if len(releases) == 1 and releases <= known else [f"after the lease: {sorted(releases)} serve"]

    def _wrong_after_restart(self, killed: list[Entry]) -> list[str]:
        self._until_settled()
        entries = self.stage.journal()
        state = fold(entries)[SERVICE]
        wrong = []
        if entries[: len(killed)] != killed:
            wrong.append("after the restart: entries were lost")
        if state.canary is not None and state.weight_pct > 0:
            wrong.append(f"after the restart: the canary has {state.weight_pct:g} % without anybody's word")
        if self.stage.served(USERS) != predicted(state.table(), USERS):
            wrong.append("after the restart: users are not served as the journal says")
        return wrong

    def _count_quarantined(self, state: ServiceState, since_s: float, until_s: float) -> None:
        marked = {version for version, _ in state.quarantine.values()}
        answers = [r for r in list(self.load.requests) if since_s <= r.at_s and r.done_s <= until_s]
        self.n_quarantined += sum(r.release in marked for r in answers)

    def _last_canary_s(self, before: ServiceState, after: ServiceState, killed_s: float) -> float:
        canaries = {s.canary.name for s in (before, after) if s.canary} - {r.name for r in after.promoted}
        starts = [r.at_s for r in list(self.load.requests) if r.release in canaries and r.at_s > killed_s]
        return max(starts, default=killed_s) - killed_s


@contextlib.contextmanager
def commanded(api_url: str, command: str, body: dict[str, Any]) -> Iterator[None]:
    """Send a command of `COMMANDS` and wait for no answer; the connection stays open until `with` ends."""
    content, where = json.dumps(body).encode(), urlsplit(api_url)
    path = f"/v1/services/{SERVICE}/{_VERBS.get(command, command)}"
    head = f"POST {path} HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((str(where.hostname), where.port or 80)) as connection:
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        yield


def moment_of(before: list[Entry], after: list[Entry]) -> str:
    """Return how far a command had come when the process died, as its journal tells."""
    new = after[len(before) :]
    if not new:
        return "before the journal"
    return "acknowledged" if any(entry.kind is Kind.APPLIED for entry in new) else "journalled"
