"""Folders for a while: gone on leaving, and cleared away after a process that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.kernel.errors import ArtifactsUnwritable
from penstock.stores.scratch import scratch


def work_and_fail(parent: Path) -> None:
    with scratch(parent) as folder:
        (folder / "file").write_bytes(b"x")
        (folder / "gone").read_bytes()


def test_it_is_gone_on_leaving_whatever_happened(tmp_path: Path) -> None:
    parent = tmp_path / "some" / "where"
    with pytest.raises(FileNotFoundError):
        work_and_fail(parent)
    assert list(parent.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_away_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    make = (
        "import sys, pathlib; from penstock.stores.scratch import scratch\n"
        "with scratch(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'file').write_bytes(b'x'); print(folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", make, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with scratch(tmp_path) as ours:
            assert (theirs / "file").exists()
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
            with scratch(tmp_path) as also_ours:
                assert sorted(tmp_path.iterdir()) == sorted([ours, also_ours])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine", encoding="utf-8")
    with scratch(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ArtifactsUnwritable, match="file/below cannot be written: Not a directory"),
        scratch(tmp_path / "file" / "below"),
    ):
        pass
