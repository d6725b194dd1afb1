"""When the demo says that it went well, and when not. That it does go well is an end-to-end test."""

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.cli.demo import run_demo, story
from penstock.cli.demo.recording import Recording
from penstock.kernel.errors import DemoFailed, UsageError

from .conftest import request

_GONE_WELL = {"2.0.1": 3, "1.6.0": 0}


def test_it_went_well(recording: Recording) -> None:
    story._check(recording, _GONE_WELL)


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"2.0.1": 0}, "2.0.1 should have been rolled back, but its release ended with exit code 0"),
        (_GONE_WELL | {"1.6.0": 3}, "1.6.0 should have been promoted, but its release ended with exit code 3"),
    ],
)
def test_another_ending_is_an_error(recording: Recording, codes: dict[str, int], said: str) -> None:
    with pytest.raises(DemoFailed, match=said):
        story._check(recording, codes)


def test_a_failure_that_the_bad_version_does_not_explain_is_said(recording: Recording) -> None:
    broken = replace(recording, requests=(*recording.requests, request(9.0, "", status=0)))
    with pytest.raises(DemoFailed, match=r"1 requests failed that 2\.0\.1 had not answered"):
        story._check(broken, _GONE_WELL)


def test_a_report_folder_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    said: list[str] = []
    with pytest.raises(UsageError, match="the report cannot be written to"):
        run_demo(tmp_path / "taken", said.append)
    assert said == []
