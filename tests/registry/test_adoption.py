"""Versions that served before Penstock came get a history that is in order, and in which nothing unfit serves together."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.registry.adoption import N_WAITING, Course, course_of, is_untouched
from penstock.registry.compatibility import conflicts
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import AT, sample_version


def version(component: str, number: str, day: int | None = None, **metadata: Any) -> Version:
    """A version created on a day of May."""
    made = sample_version(number, component, created=f"2024-05-{day or 1:02}", **metadata)
    return made if day else replace(made, metadata=replace(made.metadata, created=None, missing=("created",)))


def names(course: Course) -> tuple[list[list[str]], list[str], list[str]]:
    return (
        [[step[component].name for component in sorted(step)] for step in course.releases],
        [v.name for v in course.earlier],
        [v.name for v, _ in course.unfit],
    )


def test_versions_follow_each_other_as_they_were_created() -> None:
    stable = [
        version("vocoder", "1.2.0", 5),
        version("acoustic", "1.0.0", 3),
        version("vocoder", "1.10.0", 7),
        version("vocoder", "1.9.0", 9),
        version("acoustic", "1.1.0", 7),
    ]
    assert names(course_of({}, stable)) == (
        [["acoustic 1.0.0"], ["vocoder 1.2.0"], ["acoustic 1.1.0"], ["vocoder 1.10.0"], ["vocoder 1.9.0"]],
        [],
        [],
    )
    assert course_of({}, reversed(stable)) == course_of({}, stable)


def test_where_one_does_not_say_when_the_numbers_count() -> None:
    stable = [version("vocoder", "1.2.0", 5), version("vocoder", "1.10.0"), version("acoustic", "1.0.0", 3)]
    stable += [version("vocoder", "1.3.0", 2)]
    assert names(course_of({}, stable)) == (
        [["acoustic 1.0.0"], ["vocoder 1.2.0"], ["vocoder 1.3.0"], ["vocoder 1.10.0"]],
        [],
        [],
    )


def test_what_is_older_than_what_serves_is_never_promoted() -> None:
    serving = {"vocoder": replace(version("vocoder", "1.2.0", 5), stage=Stage.STABLE)}
    stable = [version("vocoder", "2.0.0", 4), version("vocoder", "1.2.1", 6), version("vocoder", "1.1.0", 3)]
    assert names(course_of(serving, stable)) == ([["vocoder 1.2.1"]], ["vocoder 1.1.0", "vocoder 2.0.0"], [])


def test_what_was_trained_jointly_is_promoted_together() -> None:
    stable = [
        version("acoustic", "1.0.0", 1, requires={"vocoder": "1.0.0"}),
        version("vocoder", "1.0.0", 2),
        version("acoustic", "2.0.0", 3, trained_with={"vocoder": "2.0.0"}),
        version("vocoder", "2.0.0", 3, trained_with={"acoustic": "2.0.0"}),
    ]
    course = course_of({}, stable)
    assert names(course) == ([["vocoder 1.0.0"], ["acoustic 1.0.0"], ["acoustic 2.0.0", "vocoder 2.0.0"]], [], [])


def test_what_never_fits_is_named_with_the_reason() -> None:
    stable = [
        version("acoustic", "1.0.0", 1),
        version("acoustic", "1.1.0", 2, requires={"vocoder": ">=2"}),
        version("vocoder", "1.0.0", 3),
        version("acoustic", "1.2.0", 4),
        version("acoustic", "1.3.0", 5, requires={"emotion": ">=1"}),
    ]
    course = course_of({}, stable)
    assert names(course) == (
        [["acoustic 1.0.0"], ["vocoder 1.0.0"], ["acoustic 1.2.0"]],
        [],
        ["acoustic 1.1.0", "acoustic 1.3.0"],
    )
    assert [why for _, why in course.unfit] == [
        "acoustic 1.1.0 needs vocoder >=2, not 1.0.0",
        "acoustic 1.3.0 needs emotion >=1, and there is no emotion",
    ]


def test_only_the_last_few_wait_for_others() -> None:
    needy = [version("acoustic", f"1.{n}.0", n + 1, requires={"vocoder": ">=1"}) for n in range(N_WAITING + 2)]
    course = course_of({}, [*needy, version("vocoder", "1.0.0", 20)])
    assert names(course)[2] == ["acoustic 1.0.0", "acoustic 1.1.0"]
    assert len(course.releases) == 1 + N_WAITING


@pytest.mark.parametrize(
    ("change", "is_so"),
    [
        ({}, True),
        ({"staged_at": AT}, True),
        ({"staged_at": AT + timedelta(seconds=1)}, False),  # taken back, or lifted from quarantine
        ({"stage": Stage.VERIFIED}, False),
    ],
)
def test_a_version_that_somebody_moved_is_not_untouched(change: dict[str, Any], is_so: bool) -> None:
    assert is_untouched(replace(sample_version("1.0.0"), **change)) == is_so


COMPONENTS = ("acoustic", "emotion", "vocoder")


@st.composite
def trees(draw: st.DrawFn) -> list[Version]:
    made = []
    for component in COMPONENTS:
        others = [other for other in COMPONENTS if other != component]
        needs = st.dictionaries(st.sampled_from(others), st.sampled_from(["==1.0.0", "<3", ">=2"]), max_size=2)
        for number in range(1, draw(st.integers(0, 4)) + 1):
            day = draw(st.none() | st.integers(1, 9))
            made.append(version(component, str(number), day, requires=draw(needs)))
    return made


@given(trees(), st.data())
def test_every_version_has_its_place_and_a_course_that_is_cut_short_goes_on(
    stable: Sequence[Version], data: st.DataObject
) -> None:
    course = course_of({}, stable)
    placed = [v for step in course.releases for v in step.values()] + [v for v, _ in course.unfit]
    assert sorted(v.name for v in placed) == sorted(v.name for v in stable)
    assert all(why for _, why in course.unfit)
    assert not course.earlier
    serving: dict[str, Version] = {}
    touched: dict[str, Stage] = {}
    n_done = data.draw(st.integers(0, len(course.unfit) + len(course.releases)))
    for unfit, _ in course.unfit[:n_done]:
        touched[unfit.name] = Stage.VERIFIED
    n_released = max(0, n_done - len(course.unfit))
    for step in course.releases[:n_released]:
        serving |= {component: replace(v, stage=Stage.STABLE) for component, v in step.items()}
        assert not conflicts(serving)
        touched |= dict.fromkeys((v.name for v in step.values()), Stage.STABLE)
    there = [replace(v, stage=touched.get(v.name, v.stage)) for v in stable]
    rest = course_of(serving, there)
    assert (rest.releases, rest.earlier, rest.unfit) == (course.releases[n_released:], (), course.unfit[n_done:])
