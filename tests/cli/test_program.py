"""The program without a control plane: help, usage, what it imports, what it does with what it cannot understand."""

import io
import json
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.client import error_from
from penstock.cli.exit_codes import ExitCode, code_of_error, code_of_outcome
from penstock.cli.terminal import plain, wants_json
from penstock.cli.views import LiveView
from penstock.kernel import errors
from tests.cli.conftest import Command

HEAVY = {"fastapi", "starlette", "pydantic", "uvicorn", "sqlalchemy", "numpy", "grpc", "httpx2", "rich", "ruamel"}


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from penstock.cli.main import run; code = run(['--help']);"
        "print(sorted({m.split('.')[0] for m in sys.modules})); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not imported & HEAVY
    assert "Exit codes: 0 ok" in done.stdout


@pytest.mark.parametrize("verb", ["up", "down", "release", "status", "list", "get", "history", "explain", "rollback", "pause",
                                  "resume", "promote", "abort", "quarantine", "unquarantine", "doctor", "demo", "replay", "simulate"])  # fmt: skip
def test_every_command_explains_itself_and_speaks_json(penstock: Command, verb: str) -> None:
    done = penstock(verb, "--help")
    assert done.code == 0
    assert "--output" in done.out


def test_nothing_said_is_answered_with_help(penstock: Command) -> None:
    assert penstock().out == penstock("--help").out


def test_the_version(penstock: Command) -> None:
    assert penstock("--version").out.startswith("penstock 0.")


def test_an_unknown_command_names_the_nearest(penstock: Command) -> None:
    done = penstock("relase")
    assert done.code == 2
    assert "Did you mean 'release'" in done.err


@pytest.mark.parametrize(
    "args", [("status",), ("status", "tts", "--colour"), ("status", "tts", "-o", "xml"), ("release", "tts")]
)
def test_usage_errors_exit_2_with_a_remedy(penstock: Command, args: tuple[str, ...]) -> None:
    done = penstock(*args)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[1].startswith("  remedy: ")


def test_usage_errors_speak_json_too(penstock: Command) -> None:
    done = penstock("status", "-o", "json")
    assert (done.code, done.last["error"]["code"]) == (2, "usage")


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that nobody answers at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize(
    "args", [("status", "tts"), ("list",), ("doctor",), ("pause", "tts"), ("release", "tts", "http://h:1")]
)
def test_no_control_plane_is_unreachable(penstock: Command, nobody: str, args: tuple[str, ...]) -> None:
    done = penstock(*args, "--api", nobody, "-o", "json")
    assert (done.code, done.last["error"]["code"]) == (8, "control-plane-unreachable")
    assert nobody in done.err


def test_the_api_can_be_named_by_the_environment(
    penstock: Command, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_URL", nobody)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert nobody in penstock("list").err
    assert penstock("list", "--api", "ftp://h").code == 2


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.PenstockError, 1),
        (errors.UsageError, 2),
        (errors.InvalidPlan, 2),
        (errors.UnknownService, 1),
        (errors.NoRollout, 1),
        (errors.Quarantined, 6),
        (errors.AddressNotLocal, 6),
        (errors.RolloutInProgress, 7),
        (errors.StaleGeneration, 7),
        (errors.ControlPlaneUnreachable, 8),
        (errors.EndpointUnreachable, 8),
        (errors.TelemetryUnavailable, 1),
        (errors.GatewaySilent, 1),
        (errors.JournalUnwritable, 1),
    ],
)
def test_exit_codes_by_error(kind: type[errors.PenstockError], code: int) -> None:
    error = kind.__new__(kind)
    assert code_of_error(error) == code


def test_exit_codes_by_outcome() -> None:
    words = ("promoted", "rolled_back", "paused", "aborted", "timeout", "exploded")
    assert [code_of_outcome(word) for word in words] == [0, 3, 4, 4, 5, 1]
    assert ExitCode.INTERRUPTED == 130


def test_errors_come_back_as_what_they_were() -> None:
    facts = {"service": "tts", "known": "none yet"}
    back = error_from({"code": "unknown-service", "facts": facts, "detail": "?"}, 404)
    assert isinstance(back, errors.UnknownService)
    assert back.message == "There is no service 'tts'; known services: none yet."


@pytest.mark.parametrize(
    ("problem", "status", "kind"),
    [
        ({"code": "from-the-future", "detail": "too warm", "facts": {}}, 409, errors.ConflictError),
        ({"code": "unknown-service", "detail": "too warm", "facts": {}}, 404, errors.NotFoundError),
        ({"detail": "too warm"}, 418, errors.BrokenError),
    ],
)
def test_problems_of_another_version_keep_their_words(
    problem: dict[str, object], status: int, kind: type[errors.PenstockError]
) -> None:
    error = error_from(problem, status)
    assert type(error) is kind
    assert "too warm" in error.message


def test_what_steers_a_terminal_is_made_visible() -> None:
    assert plain("a\x1b[2Jb\u202e") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("args", [["x", "-o", "json"], ["x", "--output=json"], ["-ojson"], ["--output", "json", "x"]])
def test_json_is_recognised_before_parsing(args: list[str]) -> None:
    assert wants_json(args)
    assert not wants_json(["x", "-o", "table"])


