"""`penstock up` before anything runs: what cannot be meant starts nothing."""

from pathlib import Path

import pytest

from penstock.api.serve import serve
from penstock.bootstrap.plane import UpOptions
from penstock.kernel.errors import AddressNotLocal, InvalidAddress, PenstockError, UsageError
from penstock.routing.table import Identity


@pytest.mark.parametrize(
    ("api", "folder", "error", "sentence"),
    [
        ("127.0.0.1:0", "file/state", UsageError, "the state folder .* cannot be made: Not a directory"),
        ("0.0.0.0:0", "state", AddressNotLocal, "can be reached from other machines"),
        ("127.0.0.1:65536", "state", InvalidAddress, "is not an address to listen on"),
        ("localhost", "state", InvalidAddress, "is not an address to listen on"),
    ],
)
def test_what_cannot_be_meant_starts_nothing(
    tmp_path: Path, api: str, folder: str, error: type[PenstockError], sentence: str
) -> None:
    (tmp_path / "file").touch()
    options = UpOptions((), None, api, tmp_path / folder, Identity(), 10.0)
    with pytest.raises(error, match=sentence):
        serve(options, say=pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
