"""Releases and rollbacks of one component, in which the control plane or a server is killed again and again."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx2
import numpy as np

from penstock.kernel.semver import SemVer
from penstock.registry import stage as stages
from penstock.registry.metadata import Metadata
from penstock.registry.query import Query
from penstock.registry.release import part_name, set_name
from penstock.registry.version import Version
from penstock.rollout.fleet import wanted
from penstock.rollout.state import ServiceState, fold
from penstock.stores.clock import SystemClock
from penstock.stores.registry import SqlRegistry
from tests.end_to_end.crashing import COMMANDS, LATEST_S, LEASE_S, PLAN, RESUMED_RATIO, USERS, commanded, moment_of
from tests.end_to_end.load import Request, ask_everybody
from tests.end_to_end.programs import until
from tests.end_to_end.stage import SERVICE, Stage, predicted
from tests.servers.toys import Toy

#: Half of the kills come while the command is under way; the others while its consequences are, up to this late, seconds.
_LATER_S = 1.5
_FIRST = {"acoustic": "1.0.0", "vocoder": "1.0.0"}
_N_VERSIONS = 100


class Victim(StrEnum):
    """Who is killed."""

    CONTROL_PLANE = "control plane"
    SERVER = "server"


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        phase: in which it came.
        command: that was sent before.
        delay_s: from the command to the kill.
        moment: how far the command had come by then, as the journal tells.
        mended_s: from the kill, over the start of what was killed, until journal, gateway, servers and registry were at one.
        wrong: what did not hold then, as sentences.
    """

    victim: Victim
    phase: str
    command: str
    delay_s: float
    moment: str
    mended_s: float
    wrong: tuple[str, ...]


