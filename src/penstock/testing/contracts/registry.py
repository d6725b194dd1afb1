"""The laws of ports/registry.py."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from penstock.kernel.errors import (
    IllegalStage,
    Incompatible,
    InvalidReference,
    NothingSelected,
    PrecedenceTaken,
    Quarantined,
    ReasonMissing,
    RegistryUnwritable,
    UnknownVersion,
)
from penstock.ports.registry import RegistryStore
from penstock.registry.change import ChangeKind
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.stage import Stage
from penstock.testing.contracts.registry_deletion import DeletionLaws
from penstock.testing.contracts.registry_exchange import ExchangeLaws
from penstock.testing.contracts.registry_place import AT, BY, TTS, sample_version


class RegistryContract(DeletionLaws, ExchangeLaws):
    """Hooks: `open_registry`, `open_empty`, `unwritable`. Give the instance its place in an autouse fixture."""

    def test_what_was_registered_is_found_by_whoever_comes_next(self, registry: RegistryStore) -> None:
        texts: dict[str, Any] = {
            "change_note": "Grüße\n你好\0'",
            "extra": [1, 2.5, None, {"a": True}],
            "mel": {"n": 80},
        }
        wanted = sample_version("1.2.0-rc.1+b7", digest="sha256:ab", **texts)
        stored = registry.register(wanted, **BY)
        assert stored == wanted
        assert self.open_registry().version(*TTS, "1.2.0-rc.1") == stored
        assert registry.services() == {"tts": ("vocoder",)}

    def test_times_come_out_as_utc(self, registry: RegistryStore) -> None:
        tokyo = timezone(timedelta(hours=9))
        stored = registry.register(sample_version("1.0.0", at=AT.astimezone(tokyo)), **BY)
        assert (stored.registered_at, stored.registered_at.tzinfo) == (AT, UTC)
        moved = registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT.astimezone(tokyo), **BY)
        assert moved.verified_at is not None
        assert moved.verified_at.tzinfo is UTC

    def test_equal_precedence_is_taken_once(self, registry: RegistryStore) -> None:
        registry.register(sample_version("1.0.0+a", digest="sha256:aa"), **BY)
        for other in (
            sample_version("1.0.0+b", digest="sha256:aa"),
            sample_version("1.0.0+a", digest="sha256:bb"),
            sample_version("1.0.0+a", digest="sha256:aa", owner="vision"),
        ):
            with pytest.raises(PrecedenceTaken, match=r"vocoder 1\.0\.0\+a is there already"):
                registry.register(other, **BY)
        self.fill(registry, "1.0.0", component="acoustic")
        assert len(registry.changes()) == 2

    def test_registering_the_very_same_again_changes_nothing(self, registry: RegistryStore) -> None:
        first = registry.register(sample_version("1.0.0"), **BY)
        moved = registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT, **BY)
        assert registry.register(first, actor="bob", reason="Again.") == moved
        assert len(registry.changes()) == 2

    def test_an_unknown_version_is_named_with_those_that_are_there(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.10.0", "1.9.0")
        with pytest.raises(
            UnknownVersion, match=r"'2\.0\.0' of tts/vocoder; the highest are: 1\.10\.0, 1\.9\.0, 1\.0\.0"
        ):
            registry.version(*TTS, "2.0.0")
        with pytest.raises(UnknownVersion, match="there are none"):
            registry.move("asr", "model", "1", Stage.VERIFIED, at=AT, **BY)

    def test_lists_are_ordered_and_filtered(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.10.0", "1.9.0", "1.10.0-rc.1")
        self.fill(registry, "3.0.0", component="acoustic", owner="mel", change_note="Straße", languages=["de"])
        self.fill(registry, "1.0.0", service="asr", component="model", at=AT + timedelta(hours=1), languages=None)
        registry.move(*TTS, "1.9.0", Stage.VERIFIED, at=AT, **BY)
        every = ["model 1.0.0", "acoustic 3.0.0", "vocoder 1.10.0", "vocoder 1.10.0-rc.1", "vocoder 1.9.0"]
        wanted = {
            Query(): every,
            Query(service="tts"): every[1:],
            Query(service="tts", component="vocoder", limit=2): every[2:4],
            Query(limit=2, offset=3): every[3:],
            Query(offset=4): every[4:],
            Query(limit=0): [],
            Query(stage=Stage.VERIFIED): every[4:],
            Query(owner="mel"): every[1:2],
            Query(language="de"): every[1:2],
            Query(language="e"): [],
            Query(text="STRASSE"): every[1:2],
            Query(text="1.10"): every[2:4],
            Query(text="%"): [],
            Query(since=AT + timedelta(minutes=1)): every[:1],
            Query(marked=True): [],
            Query(marked=False, removed=True): every,
        }
        assert {query: self.names(registry.versions(query)) for query in wanted} == wanted

    def test_stages_change_as_the_table_says(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        verified = registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT, actor="ci", reason="Probes passed.")
        assert (verified.stage, verified.staged_at, verified.verified_at) == (Stage.VERIFIED, AT, AT)
        assert (verified.staged_by, verified.staged_why) == ("ci", "Probes passed.")
        assert registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT, actor="bob", reason="Again.") == verified
        with pytest.raises(IllegalStage, match=r"tts/vocoder@1\.0\.0 is verified and cannot become retired"):
            registry.move(*TTS, "1.0.0", Stage.RETIRED, at=AT, **BY)
        with pytest.raises(ReasonMissing):
            registry.move(*TTS, "1.0.0", Stage.QUARANTINED, at=AT, actor="ann", reason=" ")
        assert registry.version(*TTS, "1.0.0") == verified
        assert [change.facts for change in registry.changes(after_seq=1)] == [
            {"version": "1.0.0", "from": "registered", "to": "verified"}
        ]

    def test_a_promotion_changes_what_it_names_and_keeps_the_rest(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0")
        self.fill(registry, "2.0.0", component="acoustic")
        first = registry.promote("tts", {"vocoder": "1.0.0", "acoustic": "2"}, at=AT, **BY)
        second = registry.promote("tts", {"vocoder": "1.1.0"}, at=AT, actor="bob", reason="Better.")
        assert (first.number, first.versions) == (1, {"vocoder": "1.0.0", "acoustic": "2.0.0"})
        assert (second.number, second.versions) == (2, {"vocoder": "1.1.0", "acoustic": "2.0.0"})
        assert self.open_registry().promotions("tts") == [second, first]
        assert registry.promotions("tts", limit=1) == [second]
        assert registry.promotions("asr") == []
        found = registry.version(*TTS, "1.1.0")
        assert (found.stage, found.promoted_at, found.staged_by) == (Stage.STABLE, AT, "bob")
        n_changes = len(registry.changes())
        assert registry.promote("tts", {"vocoder": "1.1.0"}, at=AT + timedelta(1), **BY) == second
        assert len(registry.changes()) == n_changes

    def test_what_serves_becomes_stable_again_without_a_new_promotion(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        promotion = registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        registry.move(*TTS, "1.0.0", Stage.RETIRED, at=AT, **BY)
        assert registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY) == promotion
        assert registry.version(*TTS, "1.0.0").stage is Stage.STABLE

    def test_what_may_not_serve_is_not_promoted(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0")
        registry.move(*TTS, "1.1.0", Stage.QUARANTINED, at=AT, actor="ann", reason="It crackles")
        with pytest.raises(Quarantined, match="It crackles"):
            registry.promote("tts", {"vocoder": "1.1.0"}, at=AT, **BY)
        with pytest.raises(Quarantined):
            registry.set_alias(*TTS, "night", "1.1.0", at=AT, **BY)
        with pytest.raises(UnknownVersion):
            registry.promote("tts", {"vocoder": "1.0.0", "acoustic": "1.0.0"}, at=AT, **BY)
        assert registry.version(*TTS, "1.0.0").stage is Stage.REGISTERED
        assert registry.promotions("tts") == []
        assert registry.verify() == 3

    def test_what_does_not_fit_is_refused_with_what_would(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.2.0", "1.3.0", component="acoustic")
        self.fill(registry, "1.1.0", requires={"acoustic": "<1.3"})
        self.fill(registry, "1.2.0")
        registry.promote("tts", {"vocoder": "1.1.0", "acoustic": "1.2.0"}, at=AT, **BY)
        registry.promote("tts", {"vocoder": "1.2.0", "acoustic": "1.3.0"}, at=AT, **BY)
        with pytest.raises(Incompatible) as caught:
            registry.promote("tts", {"vocoder": "1.1.0"}, at=AT, **BY)
        assert "vocoder 1.1.0 needs acoustic <1.3, not 1.3.0" in caught.value.message
        assert "acoustic 1.2.0" in caught.value.remedy
        assert registry.promotions("tts")[0].number == 2
        both = registry.promote("tts", {"vocoder": "1.1.0", "acoustic": "1.2.0"}, at=AT, **BY)
        assert both.number == 3

    def test_words_follow_from_stages_and_promotions(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1", "2.0.0")
        for word in ("latest", "champion", "stable", "previous", "challenger", "night"):
            with pytest.raises(NothingSelected):
                registry.resolve(Ref(*TTS, word))
        assert registry.aliases(*TTS) == {}
        for version in ("1.0.0", "1.2.0", "1.1.0"):
            registry.promote("tts", {"vocoder": version}, at=AT, **BY)
        registry.move(*TTS, "2.0.0-rc.1", Stage.VERIFIED, at=AT, **BY)
        words = {"latest": "1.2.0", "champion": "1.1.0", "stable": "1.1.0", "previous": "1.2.0"}
        assert registry.aliases(*TTS) == words | {"challenger": "2.0.0-rc.1"}
        registry.move(*TTS, "2.0.0", Stage.CANARY, at=AT, **BY)
        registry.move(*TTS, "1.2.0", Stage.QUARANTINED, at=AT, **BY)
        words |= {"latest": "1.1.0", "previous": "1.0.0", "challenger": "2.0.0"}
        assert registry.aliases(*TTS) == words
        for word, version in words.items():
            assert str(registry.resolve(Ref(*TTS, word)).version) == version
        assert registry.resolve(Ref.parse("models:/tts/vocoder/1.2.0")).stage is Stage.QUARANTINED

    def test_before_a_first_promotion_the_previous_is_the_stable_one_below(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0", "2.0.0", stage=Stage.STABLE)
        registry.promote("tts", {"vocoder": "1.1.0"}, at=AT, **BY)
        assert registry.aliases(*TTS) == {
            "latest": "2.0.0",
            "champion": "1.1.0",
            "stable": "1.1.0",
            "previous": "1.0.0",
        }

    def test_aliases_are_set_moved_and_taken_away(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0")
        registry.set_alias(*TTS, "night", "1.0.0", at=AT, **BY)
        registry.set_alias(*TTS, "night", "1.0.0", at=AT, **BY)
        registry.set_alias(*TTS, "challenger", "1.0.0", at=AT, **BY)
        assert registry.aliases(*TTS) == {"night": "1.0.0", "challenger": "1.0.0"}
        registry.set_alias(*TTS, "night", "1.1.0", at=AT, **BY)
        assert str(registry.resolve(Ref.parse("tts/vocoder@night")).version) == "1.1.0"
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        assert "challenger" not in registry.aliases(*TTS)
        registry.delete_alias(*TTS, "night", at=AT, **BY)
        for alias in ("night", "latest"):
            with pytest.raises(NothingSelected):
                registry.delete_alias(*TTS, alias, at=AT, **BY)
        for alias in ("latest", "champion", "v1", "1.2.3", "a b", ""):
            with pytest.raises(InvalidReference):
                registry.set_alias(*TTS, alias, "1.0.0", at=AT, **BY)
        kinds = [change.kind for change in registry.changes() if "ALIASED" in change.kind.name]
        assert kinds == [ChangeKind.ALIASED, ChangeKind.ALIASED, ChangeKind.ALIASED, ChangeKind.UNALIASED]

    def test_a_promoted_set_may_be_found_unhealthy(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        for unhealthy in ("It hums.", "It hums.", None):
            assert registry.judge("tts", 1, unhealthy=unhealthy, at=AT, **BY).unhealthy == unhealthy
            assert registry.promotions("tts")[0].unhealthy == unhealthy
        with pytest.raises(NothingSelected):
            registry.judge("tts", 2, unhealthy="It hums.", at=AT, **BY)
        assert [change.kind.value for change in registry.changes()][-2:] == ["judged", "judged"]

    def test_a_history_has_every_version_that_it_names(self, registry: RegistryStore) -> None:
        self.fill(registry, *(f"1.{n}.0" for n in range(6)))
        self.fill(registry, "1.0.0", "1.1.0", component="acoustic")
        self.fill(registry, "0.1.0", "0.2.0", "0.3.0", stage=Stage.STABLE)
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        registry.promote("tts", {"acoustic": "1.0.0"}, at=AT, **BY)
        for n in range(1, 6):
            registry.promote("tts", {"vocoder": f"1.{n}.0"}, at=AT, **BY)
        registry.promote("tts", {"acoustic": "1.1.0"}, at=AT, **BY)
        numbers = {
            component: [p.number for p in registry.history("tts", component, limit=2).promotions]
            for component in (None, "vocoder", "acoustic", "emotion")
        }
        assert numbers == {None: [8, 7], "vocoder": [8, 6, 5], "acoustic": [8, 7, 1], "emotion": [8]}
        history = registry.history("tts", "vocoder", limit=2)
        assert sorted(name for component, name in history.versions if component == "vocoder") == [
            "1.3.0",
            "1.4.0",
            "1.5.0",
        ]
        assert {c: str(v.version) for c, v in history.serving.items()} == {"vocoder": "1.5.0", "acoustic": "1.1.0"}
        assert len(registry.history("tts", "vocoder", limit=20).versions) == 6 + 3 + 2
        assert registry.history("asr") == registry.history("asr", "model") == type(history)("asr", (), {})

    def test_changes_say_who_when_why_and_what(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        self.fill(registry, "1.0.0", component="acoustic")
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT + timedelta(1), actor="bob", reason="Go.")
        kinds = ["registered", "registered", "moved", "promoted"]
        assert [change.kind.value for change in registry.changes()] == kinds
        last = registry.changes()[-1]
        assert (last.seq, last.at, last.service, last.component) == (4, AT + timedelta(1), "tts", "")
        assert (last.actor, last.reason) == ("bob", "Go.")
        assert last.facts == {"number": 1, "versions": {"vocoder": "1.0.0"}}
        assert [c.seq for c in registry.changes(service="tts", component="vocoder")] == [1, 3]
        assert [c.seq for c in registry.changes(after_seq=1, limit=2)] == [2, 3]
        assert registry.changes(service="asr") == []
        assert registry.verify() == 4

    def test_a_change_that_failed_is_not_there_and_the_next_may_succeed(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        with self.unwritable():
            for refused in (
                lambda: registry.register(sample_version("2.0.0"), **BY),
                lambda: registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT, **BY),
                lambda: registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY),
                lambda: registry.set_alias(*TTS, "night", "1.0.0", at=AT, **BY),
                lambda: registry.delete_alias(*TTS, "night", at=AT, **BY),
                lambda: registry.mark(*TTS, "1.0.0", at=AT, **BY),
                lambda: registry.import_([{"kind": "registry", "layout": 1}], at=AT, **BY),
            ):
                with pytest.raises(RegistryUnwritable):
                    refused()
        self.fill(registry, "2.0.0")
        assert self.names(registry.versions(Query(stage=Stage.REGISTERED, marked=False))) == [
            "vocoder 2.0.0",
            "vocoder 1.0.0",
        ]
        assert registry.aliases(*TTS) == {}
        assert registry.verify() == 2

    def test_many_threads_may_write(self, registry: RegistryStore) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: self.fill(registry, f"1.{n}.0"), range(40)))
        assert len(registry.versions(Query())) == 40
        assert registry.verify() == 40

    def test_closing_twice_is_no_mistake(self, registry: RegistryStore) -> None:
        registry.close()
        registry.close()
