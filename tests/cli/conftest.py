"""The command line against a served control plane on fakes, or on a state folder of its own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.exit_codes import ExitCode
from penstock.cli.main import run
from tests.api.served import Served


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


Command = Callable[..., Result]
Make = Callable[..., Path]

METADATA: dict[str, Any] = {
    "created": "2026-11-01",
    "author": "ann",
    "owner": "speech",
    "change_note": "less crackling",
    "training_set": "studio-3",
    "metrics": {"naturalness": {"value": 4.2, "unit": "MOS 1..5"}},
    "framework_version": "torch 2.13.0",
    "cuda_version": None,
    "sample_rate_hz": 24000,
    "languages": ["en", "zh"],
    "input_signature": {"mel": "float32[80,n]"},
    "output_signature": {"audio": "float32[n]"},
    "licence": "MIT",
}


@pytest.fixture
def penstock(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process."""

    def command(*args: str) -> Result:
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return command


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, and an address where nobody answers."""
    folder = tmp_path / "state"
    monkeypatch.setenv("PENSTOCK_STATE", str(folder))
    monkeypatch.setenv("PENSTOCK_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("PENSTOCK_ARTIFACTS", raising=False)
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Served()
    served.start()
    monkeypatch.setenv("PENSTOCK_URL", served.url)
    yield served
    served.stop()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make the folder of a version: `make("v1.3.0")`; fields given override those of its version.json."""

    def made(name: str, **fields: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "weights.txt").write_text(f"weights of {name}\n", encoding="utf-8")
        (folder / "version.json").write_text(json.dumps(METADATA | fields), encoding="utf-8")
        return folder

    return made


@pytest.fixture
def three(penstock: Command, state: Path, make: Make) -> Path:
    """Versions 1.1.0, 1.2.0 and 1.3.0, each promoted in its turn."""
    for name in ("v1.1.0", "v1.2.0", "v1.3.0"):
        assert penstock("push", "tts/vocoder", str(make(name))).code == ExitCode.OK
        assert penstock("mark", f"tts/vocoder@{name}", "stable", "--reason", f"{name} is fine").code == ExitCode.OK
    return state
