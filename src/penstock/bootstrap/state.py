"""The folder in which everything lies."""

from pathlib import Path

from penstock.kernel.errors import UsageError


def make_folder(folder: Path) -> None:
    """Make a state folder, for its owner alone. Raises UsageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        detail = f"the state folder {folder} cannot be made: {error.strerror}; choose another one with --state."
        raise UsageError(detail=detail) from None
