"""Of a model server's numbers the highest serves, unless somebody says otherwise."""

import pytest

from penstock.kernel.semver import SemVer
from penstock.registry.numbers import Numbers, stable_among


@pytest.mark.parametrize(
    ("which", "stable"), [(Numbers.HIGHEST, {10}), (Numbers.ALL, {2, 9, 10}), (Numbers.NONE, set())]
)
def test_which_numbers_are_stable(which: Numbers, stable: set[int]) -> None:
    assert {number.major for number in stable_among(map(SemVer, (9, 10, 2)), which)} == stable
    assert stable_among([], which) == frozenset()
