"""Checking who vouches for a folder of weights: OpenSSF model signing, with the owner's public key."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from penstock.kernel.errors import ArtifactsUnwritable, ExtraMissing, SignatureRefused, UsageError
from penstock.registry.manifest import hex_of

#: Where `model_signing sign` puts the signature when it is told so; part of the folder, and not of what is signed.
SIGNATURE_NAME = "model.sig"


def check_signature(
    folder: Path, public_key: Path, *, signature: Path | None = None, called: object | None = None
) -> None:
    """Raise SignatureRefused unless the folder is, file by file, what the owner of the key signed.

    What the owner left out when signing is not covered; by the library's habit these are git's own files (`.git*`).
    The signature is `model.sig` in the folder where none is named; the key is an elliptic curve's, in PEM. `called` is what
    an error calls the folder. Raises UsageError where there is no key, ExtraMissing where the library is not installed.
    """
    check_possible(public_key)
    from model_signing import hashing, verifying  # noqa: PLC0415 - an extra

    signature = signature or folder / SIGNATURE_NAME
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(
            hashing.Config().set_ignored_paths(paths=[signature])
        ).verify(folder, signature)
    except FileNotFoundError as error:
        raise SignatureRefused(source=called or folder, why=f"{error.filename} is missing") from error
    except Exception as error:  # the library raises whatever its parts do, and every one of them means: not proven
        raise SignatureRefused(source=called or folder, why=_said(error)) from error


def check_possible(public_key: Path) -> None:
    """Raise UsageError where there is no key, ExtraMissing where the library is not installed: before anything is fetched."""
    if not public_key.is_file():
        raise UsageError(detail=f"there is no public key at {public_key}.")
    try:
        import model_signing  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise ExtraMissing(what="checking a signature", package="model-signing", extra="sign") from None


@contextlib.contextmanager
def proving(into: Path, public_key: Path, digest: str, *, called: object) -> Iterator[Path]:
    """Yield a folder to write an artifact to; on leaving it becomes `into` where its owner signed it, else it is removed.

    It lies beside `into`, so that nobody reads what is not proven. After a kill the next one for the same artifact goes on
    with it. Raises what `check_signature` does, UsageError where `into` has files already: they are not what was signed.
    """
    check_possible(public_key)
    try:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise UsageError(detail=f"{into} is not empty; what is checked against a key goes into a new folder.")
        aside = into.resolve().with_name(f".{into.resolve().name}.unproven-{hex_of(digest)[:16]}")
        yield aside
        try:
            check_signature(aside, public_key, called=called)
        except SignatureRefused:
            shutil.rmtree(aside)
            raise
        aside.replace(into)
    except OSError as error:
        raise ArtifactsUnwritable(store=into, why=error.strerror or str(error)) from error


def _said(error: Exception) -> str:
    """Return one line: some of the library's parts raise without a word."""
    return " ".join(str(error).split()) or type(error).__name__
