"""What may be deleted: never what is in use, never below three stable ones."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.kernel.errors import InvalidRetention, VersionInUse
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.retention import Collection, Policy, collect, key_of, referenced
from penstock.registry.stage import TRANSITIONS, Stage
from penstock.registry.version import Version
from penstock.testing.contracts.registry_place import AT, BY, sample_version
from penstock.testing.registry import MemoryRegistry

DAY = timedelta(days=1)
NOW = AT + 100 * DAY


def versions(n: int, stage: Stage = Stage.RETIRED, **fields: Any) -> list[Version]:
    """Return 1.0.0, 2.0.0 ..., each registered a day after the one before."""
    return [sample_version(f"{i}.0.0", stage=stage, at=AT + i * DAY, **fields) for i in range(1, n + 1)]


def majors(found: Any) -> list[int]:
    return sorted(version.version.major for version in found)


def kept(collection: Collection) -> dict[int, str]:
    return {version.version.major: why for version, why in collection.kept}


def test_without_a_policy_everything_stays() -> None:
    found = collect(versions(3), Policy(), in_use={}, now=NOW)
    assert kept(found) == dict.fromkeys((1, 2, 3), "no policy lets it go")
    assert found.to_mark == ()


def test_the_last_ones_stay() -> None:
    found = collect(versions(7), Policy(keep_last=5), in_use={}, now=NOW)
    assert majors(found.to_mark) == [1, 2]
    assert kept(found)[3] == "among the last 5"


def test_of_each_component_the_last_ones_stay() -> None:
    others = [replace(version, component="acoustic") for version in versions(3)]
    found = collect([*versions(3), *others], Policy(keep_last=1), in_use={}, now=NOW)
    assert sorted((v.component, v.version.major) for v in found.to_mark) == [
        ("acoustic", 1),
        ("acoustic", 2),
        ("vocoder", 1),
        ("vocoder", 2),
    ]


def test_what_is_new_enough_stays() -> None:
    found = collect(versions(7), Policy(keep_within=10 * DAY), in_use={}, now=AT + 14 * DAY)
    assert majors(found.to_mark) == [1, 2, 3]
    assert kept(found)[4] == "new enough"


def test_a_version_stays_when_any_rule_keeps_it() -> None:
    found = collect(versions(7), Policy(keep_last=1, keep_within=10 * DAY), in_use={}, now=AT + 14 * DAY)
    assert majors(found.to_mark) == [1, 2, 3]


def test_the_budget_is_filled_from_the_newest_beside_what_must_stay() -> None:
    oldest = versions(6)[0]
    found = collect(versions(6), Policy(budget_bytes=3500), in_use={key_of(oldest): "it serves"}, now=NOW)
    assert majors(found.to_mark) == [2, 3, 4]
    assert kept(found) == {1: "it serves", 5: "within the budget", 6: "within the budget"}
    assert found.over_budget_bytes == 0
    tight = collect(versions(6), Policy(budget_bytes=300), in_use={key_of(oldest): "it serves"}, now=NOW)
    assert (majors(tight.to_mark), tight.over_budget_bytes) == ([2, 3, 4, 5, 6], 700)


def test_what_is_in_use_or_stable_stays_whatever_the_policy() -> None:
    stable = versions(5, Stage.STABLE)
    again = replace(stable[0], promoted_at=NOW)
    canary = sample_version("9.0.0", stage=Stage.CANARY)
    bad = sample_version("8.0.0", stage=Stage.QUARANTINED)
    found = collect(
        [again, *stable[1:], canary, bad], Policy(keep_last=0), in_use={key_of(stable[1]): "warm on a:1"}, now=NOW
    )
    assert kept(found) == {
        1: "among the last 3 stable ones",
        2: "warm on a:1",
        4: "among the last 3 stable ones",
        5: "among the last 3 stable ones",
        9: "a rollout serves users with it",
    }
    assert majors(found.to_mark) == [3, 8]


def test_deletion_waits_for_the_time_of_grace() -> None:
    marked = [replace(v, marked_at=NOW - n * DAY) for v, n in zip(versions(3), (9, 5, 9), strict=True)]
    policy = Policy(keep_last=1, grace=7 * DAY)
    found = collect(marked, policy, in_use={}, now=NOW)
    assert (majors(found.to_remove), majors(found.waiting), majors(found.to_unmark)) == ([1], [2], [3])
    assert found.to_mark == ()


def test_what_a_service_refers_to() -> None:
    promotions = [
        Promotion("tts", n, {"vocoder": f"{n}.0.0", "acoustic": "1.0.0"}, AT, "ann", "") for n in (5, 4, 3, 2)
    ]
    found = referenced("tts", promotions, {"vocoder": {"latest": "5.0.0", "champion": "5.0.0", "night": "1.0.0"}})
    assert found == {
        ("tts", "acoustic", "1.0.0"): "part of release 5",
        ("tts", "vocoder", "3.0.0"): "part of release 3",
        ("tts", "vocoder", "4.0.0"): "part of release 4",
        ("tts", "vocoder", "5.0.0"): "it is latest, champion",
        ("tts", "vocoder", "1.0.0"): "it is night",
    }


@pytest.mark.parametrize(
    "rule_", [{"keep_stable": 2}, {"keep_last": -1}, {"budget_bytes": -1}, {"keep_within": -DAY}, {"grace": -DAY}]
)
def test_a_policy_that_cannot_be_meant_is_refused(rule_: dict[str, Any]) -> None:
    with pytest.raises(InvalidRetention):
        Policy(**rule_)


_policies = st.builds(
    Policy,
    keep_last=st.none() | st.integers(0, 4),
    keep_within=st.none() | st.integers(0, 9).map(lambda days: days * DAY),
    budget_bytes=st.none() | st.integers(0, 6000),
    keep_stable=st.integers(3, 4),
    grace=st.integers(0, 3).map(lambda days: days * DAY),
)
_picks = st.integers(0, 10**6)


class RetentionMachine(RuleBasedStateMachine):
    """A registry that is collected while it is used: nothing in use goes, and no component is left without its three."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = MemoryRegistry()
        self.now: datetime = AT
        self.warm: dict[tuple[str, str, str], str] = {}
        self.n_registered = 0

    def pick(self, place: int) -> str | None:
        there = self.registry.versions(Query())
        return str(there[place % len(there)].version) if there else None

    def n_stable(self) -> int:
        return len(self.registry.versions(Query(stage=Stage.STABLE)))

    @rule(stage=st.sampled_from([Stage.REGISTERED, Stage.STABLE, Stage.RETIRED]))
    def register(self, stage: Stage) -> None:
        self.n_registered += 1
        version = sample_version(f"{self.n_registered}.0.0", stage=stage, at=self.now)
        self.registry.register(version, **BY)

    @rule(place=_picks)
    def promote(self, place: int) -> None:
        if (name := self.pick(place)) and self.registry.version("tts", "vocoder", name).why_unusable is None:
            self.registry.promote("tts", {"vocoder": name}, at=self.now, **BY)

    @rule(place=_picks, stage=st.sampled_from(Stage))
    def move(self, place: int, stage: Stage) -> None:
        if (name := self.pick(place)) and (self.registry.version("tts", "vocoder", name).stage, stage) in TRANSITIONS:
            self.registry.move("tts", "vocoder", name, stage, at=self.now, **BY)

    @rule(place=_picks)
    def warm_up(self, place: int) -> None:
        if name := self.pick(place):
            self.warm = {("tts", "vocoder", name): "warm"}

    @rule(days=st.integers(0, 5))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @rule(policy=_policies)
    def collect(self, policy: Policy) -> None:
        aliases = {"vocoder": self.registry.aliases("tts", "vocoder")}
        in_use = referenced("tts", self.registry.promotions("tts", limit=3), aliases) | self.warm
        found = collect(self.registry.versions(Query()), policy, in_use=in_use, now=self.now)
        n_before = self.n_stable()
        for version in found.to_unmark:
            self.registry.unmark("tts", "vocoder", str(version.version), at=self.now, **BY)
        for version in found.to_mark:
            self.registry.mark("tts", "vocoder", str(version.version), at=self.now, **BY)
        for version in found.to_remove:
            self.registry.remove("tts", "vocoder", str(version.version), at=self.now, **BY)
        assert self.n_stable() >= min(3, n_before)
        assert not {key_of(version) for version in (*found.to_mark, *found.to_remove)} & set(in_use)
        assert all(v.marked_at is not None and v.marked_at + policy.grace <= self.now for v in found.to_remove)

    @rule(place=_picks)
    def delete_by_hand(self, place: int) -> None:
        n_before = self.n_stable()
        if name := self.pick(place):
            try:
                self.registry.mark("tts", "vocoder", name, at=self.now, **BY)
                self.registry.remove("tts", "vocoder", name, at=self.now, **BY)
            except VersionInUse:
                assert self.n_stable() == n_before
        assert self.n_stable() >= min(3, n_before)

    @invariant()
    def what_serves_is_there(self) -> None:
        serving = self.registry.history("tts").serving
        assert all(version.removed_at is None for version in serving.values())


RetentionMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestRetentionMachine = RetentionMachine.TestCase
