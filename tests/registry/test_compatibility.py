"""Which versions fit each other, and the nearest set that does."""

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.registry.compatibility import conflicts, nearest_set
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import sample_version


def set_of(**versions: Version) -> dict[str, Version]:
    return versions


def vocoder(version: str = "1.1.0", **metadata: Any) -> Version:
    return sample_version(version, "vocoder", **metadata)


def acoustic(version: str = "1.3.0", **metadata: Any) -> Version:
    return sample_version(version, "acoustic", **metadata)


def test_what_is_declared_is_held_against_what_is_there() -> None:
    assert conflicts({}) == ()
    assert conflicts(set_of(vocoder=vocoder(), acoustic=acoustic())) == ()
    assert conflicts(set_of(vocoder=vocoder(requires={"acoustic": "<1.3"}), acoustic=acoustic())) == (
        "vocoder 1.1.0 needs acoustic <1.3, not 1.3.0",
    )
    assert conflicts(set_of(acoustic=acoustic(requires={"vocoder": ">=2"}), vocoder=vocoder())) == (
        "acoustic 1.3.0 needs vocoder >=2, not 1.1.0",
    )
    assert conflicts(set_of(vocoder=vocoder(requires={"emotion": ">=1"}))) == (
        "vocoder 1.1.0 needs emotion >=1, and there is no emotion",
    )
    assert conflicts(set_of(vocoder=vocoder(trained_with={"acoustic": "1.2.0"}), acoustic=acoustic())) == (
        "vocoder 1.1.0 was trained jointly with acoustic 1.2.0, not 1.3.0",
    )
    assert conflicts(set_of(vocoder=vocoder(trained_with={"acoustic": "1.3.0"}), acoustic=acoustic())) == ()


def test_mel_spectrograms_must_be_alike_where_there_are_any() -> None:
    one, other = {"n_mels": 80, "hop_length": 256}, {"n_mels": 100, "hop_length": 256}
    assert conflicts(set_of(a=acoustic(mel=one), v=vocoder(mel=one))) == ()
    assert conflicts(set_of(a=acoustic(mel=one), v=vocoder(mel=None))) == ()
    assert conflicts(set_of(a=acoustic(mel=one), v=vocoder(mel=other))) == (
        "acoustic 1.3.0 and vocoder 1.1.0 are made for different mel spectrograms (n_mels 80 against 100)",
    )


def test_the_nearest_set_changes_as_little_as_can_be() -> None:
    current = set_of(acoustic=acoustic("1.3.0"), vocoder=vocoder("1.2.0"), emotion=sample_version("1.0.0", "emotion"))
    back = vocoder("1.1.0", requires={"acoustic": "<1.3"})
    pool = {"acoustic": [acoustic("1.4.0"), acoustic("1.2.0"), acoustic("1.1.0")], "emotion": []}
    found = nearest_set(current, {"vocoder": back}, pool)
    assert found is not None
    assert {component: str(v.version) for component, v in found.items()} == {
        "acoustic": "1.2.0",
        "vocoder": "1.1.0",
        "emotion": "1.0.0",
    }
    assert nearest_set(current, {"vocoder": current["vocoder"]}, pool) == current
    assert nearest_set(current, {"vocoder": back}, {}) is None


def test_a_component_that_is_absent_may_come_along() -> None:
    wanted = vocoder(requires={"acoustic": ">=1"})
    found = nearest_set({}, {"vocoder": wanted}, {"acoustic": [acoustic("0.9.0"), acoustic("1.0.0")]})
    assert found is not None
    assert str(found["acoustic"].version) == "1.0.0"
    assert nearest_set({}, {"vocoder": wanted}, {"acoustic": [acoustic("0.9.0")]}) is None


_PARTS = ("a", "b", "c")
_BOUNDS = st.sampled_from(["<2", "<3", ">=2", ">=3", "!=2", "==1.0.0"])


@st.composite
def pools(draw: st.DrawFn) -> dict[str, list[Version]]:
    def needs(part: str) -> dict[str, str]:
        return draw(st.dictionaries(st.sampled_from([other for other in _PARTS if other != part]), _BOUNDS, max_size=2))

    return {part: [sample_version(f"{n}.0.0", part, requires=needs(part)) for n in (1, 2, 3)] for part in _PARTS}


@given(pools(), st.tuples(*[st.integers(0, 2)] * 3), st.integers(0, 2))
def test_the_nearest_set_is_the_one_that_trying_all_of_them_finds(
    pool: dict[str, list[Version]], now: tuple[int, int, int], wanted: int
) -> None:
    current = {part: pool[part][n] for part, n in zip(_PARTS, now, strict=True)}
    fixed = {"a": pool["a"][wanted]}
    sets = ({**fixed, "b": b, "c": c} for b, c in product(pool["b"], pool["c"]))
    fitting = [versions for versions in sets if not conflicts(versions)]
    found = nearest_set(current, fixed, pool)
    assert (found is not None) == bool(fitting)
    if found is not None:
        assert not conflicts(found)
        assert found["a"] is fixed["a"]

        def n_changed(versions: dict[str, Version]) -> int:
            return sum(versions[part] is not current[part] for part in ("b", "c"))

        assert n_changed(found) == min(map(n_changed, fitting))