def test_the_live_picture_shows_the_rollout() -> None:
    screen = io.StringIO()
    view = LiveView(screen)
    metric = {
        "bad_canary_ratio": 0.44, "n_canary": 9, "bad_stable_ratio": 0.002, "n_stable": 90, "metric": "errors",
        "block_evidence": None, "request_evidence": 3.0, "proof": 0.4, "limit": "1.25x",
    }  # fmt: skip
    evidence = {
        "word": "undecided", "evidence": 3.1, "evidence_needed": 125.0, "gross_s": 2.0, "gross_needed_s": 15.0,
        "n_canary": 9, "n_probes": 0, "metrics": {"errors": metric},
    }  # fmt: skip
    status = {
        "service": "tts", "stable": {"release": "1.5.0"}, "canary": {"release": "2.0.1"}, "steps": [10.0, 100.0], "step": 0,
        "phase": "held", "weight_pct": 10.0, "evidence": evidence, "waiting_for": "a person", "outcome": None,
        "nodes": [{"id": "a", "generation": 3, "live": True}], "generation": 3, "warnings": ["no traffic"],
        "trouble": "the disk is full", "reason": "lunch",
    }  # fmt: skip
    view.note("the control plane is back")
    view.status(status)
    view.entry({"at": "2026-01-01T00:00:00Z", "kind": "held", "reason": "lunch", "actor": "ann"})
    view.close()
    drawn = screen.getvalue()
    for words in ("1.5.0 -> 2.0.1", "###...", "errors", "44 %", "beyond measure", "evidence 3.1 of 125", "no traffic",
                  "the disk is full", "penstock resume tts", "1/1 gateways", "00:00:00  held"):  # fmt: skip
        assert words in drawn


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What `up` and `down` would start and stop; the server itself has tests of its own."""
    calls: list[object] = []
    server = types.ModuleType("penstock.api.serve")
    composition = types.ModuleType("penstock.bootstrap.plane")

    def serve(options: object, say: object) -> None:
        calls.append(options)
        say("gateway http://127.0.0.1:8500")  # type: ignore[operator]

    def down(state_dir: Path, say: object) -> None:
        calls.append(state_dir)

    server.serve, server.down = serve, down  # type: ignore[attr-defined]
    composition.UpOptions = lambda *options: options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "penstock.api.serve", server)
    monkeypatch.setitem(sys.modules, "penstock.bootstrap.plane", composition)
    return calls


def test_up_reads_what_was_asked_for(penstock: Command, asked: list[object], tmp_path: Path) -> None:
    done = penstock(
        "up", "tts=http://127.0.0.1:6006,http://127.0.0.1:6008", "asr=localhost:7000", "--listen", "127.0.0.1:0",
        "--api", "127.0.0.1:0", "--state", str(tmp_path), "--lease", "3s", "--user-header", "X-Who", "--user-address",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "gateway http://127.0.0.1:8500\n")
    services, listen, api, state, identity, lease_s = asked[0]  # type: ignore[misc]
    assert services == (
        ("tts", ("http://127.0.0.1:6006", "http://127.0.0.1:6008")),
        ("asr", ("http://127.0.0.1:7000",)),
    )
    assert (listen, api, state, lease_s) == ("127.0.0.1:0", "127.0.0.1:0", tmp_path, 3.0)
    assert (identity.header, identity.cookie, identity.use_address) == ("x-who", "penstock_uid", True)


def test_up_and_down_speak_json_and_find_the_users_own_folder(
    penstock: Command, asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_STATE", raising=False)
    assert penstock("up", "tts=http://127.0.0.1:6006", "-o", "json").last == {"said": "gateway http://127.0.0.1:8500"}
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "named"))
    assert penstock("down").code == 0
    assert asked[0][3] == tmp_path / "penstock"  # type: ignore[index]
    assert asked[1] == tmp_path / "named"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tts",), "'tts' is not NAME=URL"),
        (("tts=",), "is not NAME=URL"),
        (("TTS=http://127.0.0.1:1",), "cannot name a service"),
        (("tts=http://127.0.0.1:1", "tts=http://127.0.0.1:2"), "named twice"),
        (("tts=http://127.0.0.1:1", "asr=http://localhost:1"), "already used by tts"),
        (("tts=http://127.0.0.1:1,http://127.0.0.1:1",), "already used by tts"),
        (("tts=ftp://h",), "scheme 'ftp'"),
        (("tts=http://127.0.0.1:1", "--lease", "0s"), "--lease '0s' is not a time above zero"),
        (("tts=http://127.0.0.1:1", "--user-header", "x user"), "--user-header 'x user' cannot name a header"),
        (("tts=http://127.0.0.1:1", "--user-header", ""), "--user-header '' cannot name a header"),
        (("tts=http://127.0.0.1:1", "--user-header", ":path"), "--user-header ':path' cannot name a header"),
        (("tts=http://127.0.0.1:1", "--user-cookie", "uid=x;"), "--user-cookie 'uid=x;' cannot name a header"),
    ],
)
def test_up_refuses_what_cannot_be_meant(
    penstock: Command, asked: list[object], words: tuple[str, ...], says: str
) -> None:
    done = penstock("up", *words)
    assert (done.code, asked) == (2, [])
    assert says in done.err