class Killer:
    """A fleet whose servers switch versions in place, users who never stop, and kills. A lone server is not killed itself.

    Attributes:
        n_quarantined: answers of versions that were rolled back from, given while everything was at one.
    """

    def __init__(self, stage: Stage, rng: np.random.Generator, n_servers: int) -> None:
        self.stage = stage
        self.n_quarantined = 0
        self._rng = rng
        self._n_released = 0
        self._servers_killed_at_s: list[float] = []
        self._stack = contextlib.ExitStack()
        self._toys = [Toy().__enter__() for _ in range(n_servers)]
        self._stack.callback(lambda: [toy.__exit__() for toy in self._toys])
        self._registry = self._stack.enter_context(contextlib.closing(_registry(stage)))
        stage.up(*(toy.endpoint.url for toy in self._toys), lease=f"{LEASE_S}s")
        self.load = self._stack.enter_context(stage.users(rate_hz=40, users=USERS))

    def close(self) -> None:
        """End users and servers."""
        self._stack.close()

    def kill(self) -> Kill:
        """Kill somebody at a random moment after a random command, start it again, and return what was seen."""
        state = self._at_one()
        if state.phase.value == "held" and self._rng.random() < RESUMED_RATIO:
            assert self.stage.penstock("resume", SERVICE).code == 0
            state = self._at_one()
        calm_s = time.monotonic()
        before = self.stage.journal()
        command = str(self._rng.choice(COMMANDS[state.phase.value]))
        victim = Victim.SERVER if len(self._toys) > 1 and self._rng.random() < 0.5 else Victim.CONTROL_PLANE
        delay_s = float(self._rng.uniform(0.0, LATEST_S if self._rng.random() < 0.5 else _LATER_S))
        self._count_quarantined(state, calm_s, time.monotonic())
        with commanded(self.stage.api_url, command, self._body(command)):
            time.sleep(delay_s)
            killed_s = time.monotonic()
            after = self._kill(victim)
            state = self._at_one()
        mended_s = time.monotonic() - killed_s
        wrong = [*self._wrong_users(state)]
        if self.stage.journal()[: len(after)] != after:
            wrong.append("entries were lost")
        if victim is Victim.CONTROL_PLANE and state.weight_pct > 0:
            wrong.append(f"the canary has {state.weight_pct:g} % without anybody's word")
        phase = fold(before)[SERVICE].phase.value
        return Kill(victim, phase, command, delay_s, moment_of(before, after), mended_s, tuple(wrong))

    # -- what users saw

    def failed(self) -> tuple[list[Request], list[Request]]:
        """Return the requests that failed: those that were under way when a server was killed, and the others."""
        failed = self.load.failures()
        cut = [r for r in failed if any(r.at_s <= at_s <= r.done_s for at_s in self._servers_killed_at_s)]
        return cut, [r for r in failed if r not in cut]

    def mixed(self) -> list[Request]:
        """Return the answers of which not all parts were made by what `X-Model-Version` says."""
        return [r for r in self.load.requests if r.status == 200 and set_name(_parts_of(r)) != r.versions]

    def misnamed(self) -> list[Request]:
        """Return the answers made by other versions than the release has that is named in them."""
        sets: dict[str, str] = {}
        for entry in self.stage.journal():
            for release in (entry.facts.get(fact) for fact in ("release", "to")):
                sets |= {release["name"]: set_name(release["versions"])} if release else {}
        return [r for r in self.load.requests if r.status == 200 and r.versions != sets[r.release]]

    # -- parts

    def _body(self, command: str) -> dict[str, Any]:
        if command == "full":
            return {"full": True}
        if command == "release":
            self._n_released += 1
            return {"component": "vocoder", "version": f"1.{self._n_released}.0", "plan": PLAN}
        part = {"component": "vocoder"} if command in ("rollback", "undo") else {}
        return {"reason": command, **part}

    def _kill(self, victim: Victim) -> list[Any]:
        """Kill it, read the journal, and start it again."""
        if victim is Victim.CONTROL_PLANE:
            self.stage.plane.kill()
            after = self.stage.journal()
            self.stage.up(lease=f"{LEASE_S}s")
            return after
        number = int(self._rng.integers(len(self._toys)))
        self._servers_killed_at_s.append(time.monotonic())
        self._toys[number].__exit__()
        after = self.stage.journal()
        self._toys[number] = Toy(port=self._toys[number].endpoint.port).__enter__()
        return after

    def _at_one(self) -> ServiceState:
        """Wait until a person has the word, and journal, gateway, servers and registry say the same; return the state."""
        found: list[str] = []

        def at_one() -> bool:
            found[:] = self._differences()
            return not found

        try:
            until(at_one, "everything is at one")
        except AssertionError as error:
            raise AssertionError(f"{error}; {found}") from None
        return self.stage.journalled()

    def _differences(self) -> list[str]:
        status = httpx2.get(f"{self.stage.api_url}/v1/services/{SERVICE}", trust_env=False).json()
        state = self.stage.journalled()
        found = [f"warning: {each}" for each in status["warnings"] if "out of rotation" in each]
        if status["phase"] not in COMMANDS or status["waiting_for"].startswith("waiting for"):
            found.append(f"it is {status['phase']}: {status['waiting_for']}")
        if not status["generation"] == status["applied_generation"] == state.generation:
            found.append(f"generation {state.generation} is not in force")
        found += [f"Envoy does not send to {server}" for server, sends in self.stage.health().items() if not sends]
        return [*found, *self._servers_that_differ(state), *self._registry_differs(state)]

    def _servers_that_differ(self, state: ServiceState) -> Iterator[str]:
        goals = wanted(state)
        for toy in self._toys:
            goal, said = goals[toy.endpoint], toy.client.get("/penstock/v1/slots").json()
            serving = {component: part["serving"] for component, part in said["components"].items()}
            if (serving, said["canary"]) != (goal.versions, goal.canary):
                yield f"{toy.endpoint.address} serves {serving} and {said['canary']}"

    def _registry_differs(self, state: ServiceState) -> Iterator[str]:
        self._registry.verify()
        there = {part_name(v.component, str(v.version)): v.stage for v in self._registry.versions(Query())}
        if len(there) != _N_VERSIONS + 1:
            yield f"the registry has {len(there)} versions"
        expected = {name: stages.Stage.QUARANTINED for name, _ in state.quarantine.values()}
        expected |= {part_name(c, v): stages.Stage.STABLE for c, v in state.stable.versions.items()}
        for name, stage in expected.items():
            if there[name] is not stage:
                yield f"the registry says {there[name]} of {name}"
        newest = self._registry.promotions(SERVICE, limit=1)
        if not newest or newest[0].versions != state.stable.versions:
            yield "the registry does not know what serves"

    def _wrong_users(self, state: ServiceState) -> Iterator[str]:
        answers = ask_everybody(self.stage.gateway_url, USERS)
        if self.stage.journalled().generation != state.generation:
            return  # the judge had something to say meanwhile
        sets = {r.name: set_name(r.versions) for r in (state.stable, state.canary) if r is not None}
        if n_failed := sum(r.failed for r in answers):
            yield f"{n_failed} of {len(answers)} users were not served"
        elif {r.user: r.release for r in answers} != predicted(state.table(), USERS):
            yield "users are not served as the journal says"
        elif any(r.versions != sets[r.release] for r in answers):
            yield f"answers of other versions than their release has: { ({(r.release, r.versions) for r in answers}) }"

    def _count_quarantined(self, state: ServiceState, since_s: float, until_s: float) -> None:
        marked = {name for name, _ in state.quarantine.values()}
        calm = [r for r in list(self.load.requests) if since_s <= r.at_s and r.done_s <= until_s]
        self.n_quarantined += sum(not marked.isdisjoint(r.versions.split("+")) for r in calm)


def _parts_of(request: Request) -> dict[str, str]:
    """Return component -> version of what made an answer's body; see servers/toy.py."""
    return {component: said.removeprefix(f"{component} ") for component, said in json.loads(request.body).items()}


def _registry(stage: Stage) -> SqlRegistry:
    """Register every version that will be released."""
    stage.state_dir.mkdir(mode=0o700)
    registry, now = SqlRegistry(stage.state_dir / "registry.db"), SystemClock().now()
    metadata = Metadata.from_json({"owner": "ann"}, allow_missing=True)
    names = [("acoustic", "1.0.0"), *(("vocoder", f"1.{i}.0") for i in range(_N_VERSIONS))]
    for component, number in names:
        stage_ = stages.Stage.STABLE if _FIRST[component] == number else stages.Stage.VERIFIED
        version = Version(SERVICE, component, SemVer.parse(number), None, 0, metadata, now, stage=stage_)
        registry.register(version, actor="ann", reason="made")
    return registry
