"""Weights by version number: from the store alone, checked, and from this node's cache while the store is down."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penstock import Slot, Weights
from penstock.cli.running import state_folder
from penstock.control.cataloguing import Catalogue
from penstock.kernel.errors import (
    ArtifactDamaged,
    ArtifactsUnwritable,
    CacheTooSmall,
    InvalidArtifactStore,
    InvalidComponent,
    InvalidName,
    InvalidSemVer,
    SignatureRefused,
    SwapRefused,
    UnknownName,
    UsageError,
)
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import ArtifactStore
from penstock.registry.naming import Name
from penstock.runtime.loaders import reader
from penstock.stores.artifacts.cache import NodeCache
from penstock.stores.artifacts.places import open_artifacts
from penstock.stores.artifacts.store import blob_key
from penstock.stores.clock import SystemClock
from penstock.testing.contracts.artifacts import contents_of, sha256_of, written
from tests.control.cataloguing import parts_of
from tests.control.cataloguing import push as push_version
from tests.stores.artifacts.conftest import serving_s3
from tests.stores.artifacts.test_cache import damage
from tests.stores.test_signing import key_pair, sign

FILES = {"config.json": b"{}", "weights/m.safetensors": b"w" * 3_000_000}
TOTAL = sum(map(len, FILES.values()))


def publish(store: ArtifactStore, source: Path, version: str) -> str:
    """Push a folder as `penstock push` does; return the digest."""
    digest = store.push(source).digest
    store.publish(Name("tts", "vocoder", SemVer.parse(version)), digest)
    return digest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that is a store with vocoder 1.3.0."""
    place = tmp_path / "store"
    publish(open_artifacts(place, SystemClock()), written(tmp_path / "source", FILES), "1.3.0")
    return place


def weights_of(tmp_path: Path, place: str | Path, *, limit_bytes: int = 10**9) -> Weights:
    return Weights("tts", place, cache=tmp_path / "cache", limit_bytes=limit_bytes)


def loading(command: str, **variables: str) -> "subprocess.Popen[str]":
    """Start a model server's process, with nothing of ours but where the files lie."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from penstock import Slot, Weights\n{command}"],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def variables_of(tmp_path: Path, place: Path) -> dict[str, str]:
    return {"PENSTOCK_ARTIFACTS": str(place), "PENSTOCK_WEIGHTS_CACHE": str(tmp_path / "cache")}


_SERVE = """
slot = Slot("vocoder", load=Weights("tts").load("vocoder", lambda folder: (folder / "weights.txt").read_text()))
slot.swap("2.0.0")
with slot.lease() as model:
    print(model)
