"""A gateway of its own for each test: an Envoy starts within a quarter of a second."""

from collections.abc import AsyncIterator

import pytest

from tests.gateways.lab import Lab, opened

pytest.register_assert_rewrite("penstock.testing.contracts")


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """One pod on each side."""
    async with opened() as lab:
        yield lab


@pytest.fixture
async def two() -> AsyncIterator[Lab]:
    """Two pods on each side."""
    async with opened(n_stable=2, n_canary=2) as lab:
        yield lab
