"""Signatures that the model-signing library really made, with a key pair of the test."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing

from penstock.kernel.errors import ArtifactsUnwritable, ExtraMissing, SignatureRefused, UsageError
from penstock.stores.signing import SIGNATURE_NAME, check_signature, proving
from penstock.testing.contracts.artifacts import contents_of, written


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def sign(folder: Path, private: Path) -> None:
    signing.Config().use_elliptic_key_signer(private_key=private).sign(folder, folder / SIGNATURE_NAME)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "model", {"config.json": b"{}", "weights/m.safetensors": b"w" * 1000})


@pytest.fixture
def public(tmp_path: Path, folder: Path) -> Path:
    private, public = key_pair(tmp_path, "owner")
    sign(folder, private)
    return public


def test_what_the_owner_signed_passes(folder: Path, public: Path, tmp_path: Path) -> None:
    check_signature(folder, public)
    elsewhere = (folder / SIGNATURE_NAME).rename(tmp_path / "elsewhere.sig")
    check_signature(folder, public, signature=elsewhere)


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_what_was_changed_since_is_refused_and_named(change: str, folder: Path, public: Path) -> None:
    match change:
        case "changed":
            (folder / "weights/m.safetensors").write_bytes(b"W" * 1000)
        case "added":
            (folder / "more.json").write_bytes(b"{}")
        case "removed":
            (folder / "config.json").unlink()
    with pytest.raises(SignatureRefused, match=r"m\.safetensors|more\.json|config\.json"):
        check_signature(folder, public)


def test_another_ones_key_and_a_signature_that_is_none_are_refused(folder: Path, public: Path, tmp_path: Path) -> None:
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(SignatureRefused):
        check_signature(folder, other)
    (folder / SIGNATURE_NAME).write_bytes(b"{}")
    with pytest.raises(SignatureRefused):
        check_signature(folder, public)
    (folder / SIGNATURE_NAME).unlink()
    with pytest.raises(SignatureRefused, match=r"model\.sig is missing"):
        check_signature(folder, public)


def test_a_key_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no public key at .*nobody\.pub"):
        check_signature(folder, tmp_path / "nobody.pub")


def test_one_file_has_no_signature(folder: Path, public: Path) -> None:
    with pytest.raises(SignatureRefused, match=r"m\.safetensors is not what its owner signed"):
        check_signature(folder / "weights/m.safetensors", public)


DIGEST = "sha256:" + "ab" * 32


def write_proven(into: Path, public: Path, files: dict[str, bytes], *, is_cut_short: bool = False) -> None:
    with proving(into, public, DIGEST, called="tts@1.0.0") as aside:
        written(aside, files)
        if is_cut_short:
            raise KeyboardInterrupt


def test_a_folder_appears_once_it_is_proven(folder: Path, public: Path, tmp_path: Path) -> None:
    files, into = contents_of(folder), tmp_path / "here"
    with pytest.raises(KeyboardInterrupt):
        write_proven(into, public, {"config.json": files.pop("config.json")}, is_cut_short=True)
    assert not into.exists()
    write_proven(into, public, files)  # what was begun is gone on with
    assert contents_of(into) == contents_of(folder)
    assert list(tmp_path.glob(".here*")) == []


def test_what_is_refused_is_gone_and_what_was_there_stays(folder: Path, public: Path, tmp_path: Path) -> None:
    before, into = contents_of(folder), tmp_path / "here"
    with pytest.raises(SignatureRefused, match=r"^tts@1\.0\.0 is not what its owner signed"):
        write_proven(into, public, before | {"config.json": b"[]"})
    assert not into.exists()
    assert list(tmp_path.glob(".here*")) == []
    with pytest.raises(UsageError, match="is not empty"):
        write_proven(folder, public, {"config.json": b"[]"})
    assert contents_of(folder) == before
    with pytest.raises(ArtifactsUnwritable, match="Not a directory"):
        write_proven(folder / "config.json" / "here", public, before)


def test_without_the_extra_it_says_what_to_install(folder: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ExtraMissing) as caught:
        check_signature(folder, public)
    assert caught.value.remedy == "install it with: pip install 'penstock[sign]'"
