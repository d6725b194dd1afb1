"""`--key`: what its owner did not sign is neither stored nor handed out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.exit_codes import ExitCode
from penstock.stores.artifacts.store import blob_key
from penstock.testing.contracts.artifacts import contents_of, sha256_of, written
from tests.cli.conftest import Command
from tests.control.cataloguing import FIELDS
from tests.stores.test_signing import key_pair, sign


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PENSTOCK_ARTIFACTS", raising=False)
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"version.json": json.dumps(FIELDS).encode(), "weights.txt": b"weights"}
    return written(tmp_path / "v1.0.0", files)


def test_only_what_the_owner_signed_is_stored(penstock: Command, state: Path, folder: Path, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "owner")
    for dry_run in (["--dry-run"], []):
        refused = penstock("push", "tts/vocoder", str(folder), "--key", str(public), *dry_run)
        assert refused.code == ExitCode.REFUSED
        assert "v1.0.0 is not what its owner signed: " in refused.err
        assert "model.sig is missing" in refused.err
    assert not (state / "artifacts").exists()
    sign(folder, private)
    assert penstock("push", "tts/vocoder", str(folder), "--key", str(public)).code == ExitCode.OK
    nobody = penstock("push", "tts/vocoder", str(folder), "--key", str(tmp_path / "nobody.pub"))
    assert (nobody.code, "there is no public key at" in nobody.err) == (ExitCode.USAGE, True)


def test_only_what_the_owner_signed_is_handed_out(penstock: Command, state: Path, folder: Path, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "owner")
    _, other = key_pair(tmp_path, "other")
    sign(folder, private)
    penstock("push", "tts/vocoder", str(folder))
    refused = penstock("pull", "tts/vocoder@1.0.0", str(tmp_path / "out"), "--key", str(other))
    assert (refused.code, "tts/vocoder@1.0.0 is not what its owner signed" in refused.err) == (ExitCode.REFUSED, True)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    pulled = penstock("pull", "tts/vocoder@1.0.0", str(tmp_path / "out"), "--key", str(public))
    assert pulled.code == ExitCode.OK
    assert contents_of(tmp_path / "out") == contents_of(folder)


def test_a_pull_that_is_killed_shows_nothing_and_is_finished_by_the_next(
    penstock: Command, state: Path, folder: Path, tmp_path: Path
) -> None:
    private, public = key_pair(tmp_path, "owner")
    sign(folder, private)
    penstock("push", "tts/vocoder", str(folder))
    blob = state / "artifacts" / blob_key(sha256_of(b"weights"))
    whole = blob.rename(tmp_path / "whole")
    os.mkfifo(blob)  # so that it is surely killed in the midst of it
    args = ("pull", "tts/vocoder@1.0.0", str(tmp_path / "out"), "--key", str(public))
    with subprocess.Popen([Path(sys.executable).with_name("penstock"), *args]) as child, blob.open("wb", 0) as pipe:
        pipe.write(b"wei")
        child.kill()
    whole.replace(blob)
    assert not (tmp_path / "out").exists()
    assert penstock(*args).code == ExitCode.OK
    assert contents_of(tmp_path / "out") == contents_of(folder)
    assert list(tmp_path.glob(".out*")) == []
