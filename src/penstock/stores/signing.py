"""Checking who vouches for a folder of weights: OpenSSF model signing, with the owner's public key."""

from pathlib import Path

from penstock.kernel.errors import ExtraMissing, SignatureRefused

#: Where `model_signing sign` puts the signature when it is told so; part of the folder, and not of what is signed.
SIGNATURE_NAME = "model.sig"


def check_signature(folder: Path, public_key: Path, *, signature: Path | None = None) -> None:
    """Raise SignatureRefused unless the folder is, file by file, what the owner of the key signed.

    What the owner left out when signing is not covered; by the library's habit these are git's own files (`.git*`).
    The signature is `model.sig` in the folder where none is named; the key is an elliptic curve's, in PEM.
    Raises ExtraMissing where the library is not installed.
    """
    try:
        from model_signing import hashing, verifying  # noqa: PLC0415 - an extra
    except ImportError:
        raise ExtraMissing(what="checking a signature", package="model-signing", extra="sign") from None
    signature = signature or folder / SIGNATURE_NAME
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(
            hashing.Config().set_ignored_paths(paths=[signature])
        ).verify(folder, signature)
    except FileNotFoundError as error:
        raise SignatureRefused(source=folder, why=f"{error.filename} is missing") from error
    except Exception as error:  # the library raises whatever its parts do, and every one of them means: not proven
        raise SignatureRefused(source=folder, why=_said(error)) from error


def _said(error: Exception) -> str:
    """Return one line: some of the library's parts raise without a word."""
    return " ".join(str(error).split()) or type(error).__name__
