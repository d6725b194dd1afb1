"""One stage for each test."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An empty stage; what the test starts on it is ended afterwards, also when the test fails."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()
