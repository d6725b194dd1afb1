"""The laws of ports/registry.py about what may be deleted."""

from datetime import timedelta

import pytest

from penstock.kernel.errors import (
    PrecedenceTaken,
    Removed,
    VersionInUse,
)
from penstock.ports.registry import RegistryStore
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.stage import Stage
from penstock.testing.contracts.registry_place import AT, BY, TTS, RegistryPlace, sample_version


class DeletionLaws(RegistryPlace):
    """See RegistryPlace for the hooks."""

    def test_deletion_has_two_phases_and_the_number_stays_taken(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0")
        with pytest.raises(VersionInUse, match="not marked"):
            registry.remove(*TTS, "1.0.0", at=AT, **BY)
        marked = registry.mark(*TTS, "1.0.0", at=AT, **BY)
        assert marked.marked_at == AT
        assert registry.mark(*TTS, "1.0.0", at=AT + timedelta(1), **BY) == marked
        assert self.names(registry.versions(Query(marked=True))) == ["vocoder 1.0.0"]
        assert registry.unmark(*TTS, "1.0.0", at=AT, **BY).marked_at is None
        assert registry.unmark(*TTS, "1.0.0", at=AT, **BY).marked_at is None
        registry.mark(*TTS, "1.0.0", at=AT, **BY)
        gone = registry.remove(*TTS, "1.0.0", at=AT, **BY)
        assert registry.remove(*TTS, "1.0.0", at=AT + timedelta(1), **BY) == gone
        assert registry.version(*TTS, "1.0.0") == gone
        assert self.names(registry.versions(Query())) == ["vocoder 1.1.0"]
        assert self.names(registry.versions(Query(removed=True))) == ["vocoder 1.1.0", "vocoder 1.0.0"]
        with pytest.raises(PrecedenceTaken, match="was removed"):
            registry.register(sample_version("1.0.0"), **BY)
        for refused in (
            lambda: registry.resolve(Ref.parse("tts/vocoder@1.0.0")),
            lambda: registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY),
            lambda: registry.move(*TTS, "1.0.0", Stage.VERIFIED, at=AT, **BY),
            lambda: registry.mark(*TTS, "1.0.0", at=AT, **BY),
            lambda: registry.unmark(*TTS, "1.0.0", at=AT, **BY),
            lambda: registry.set_alias(*TTS, "night", "1.0.0", at=AT, **BY),
        ):
            with pytest.raises(Removed, match="2026-01-31"):
                refused()
        assert [change.kind.value for change in registry.changes(after_seq=2)] == [
            "marked",
            "unmarked",
            "marked",
            "removed",
        ]

    def test_a_service_without_versions_is_none(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0")
        registry.mark(*TTS, "1.0.0", at=AT, **BY)
        registry.remove(*TTS, "1.0.0", at=AT, **BY)
        assert registry.services() == {}
        assert registry.history("tts").serving == {}

    def test_what_is_in_use_is_not_deleted(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0", "1.2.0", "1.3.0", stage=Stage.STABLE)
        self.fill(registry, "2.0.0", "2.1.0")
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        registry.set_alias(*TTS, "night", "2.0.0", at=AT, **BY)
        registry.move(*TTS, "2.1.0", Stage.CANARY, at=AT, **BY)
        for version, why in (("1.0.0", "it serves"), ("2.0.0", "alias night"), ("2.1.0", "a rollout")):
            with pytest.raises(VersionInUse, match=why):
                registry.mark(*TTS, version, at=AT, **BY)
        registry.mark(*TTS, "1.1.0", at=AT, **BY)
        with pytest.raises(VersionInUse, match="2 stable versions would be left"):
            registry.mark(*TTS, "1.2.0", at=AT, **BY)
        registry.move(*TTS, "1.3.0", Stage.QUARANTINED, at=AT, **BY)
        with pytest.raises(VersionInUse, match="2 stable versions would be left"):
            registry.remove(*TTS, "1.1.0", at=AT, **BY)

    def test_what_comes_into_use_is_not_marked_any_longer(self, registry: RegistryStore) -> None:
        self.fill(registry, "1.0.0", "1.1.0", "1.2.0")
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            registry.mark(*TTS, version, at=AT, **BY)
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        registry.set_alias(*TTS, "night", "1.1.0", at=AT, **BY)
        registry.move(*TTS, "1.2.0", Stage.CANARY, at=AT, **BY)
        assert registry.versions(Query(marked=True)) == []
        kinds = [change.kind.value for change in registry.changes(after_seq=6)]
        assert kinds == ["moved", "unmarked", "promoted", "aliased", "unmarked", "moved", "unmarked"]
