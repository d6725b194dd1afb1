"""What every store decides alike."""

from dataclasses import replace
from datetime import timedelta

import pytest

from penstock.kernel.errors import Incompatible, PrecedenceTaken, Quarantined, Removed, VersionInUse
from penstock.registry.history import History
from penstock.registry.promotion import Promotion
from penstock.registry.rules import check_fit, check_free, check_unused, check_usable
from penstock.registry.stage import Stage
from penstock.testing.contracts.registry_place import AT, sample_version


def test_where_nothing_fits_the_remedy_says_so() -> None:
    needing = sample_version("1.0.0", "vocoder", requires={"acoustic": ">=1"})
    with pytest.raises(Incompatible, match="there is no acoustic") as caught:
        check_fit(History("tts", (), {}), {"vocoder": needing})
    assert "no versions that were promoted or are stable" in caught.value.remedy


def test_the_remedy_names_all_that_has_to_change() -> None:
    names = {"vocoder": "1.0.0", "acoustic": "1.0.0"}
    there = [sample_version("1.0.0", component) for component in names]
    there.append(sample_version("2.0.0", "acoustic"))
    history = History(
        "tts", (Promotion("tts", 1, names, AT, "ann", ""),), {(v.component, str(v.version)): v for v in there}
    )
    wanted = sample_version("2.0.0", "vocoder", requires={"acoustic": ">=2"})
    with pytest.raises(Incompatible) as caught:
        check_fit(history, {"vocoder": wanted})
    assert caught.value.remedy == "take acoustic 2.0.0 and vocoder 2.0.0 together."


def test_a_removed_version_is_neither_used_nor_registered_again() -> None:
    version = sample_version("1.0.0")
    gone = replace(version, removed_at=AT + timedelta(1))
    with pytest.raises(Removed, match="2026-02-01"):
        check_usable(gone)
    with pytest.raises(PrecedenceTaken, match="was removed"):
        check_free(version, gone)


def test_the_very_same_version_is_no_conflict_and_another_one_is() -> None:
    version = sample_version("1.0.0")
    check_free(version, version)
    with pytest.raises(PrecedenceTaken, match="is there already"):
        check_free(sample_version("1.0.0+b"), version)


def test_what_is_in_use_is_named() -> None:
    canary = sample_version("1.0.0", stage=Stage.CANARY)
    stable = sample_version("1.0.0", stage=Stage.STABLE)
    for version, serves, aliases, why in (
        (stable, True, [], "it serves"),
        (canary, False, [], "a rollout serves users with it"),
        (stable, False, ["night", "day"], "it has the alias night, day"),
        (stable, False, [], "2 stable versions would be left"),
    ):
        with pytest.raises(VersionInUse, match=f"cannot be removed: {why}"):
            check_unused(version, serves=serves, aliases=aliases, n_stable_left=2, wanted="removed")
    check_unused(stable, serves=False, aliases=[], n_stable_left=3, wanted="removed")
    check_unused(sample_version("1.0.0"), serves=False, aliases=[], n_stable_left=0, wanted="removed")


def test_what_fits_is_the_set_that_will_serve() -> None:
    wanted = sample_version("1.0.0", "vocoder")
    assert check_fit(History("tts", (), {}), {"vocoder": check_usable(wanted)}) == {"vocoder": wanted}
    with pytest.raises(Quarantined, match="It crackles"):
        check_usable(replace(wanted, stage=Stage.QUARANTINED, staged_why="It crackles"))
