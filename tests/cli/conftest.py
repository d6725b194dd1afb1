"""The command line against a served control plane on fakes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Served()
    served.start()
    monkeypatch.setenv("PENSTOCK_URL", served.url)
    yield served
    served.stop()
