"""Given, when, then: model servers, a real `penstock up` with its Envoy, users, and the command line, on one stage."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.gateways.envoy.admin import Admin
from penstock.rollout.entry import Entry
from penstock.rollout.state import ServiceState, fold
from penstock.routing.table import ArmName, RouteTable, predicted_arm
from penstock.stores.clock import SystemClock
from penstock.stores.sql import SqlJournal
from tests.end_to_end.load import Load, ask_everybody
from tests.end_to_end.programs import PENSTOCK, Program, Server, SpeechServer, end, processes_of, until

SERVICE = "tts"
_COMMAND_S = 120.0

Url = Server | SpeechServer | str


@dataclass(frozen=True)
class Result:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        """The last line of stdout, as JSON."""
        return json.loads(self.out.strip().splitlines()[-1])


class Stage:
    """Everything that one test starts. Whatever happens, `close` ends all of it, by pid.

    Attributes:
        folder: logs lie here; the control plane's state in `state` (a short path: sockets are in it).
        plane: the control plane that runs, or ran last.
        gateway_url: where users ask.
        api_url: where commands go.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ps-"))
        self.state_dir = self.folder / "state"
        self.gateway_url = ""
        self.api_url = ""
        self._plane: Program | None = None
        self._n_programs = 0
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder)
        self._stack.callback(self._end_what_is_left)

    def close(self) -> None:
        self._stack.close()

    # -- given

    def server(self, version: str = "", *, port: int = 0, **behaviour: object) -> Server:
        """A model server; see `backend.Behaviour` for how it may behave."""
        server = Server(version, self._log(f"server-{version}"), port=port)
        self._stack.callback(server.stop)
        if behaviour:
            server.behave(**behaviour)
        return server

    def speech(self, *versions: str) -> list[SpeechServer]:
        """Real synthesisers, one process for each version that is named; all start at once and are ready then."""
        return self._speaking(*(("--version", version) for version in versions))

    def components(self, n_servers: int) -> list[SpeechServer]:
        """Real synthesisers of components, which pull their weights from the store that `penstock push` fills."""
        return self._speaking(*[("--service", SERVICE)] * n_servers)

    def _speaking(self, *asked: Sequence[str]) -> list[SpeechServer]:
        servers = []
        for arguments in asked:
            servers.append(SpeechServer(self._log(f"speech-{arguments[-1]}"), *arguments))
            self._stack.callback(servers[-1].stop)
        assert all(server.url for server in servers)
        return servers

    def up(self, *servers: Url, lease: str = "3s", prefix: Sequence[str] = ()) -> Program:
        """The control plane, with these servers as stable; without any, on what its journal knows."""
        services = [f"{SERVICE}={','.join(map(url_of, servers))}"] if servers else []
        plane = self.start_up(*services, "--lease", lease, prefix=prefix)
        plane.expect(r"^point clients here$")
        self.gateway_url = plane.expect(r"^gateway (\S+)$")[1]
        self.api_url = plane.expect(r"^api (\S+)$")[1]
        return plane

    def start_up(self, *args: str, prefix: Sequence[str] = ()) -> Program:
        """`penstock up` with these arguments, run by the program `prefix` if there is one; returns at once."""
        api = () if "--api" in args else ("--api", "127.0.0.1:0")
        command = [*prefix, PENSTOCK, "up", *args, *api, "--state", str(self.state_dir)]
        self._plane = Program(command, self._log("up"))
        self._stack.callback(self._plane.stop)
        return self._plane

    @property
    def plane(self) -> Program:
        assert self._plane
        return self._plane

    # -- when

    def users(self, **options: Any) -> Load:
        """Users of the gateway; they ask from entering to leaving."""
        load = Load(self.gateway_url, **options)
        self._stack.callback(load.stop)
        return load

    def penstock(self, *args: Url) -> Result:
        """Run a command line; the answer is asked for as JSON."""
        command = [PENSTOCK, *map(url_of, args), "-o", "json"]
        env = {**os.environ, "PENSTOCK_URL": self.api_url}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def release(self, *servers: Url, version: str, plan: Sequence[str], watch: bool = False) -> Result:
        """Release a version; without `watch` it must be accepted."""
        urls = list(map(url_of, servers))
        result = self.penstock("release", SERVICE, *urls, "--version", version, *plan, *["--watch"] * watch)
        assert watch or result.code == 0, result.err
        return result

    # -- then

    def status(self) -> dict[str, Any]:
        result = self.penstock("status", SERVICE)
        assert result.code == 0, result.err
        status = result.last
        assert isinstance(status, dict)
        return status

    def until_status(self, holds: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until a condition on the status holds; return that status."""
        seen: dict[str, Any] = {}

        def held() -> bool:
            seen.update(self.status())
            return bool(holds(seen))

        try:
            until(held, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the status was {json.dumps(seen)}") from None
        return seen

    def until_stepping(self, weight_pct: float) -> dict[str, Any]:
        """Wait until the canary holds a weight that every gateway acknowledged."""
        return self.until_status(
            lambda s: s["weight_pct"] == weight_pct and s["applied_generation"] == s["generation"], f"{weight_pct} %"
        )

    def journal(self) -> list[Entry]:
        """Read the journal past the control plane, verified."""

        async def read() -> list[Entry]:
            journal = SqlJournal(self.state_dir / "journal.db", SystemClock())
            try:
                await journal.verify()
                return await journal.read()
            finally:
                await journal.close()

        return asyncio.run(read())

    def journalled(self) -> ServiceState:
        """Return the service's state as its journal tells it."""
        return fold(self.journal())[SERVICE]

    def health(self) -> Mapping[str, bool]:
        """Return `host:port` of every server -> whether Envoy sends requests to it."""

        async def fetch() -> Mapping[str, bool]:
            admin = Admin(self.state_dir / "admin.sock")
            try:
                return await admin.fetch_health()
            finally:
                await admin.close()

        return asyncio.run(fetch())

    def served(self, users: Iterable[str], headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Let every user ask once; return who got which release. Nobody may fail."""
        answers = ask_everybody(self.gateway_url, users, headers)
        failed = [answer for answer in answers if answer.status != 200]
        assert not failed, f"{len(failed)} of {len(answers)} failed, the first one so: {failed[0]}"
        return {answer.user: answer.release for answer in answers}

    def envoys(self) -> list[int]:
        """Return the pids of the Envoys of this stage."""
        return processes_of(self.state_dir / "envoy.json")

    # -- parts

    def _log(self, name: str) -> Path:
        self._n_programs += 1
        return self.folder / f"{self._n_programs:02d}-{name}.log"

    def _end_what_is_left(self) -> None:
        """Envoy outlives the control plane by design."""
        for pid in processes_of(self.folder):
            end(pid)
        assert not processes_of(self.folder)


def predicted(table: RouteTable, users: Iterable[str]) -> dict[str, str]:
    """Return the release that each user must get."""
    arms = {user: predicted_arm(table, {"x-user-id": user}) for user in users}
    return {user: table.release_of(arm or ArmName.STABLE).name for user, arm in arms.items()}


def url_of(server: Url) -> str:
    return server if isinstance(server, str) else server.url