"""


def test_a_server_loads_by_number_what_was_pushed_and_again_while_the_store_is_down(tmp_path: Path) -> None:
    bucket = "s3://models/penstock"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch, serving_s3("models") as url:
        variables = {**keys, "AWS_ENDPOINT_URL": url, "PENSTOCK_ARTIFACTS": bucket}
        for name, value in variables.items():
            patch.setenv(name, value)
        parts = parts_of(tmp_path, open_artifacts(bucket, SystemClock()))
        with closing(parts.registry):
            push_version(Catalogue(parts), tmp_path, "2.0.0")
        variables["PENSTOCK_WEIGHTS_CACHE"] = str(tmp_path / "cache")
        assert loading(_SERVE, **variables).communicate() == ("weights of 2.0.0\n", "")
    assert loading(_SERVE, **variables).communicate() == ("weights of 2.0.0\n", "")
    variables["PENSTOCK_WEIGHTS_CACHE"] = str(tmp_path / "another node")
    out, err = loading(_SERVE, **variables).communicate()
    assert (out, f"The artifact store {bucket} does not answer as it should" in err.splitlines()[-1]) == ("", True)


def test_a_removed_version_and_an_unknown_one_are_told_apart(place: Path, tmp_path: Path) -> None:
    load = weights_of(tmp_path, place).load("vocoder", contents_of)
    with pytest.raises(UnknownName, match=r"store has no files of tts/vocoder@1.4.0: it has 1.3.0\."):
        load("1.4.0")
    store = open_artifacts(place, SystemClock())
    store.remove(store.named(Name("tts", "vocoder", SemVer(1, 3))))
    for _ in range(2):
        with pytest.raises(UnknownName, match=r"tts/vocoder@1.3.0: they were removed, and its number stays taken\."):
            load("1.3.0")
    with pytest.raises(UnknownName, match=r"it has nothing of tts/acoustic\."):
        weights_of(tmp_path, place).folder("acoustic", "1.3.0")


def test_what_can_name_nothing_is_refused_before_anything_is_touched(place: Path, tmp_path: Path) -> None:
    for refused, make in (
        (InvalidName, lambda: Weights("../tts", place)),
        (InvalidArtifactStore, lambda: Weights("tts", "gs://models")),
        (UsageError, lambda: Weights("tts", place, key=tmp_path / "nobody.pub")),
        (InvalidComponent, lambda: weights_of(tmp_path, place).load("../x", contents_of)),
        (InvalidSemVer, lambda: weights_of(tmp_path, place).folder("vocoder", "../1.0.0")),
    ):
        with pytest.raises(refused):
            make()
    assert not (tmp_path / "cache").exists()


def test_damage_that_does_not_show_is_found_on_load_and_fetched_again(place: Path, tmp_path: Path) -> None:
    load = weights_of(tmp_path, place).load("vocoder", contents_of)
    held = weights_of(tmp_path, place).folder("vocoder", "v1.3.0")
    damage(held / "weights/m.safetensors", quietly=True)
    assert load("1.3.0") == FILES
    assert contents_of(held) == FILES
    damage(held / "weights/m.safetensors", quietly=True)
    place.rename(tmp_path / "away")
    place.mkdir()
    with pytest.raises(UnknownName, match=r"it has nothing of tts/vocoder\."):
        load("1.3.0")
    place.rmdir()
    (tmp_path / "away").rename(place)
    assert load("1.3.0") == FILES


def test_the_store_is_believed_not_what_was_noted_when_it_was_another_one(place: Path, tmp_path: Path) -> None:
    load = weights_of(tmp_path, place).load("vocoder", contents_of)
    assert load("1.3.0") == FILES
    place.rename(tmp_path / "away")
    publish(open_artifacts(place, SystemClock()), written(tmp_path / "second", {"a": b"second"}), "1.3.0")
    for weights in (load, weights_of(tmp_path, place).load("vocoder", contents_of)):
        assert weights("1.3.0") == {"a": b"second"}


@pytest.mark.parametrize("leave", [lambda _: None, Path.mkdir])
def test_what_is_here_is_loaded_while_the_share_is_not_mounted(
    place: Path, tmp_path: Path, leave: Callable[[Path], None]
) -> None:
    weights_of(tmp_path, place).folder("vocoder", "1.3.0")
    place.rename(tmp_path / "away")
    leave(place)
    load = weights_of(tmp_path, place).load("vocoder", contents_of)
    assert load("1.3.0") == FILES
    with pytest.raises(UnknownName, match=r"it has nothing of tts/vocoder\."):
        load("1.4.0")


def test_what_is_here_is_loaded_while_its_name_in_the_store_is_damaged(place: Path, tmp_path: Path) -> None:
    name = place / "names" / "tts" / "vocoder" / "1.3.0"
    weights_of(tmp_path, place).folder("vocoder", "1.3.0")
    name.chmod(0o644)
    name.write_bytes(b"{}")
    assert weights_of(tmp_path, place).load("vocoder", contents_of)("1.3.0") == FILES
    with pytest.raises(ArtifactDamaged):
        Weights("tts", place, cache=tmp_path / "another node").folder("vocoder", "1.3.0")


def test_a_damaged_note_of_a_name_is_renewed(place: Path, tmp_path: Path) -> None:
    load = weights_of(tmp_path, place).load("vocoder", contents_of)
    load("1.3.0")
    (kept,) = (tmp_path / "cache" / "names").rglob("1.3.0")
    text = kept.read_bytes()
    kept.chmod(0o644)
    kept.write_bytes(text[:-5])
    assert load("1.3.0") == FILES
    assert kept.read_bytes() == text


def test_stores_that_share_a_cache_may_mean_different_files_by_one_number(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    publish(open_artifacts(other, SystemClock()), written(tmp_path / "changed", {**FILES, "a": b"a"}), "1.3.0")
    assert weights_of(tmp_path, place).load("vocoder", contents_of)("1.3.0") == FILES
    assert "a" in weights_of(tmp_path, other).load("vocoder", contents_of)("1.3.0")


def test_a_cache_that_is_too_small_and_a_folder_that_takes_nothing_are_named(place: Path, tmp_path: Path) -> None:
    slot = Slot("vocoder", load=weights_of(tmp_path, place, limit_bytes=TOTAL - 1).load("vocoder", contents_of))
    with pytest.raises(SwapRefused, match=f"its load raised CacheTooSmall: The cache .* may hold {TOTAL - 1}"):
        slot.swap("1.3.0")
    weights_of(tmp_path, place).load("vocoder", contents_of)("1.3.0")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactsUnwritable, match="Not a directory"):
        Weights("tts", place, cache=tmp_path / "file").folder("vocoder", "1.3.0")


def test_a_folder_is_kept_until_the_process_ends(place: Path, tmp_path: Path) -> None:
    command = 'print(Weights("tts").folder("vocoder", "1.3.0"), flush=True)\ninput()'
    publish(open_artifacts(place, SystemClock()), written(tmp_path / "next", {"a": b"a"}), "1.4.0")
    with loading(command, **variables_of(tmp_path, place)) as child:
        assert child.stdout is not None
        held = Path(child.stdout.readline().strip())
        small = weights_of(tmp_path, place, limit_bytes=TOTAL)
        with pytest.raises(CacheTooSmall):
            small.folder("vocoder", "1.4.0")
        assert contents_of(held) == FILES
        child.kill()
    assert small.load("vocoder", contents_of)("1.4.0") == {"a": b"a"}
    assert not held.exists()


def test_processes_that_load_at_once_fetch_once(place: Path, tmp_path: Path) -> None:
    command = 'print(Weights("tts").load("vocoder", lambda f: (f / "weights/m.safetensors").stat().st_ino)("1.3.0"))'
    children = [loading(command, **variables_of(tmp_path, place)) for _ in range(4)]
    answers = {child.communicate() for child in children}
    ((inode, errors),) = answers
    assert (inode.strip().isdecimal(), errors) == (True, "")
    assert NodeCache(tmp_path / "cache", open_artifacts(place, SystemClock()), limit_bytes=1).used_bytes() == TOTAL


def test_a_server_that_is_killed_while_it_fetches_leaves_nothing_in_the_way(place: Path, tmp_path: Path) -> None:
    content = FILES["weights/m.safetensors"]
    blob = place / blob_key(sha256_of(content))
    whole = blob.rename(tmp_path / "whole")
    os.mkfifo(blob)  # so that it is surely killed in the midst of it
    command = 'Weights("tts").folder("vocoder", "1.3.0")'
    with loading(command, **variables_of(tmp_path, place)) as child, blob.open("wb", buffering=0) as pipe:
        pipe.write(content[: len(content) // 2])
        child.kill()
    whole.replace(blob)
    assert weights_of(tmp_path, place, limit_bytes=TOTAL).load("vocoder", contents_of)("1.3.0") == FILES


def test_what_its_owner_did_not_sign_is_not_read(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "owner")
    store = open_artifacts(tmp_path / "store", SystemClock())
    source = written(tmp_path / "source", FILES)
    sign(source, private)
    publish(store, source, "1.0.0")
    (source / "config.json").write_bytes(b"[]")
    publish(store, source, "2.0.0")
    signed = Weights("tts", tmp_path / "store", cache=tmp_path / "cache", key=public)
    load = signed.load("vocoder", contents_of)
    assert load("1.0.0").items() > FILES.items()
    assert contents_of(signed.folder("vocoder", "1.0.0")) == load("1.0.0")
    with pytest.raises(SignatureRefused, match=r"^tts/vocoder@2\.0\.0 is not what its owner signed: .*config\.json"):
        load("2.0.0")
    with pytest.raises(SignatureRefused):
        signed.folder("vocoder", "2.0.0")


def test_files_are_read_by_a_loader(place: Path, tmp_path: Path) -> None:
    load = weights_of(tmp_path, place).load("vocoder", reader("callable", call=contents_of))
    assert load("1.3.0") == FILES


def test_without_a_place_it_is_where_push_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PENSTOCK_ARTIFACTS", "PENSTOCK_WEIGHTS_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = written(tmp_path / "source", FILES)
    publish(open_artifacts(state_folder(None) / "artifacts", SystemClock()), source, "1.0.0")
    assert Weights("tts").folder("vocoder", "1.0.0").is_relative_to(tmp_path / ".cache" / "penstock" / "weights")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    publish(open_artifacts(state_folder(None) / "artifacts", SystemClock()), source, "2.0.0")
    assert Weights("tts").folder("vocoder", "2.0.0").is_relative_to(tmp_path / "cache" / "penstock" / "weights")
