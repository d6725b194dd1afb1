"""Where a rollback goes, and what speaks for and against each place."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import NothingToRollBack
from penstock.registry.compatibility import conflicts
from penstock.registry.going_back import Candidate, choose_going_back, rollback_candidates
from penstock.registry.history import History
from penstock.registry.metadata import Metadata
from penstock.registry.promotion import Promotion
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import AT, sample_version


def version(name: str, *, stage: Stage = Stage.STABLE, **metadata: Any) -> Version:
    component, number = name.split()
    return sample_version(f"{number}.0", component, stage=stage, **metadata)


def history(
    *releases: Mapping[str, str], versions: tuple[Version, ...] = (), unhealthy: Mapping[int, str] | None = None
) -> History:
    """Make a history of releases, the oldest first; versions that are not given need nothing."""
    promotions = [
        Promotion("tts", n, {c: f"{v}.0" for c, v in release.items()}, AT + timedelta(days=n), "ann", "Good.", (unhealthy or {}).get(n))
        for n, release in enumerate(releases, 1)
    ]  # fmt: skip
    named = {(c, f"{v}.0"): version(f"{c} {v}") for release in releases for c, v in release.items()}
    given_ = {(v.component, str(v.version)): v for v in versions}
    return History("tts", tuple(reversed(promotions)), {**named, **given_})


def shown(candidates: list[Candidate]) -> list[tuple[dict[str, str], bool]]:
    return [(dict(c.changes), not c.against) for c in candidates]


def test_the_last_promoted_version_that_fits_comes_first() -> None:
    past = history(
        {"acoustic": "1.0", "vocoder": "1.0"},
        {"acoustic": "1.0", "vocoder": "1.1"},
        {"acoustic": "1.1", "vocoder": "1.1"},
        {"acoustic": "1.1", "vocoder": "1.2"},
    )
    found = rollback_candidates(past, "vocoder")
    assert shown(found) == [({"vocoder": "1.1.0"}, True), ({"vocoder": "1.0.0"}, True)]
    best = choose_going_back(past, "vocoder")
    assert best == found[0]
    assert best.versions == {"acoustic": "1.1.0", "vocoder": "1.1.0"}
    assert best.number == 3
    assert best.why == (
        "release 3, promoted 2026-02-03 12:00 UTC by ann: Good.",
        "vocoder 1.1.0 was created 2026-01-30",
        "mos 4.2 (MOS 1..5)",
        "owned by speech",
        "Fewer crackles.",
    )
    assert best.as_json()["changes"] == {"vocoder": "1.1.0"}


def test_what_cannot_be_chosen_comes_last_with_what_speaks_against_it() -> None:
    bad = replace(version("vocoder 1.2", stage=Stage.QUARANTINED), staged_why="It crackles")
    gone = replace(version("vocoder 1.1"), removed_at=AT)
    past = history(
        *({"vocoder": v} for v in ("1.0", "0.9", "1.1", "1.2", "1.3")), versions=(bad, gone), unhealthy={2: "It hums"}
    )
    found = rollback_candidates(past, "vocoder")
    assert [(c.versions["vocoder"], c.against) for c in found] == [
        ("1.0.0", ()),
        ("1.2.0", ("vocoder 1.2.0 is quarantined (It crackles)",)),
        ("1.1.0", ("vocoder 1.1.0 was removed",)),
        ("0.9.0", ("release 2 with vocoder 0.9.0 was found unhealthy (It hums)",)),
    ]
    assert choose_going_back(past, "vocoder") == found[0]


def test_a_version_of_which_one_release_was_healthy_is_healthy() -> None:
    past = history(*({"vocoder": v} for v in ("1.0", "1.1", "1.0", "1.2")), unhealthy={3: "The machine was full"})
    assert {c.versions["vocoder"] for c in rollback_candidates(past, "vocoder") if not c.against} == {"1.0.0", "1.1.0"}


def test_what_does_not_fit_alone_goes_back_with_its_partner() -> None:
    needing = version("vocoder 1.1", requires={"acoustic": "<1.3"})
    past = history(
        {"acoustic": "1.1", "vocoder": "1.1"},
        {"acoustic": "1.2", "vocoder": "1.1"},
        {"acoustic": "1.3", "vocoder": "1.2"},
        versions=(needing,),
    )
    both, alone = rollback_candidates(past, "vocoder")
    assert both == choose_going_back(past, "vocoder")
    assert (both.changes, both.against) == ({"acoustic": "1.2.0", "vocoder": "1.1.0"}, ())
    assert both.why[0] == "acoustic 1.2.0 and vocoder 1.1.0 go together: vocoder 1.1.0 needs acoustic <1.3, not 1.3.0"
    assert (alone.changes, alone.against) == ({"vocoder": "1.1.0"}, ("vocoder 1.1.0 needs acoustic <1.3, not 1.3.0",))


def test_a_set_ranks_after_what_fits_alone() -> None:
    needing = version("vocoder 1.1", requires={"acoustic": "<1.3"})
    releases = [{"acoustic": "1.2", "vocoder": v} for v in ("1.0", "1.1")] + [{"acoustic": "1.3", "vocoder": "1.2"}]
    past = history(*releases, versions=(needing,))
    assert shown(rollback_candidates(past, "vocoder")) == [
        ({"vocoder": "1.0.0"}, True),
        ({"acoustic": "1.2.0", "vocoder": "1.1.0"}, True),
        ({"vocoder": "1.1.0"}, False),
    ]
    assert choose_going_back(past, "vocoder").changes == {"vocoder": "1.0.0"}


def test_where_nothing_fits_nothing_is_offered() -> None:
    needing = version("vocoder 1.1", requires={"acoustic": "<1"})
    past = history({"acoustic": "1.2", "vocoder": "1.1"}, {"acoustic": "1.3", "vocoder": "1.2"}, versions=(needing,))
    with pytest.raises(NothingToRollBack, match=r"vocoder 1\.1\.0 needs acoustic <1, not 1\.3\.0"):
        choose_going_back(past, "vocoder")


def test_stable_versions_below_that_never_served_come_after_those_that_did() -> None:
    others = tuple(
        version(f"vocoder {v}", stage=s)
        for v, s in (("1.0", Stage.STABLE), ("0.5", Stage.STABLE), ("3.0", Stage.STABLE))
    )
    past = history({"vocoder": "0.9"}, {"vocoder": "2.0"}, versions=others)
    found = rollback_candidates(past, "vocoder")
    assert [c.versions["vocoder"] for c in found] == ["0.9.0", "1.0.0", "0.5.0"]
    assert (found[1].number, found[1].why[0]) == (None, "stable, but it never served here")


def test_a_release_goes_back_whole() -> None:
    bad = replace(version("vocoder 1.1", stage=Stage.QUARANTINED), staged_why="It crackles")
    needing = version("acoustic 1.2", requires={"vocoder": ">=2"})
    past = history(
        {"acoustic": "1.0", "vocoder": "1.0"},
        {"acoustic": "1.1", "vocoder": "1.1"},
        {"acoustic": "1.2", "vocoder": "1.0"},
        {"acoustic": "1.1", "vocoder": "1.0"},
        {"acoustic": "1.0", "vocoder": "1.0"},
        {"acoustic": "1.3", "vocoder": "1.3"},
        versions=(bad, needing),
        unhealthy={4: "It hums"},
    )
    found = rollback_candidates(past)
    assert [(c.number, c.against) for c in found] == [
        (5, ()),
        (4, ("release 4 was found unhealthy (It hums)",)),
        (3, ("acoustic 1.2.0 needs vocoder >=2, not 1.0.0",)),
        (2, ("vocoder 1.1.0 is quarantined (It crackles)",)),
    ]
    assert choose_going_back(past) == found[0]


def test_where_there_is_nothing_before_it_says_so() -> None:
    first = history({"vocoder": "1.0"})
    for past, guilty, why in (
        (history(), "vocoder", "nothing was promoted before"),
        (history(), None, "nothing was promoted before"),
        (first, None, "nothing was promoted before"),
        (first, "vocoder", "vocoder never had another version"),
        (first, "emotion", "emotion never had another version"),
    ):
        assert rollback_candidates(past, guilty) == []
        with pytest.raises(NothingToRollBack, match=why):
            choose_going_back(past, guilty)


def test_what_is_not_known_of_a_version_is_not_said() -> None:
    adopted = replace(version("vocoder 1.0"), metadata=Metadata.from_json({}, allow_missing=True))
    past = history({"vocoder": "1.0"}, {"vocoder": "1.1"}, versions=(adopted,))
    assert choose_going_back(past, "vocoder").why == ("release 1, promoted 2026-02-01 12:00 UTC by ann: Good.",)


def test_a_component_that_came_later_can_go_back_only_so_far() -> None:
    past = history({"acoustic": "1.0"}, {"acoustic": "1.0", "vocoder": "1.0"}, {"acoustic": "1.1", "vocoder": "1.1"})
    assert shown(rollback_candidates(past, "vocoder")) == [({"vocoder": "1.0.0"}, True)]


_NUMBERS = st.sampled_from(["1.0", "1.1", "1.2", "1.3"])


@given(
    st.lists(st.fixed_dictionaries({"acoustic": _NUMBERS, "vocoder": _NUMBERS}), min_size=1, max_size=6),
    st.dictionaries(_NUMBERS, st.sampled_from(["<1.2", ">=1.1", "==1.0"]), max_size=4),
    st.sets(_NUMBERS),
    st.sampled_from(["vocoder", "acoustic", None]),
)
def test_the_choice_is_always_the_first_in_rank_and_can_serve(
    releases: list[dict[str, str]], needs: dict[str, str], bad: set[str], guilty: str | None
) -> None:
    versions = [version(f"vocoder {v}", requires={"acoustic": r}) for v, r in needs.items()]
    versions += [version(f"acoustic {v}", stage=Stage.QUARANTINED) for v in bad]
    past = history(*releases, versions=tuple(versions))
    ranked = rollback_candidates(past, guilty)
    if not ranked or ranked[0].against:
        with pytest.raises(NothingToRollBack):
            choose_going_back(past, guilty)
        return
    best = choose_going_back(past, guilty)
    assert best == ranked[0]
    chosen = {c: past.versions[c, v] for c, v in best.versions.items()}
    assert conflicts(chosen) == ()
    assert all(chosen[c].why_unusable is None for c in best.changes)
    assert guilty is None or guilty in best.changes
