"""The command line against a served control plane on fakes, or on a state folder of its own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
