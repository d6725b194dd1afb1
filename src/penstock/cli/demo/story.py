"""The demo from its first line to its last. Whatever it starts is stopped again, in every case."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from penstock.cli.demo.load import Load
from penstock.cli.demo.page import write_report
from penstock.cli.demo.plots import check_matplotlib
from penstock.cli.demo.processes import Child
from penstock.cli.demo.recording import Recording
from penstock.cli.demo.sampling import Sampler, fetch_journal
from penstock.cli.demo.servers import load_texts, speak, speech_dir, start_servers
from penstock.cli.demo.timeline import n_failed_elsewhere, stories
from penstock.cli.demo.words import lines
from penstock.cli.exit_codes import ExitCode
from penstock.kernel.errors import DemoFailed, UsageError

SERVICE = "tts"
STABLE, BAD, GOOD = "1.5.0", "2.0.1", "1.6.0"
PLAN = ("--steps", "10,50,100", "--dwell", "5s", "--longest-stall", "5s")

_N_PROCESSES = 2
_RATE_HZ = 28.0
_N_USERS = 200
_SEED = 15
_WARM_UP_REQUESTS = 40
_WARM_UP_S = 30.0
_UP_S = 60.0
_DOWN_S = 30.0
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def tell(report: Path, say: Callable[[str], None]) -> int:
    """Run the demo; see `run_demo`."""
    check_matplotlib()
    speech = speech_dir()
    _make_folder(report)
    for line in _introduction(report):
        say(line)
    try:
        recording, codes = _play(speech, say)
    except KeyboardInterrupt:
        say("interrupted; everything that the demo started is stopped")
        return ExitCode.INTERRUPTED
    told = stories(recording)
    for line in lines(recording, told):
        say(line)
    say(f"report with plots and audio: {write_report(report, recording, told)}")
    _check(recording, codes)
    return ExitCode.OK


def _introduction(report: Path) -> tuple[str, ...]:
    users = f"{_N_USERS} users ask for {_RATE_HZ:.0f} sentences a second while Penstock meters in {BAD}, then {GOOD}"
    return (
        f"Two processes each of a small speech synthesiser: {STABLE} serves, {BAD} fails on long texts, {GOOD} is good.",
        f"{users}; the plan is a demo's: {' '.join(PLAN)}.",
        f"It takes about a minute, stays on this machine, asks nothing, and leaves a report in {report}.",
    )


def _play(speech: Path, say: Callable[[str], None]) -> tuple[Recording, dict[str, int]]:
    """Start everything, release both versions under load, stop everything; return what was seen and the exit codes."""
    commands: list[str] = []

    def show(command: Sequence[str]) -> None:
        commands.append(" ".join(["penstock", *command]))
        say(f"$ {commands[-1]}")

    with _stoppable(), ExitStack() as stack, _undisturbed_end():
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-", ignore_cleanup_errors=True))
        )
        urls = start_servers(speech, (STABLE, BAD, GOOD), _N_PROCESSES, home, stack, say)
        api_url, gateway_url = _up(urls[STABLE], home, stack, say, show)
        load = Load(gateway_url, load_texts(), _RATE_HZ, _N_USERS, _SEED)
        load.start()
        stack.callback(load.stop)
        codes: dict[str, int] = {}
        with Sampler(api_url, SERVICE) as sampler:
            for version, expected in ((BAD, ExitCode.ROLLED_BACK), (GOOD, ExitCode.OK)):
                _let_run(load)
                codes[version] = _release(api_url, urls[version], version, show)
                if codes[version] != expected:
                    break
            _let_run(load)
        requests = load.stop()
        recording = Recording(
            service=SERVICE,
            stable=STABLE,
            requests=tuple(requests),
            samples=tuple(sampler.samples),
            journal=fetch_journal(api_url, SERVICE),
            utterances=tuple(speak(urls)),
            commands=tuple(commands),
        )
        say("stopping everything that was started")
    return recording, codes


def _up(
    urls: Sequence[str],
    home: Path,
    stack: ExitStack,
    say: Callable[[str], None],
    show: Callable[[Sequence[str]], None],
) -> tuple[str, str]:
    """Start the control plane and its gateway; return the URLs of API and gateway."""
    state = home / "state"
    command = ["up", f"{SERVICE}={','.join(urls)}", "--api", "127.0.0.1:0", "--state", str(state)]
    show(command)
    child = Child("penstock up", [*_penstock(), *command], home / "up.log")
    stack.callback(_down, child, state, say)
    gateway_url = child.expect(r"^gateway (http://\S+)", _UP_S)[1]
    api_url = child.expect(r"^api (http://\S+)", _UP_S)[1]
    say(f"gateway {gateway_url}")
    say(f"api {api_url}")
    return api_url, gateway_url


def _down(child: Child, state: Path, say: Callable[[str], None]) -> None:
    """Stop the control plane, and the gateway that outlives it."""
    command = [*_penstock(), "down", "--state", str(state)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DOWN_S, check=False, start_new_session=True
        )
        if done.returncode:
            say(f"penstock down failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    except subprocess.TimeoutExpired:
        say(f"penstock down did not end within {_DOWN_S:.0f} s")
    finally:
        child.stop()


def _release(api_url: str, urls: Sequence[str], version: str, show: Callable[[Sequence[str]], None]) -> int:
    """Release a version as a user would, on the user's own screen; return the exit code."""
    command = ["release", SERVICE, *urls, "--version", version, *PLAN, "--watch", "--api", api_url]
    show(command)
    sys.stdout.flush()
    with subprocess.Popen([*_penstock(), *command]) as watching:
        try:
            return watching.wait()
        finally:
            if watching.poll() is None:
                watching.terminate()


def _penstock() -> list[str]:
    """Return the program as it is installed beside this Python, else as a module."""
    program = Path(sys.executable).with_name("penstock")
    return [str(program)] if program.is_file() else [sys.executable, "-c", "from penstock.cli.main import main; main()"]


def _let_run(load: Load) -> None:
    """Wait until the users had some more answers."""
    wanted = load.n_answered + _WARM_UP_REQUESTS
    deadline_s = time.perf_counter() + _WARM_UP_S
    while load.n_answered < wanted:
        if time.perf_counter() > deadline_s:
            raise DemoFailed(why=f"{wanted - load.n_answered} requests got no answer within {_WARM_UP_S:.0f} s")
        time.sleep(0.05)


def _check(recording: Recording, codes: Mapping[str, int]) -> None:
    """Raise DemoFailed unless the bad version was rolled back, the good one promoted, and nothing else failed."""
    if codes[BAD] != ExitCode.ROLLED_BACK:
        raise DemoFailed(why=f"{BAD} should have been rolled back, but its release ended with exit code {codes[BAD]}")
    if codes[GOOD] != ExitCode.OK:
        raise DemoFailed(why=f"{GOOD} should have been promoted, but its release ended with exit code {codes[GOOD]}")
    if n_failed := n_failed_elsewhere(recording, BAD):
        raise DemoFailed(why=f"{n_failed} requests failed that {BAD} had not answered")


def _make_folder(report: Path) -> None:
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(detail=f"the report cannot be written to {report}: {error.strerror}.") from None


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop the demo as Ctrl-C does. What is ignored (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number, action in before.items():
        if action is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def _undisturbed_end() -> Iterator[None]:
    """From the end of the block on, let no signal disturb the cleaning up."""
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
