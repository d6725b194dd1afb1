"""The laws of ports/registry.py about export and import."""

import json
from typing import Any

from penstock.ports.registry import RegistryStore
from penstock.registry.change import ChangeKind
from penstock.registry.query import Query
from penstock.testing.contracts.registry_place import AT, BY, TTS, RegistryPlace


class ExchangeLaws(RegistryPlace):
    """See RegistryPlace for the hooks."""

    def exported(self, registry: RegistryStore) -> list[dict[str, Any]]:
        """Fill a registry with one of everything, and export it."""
        self.fill(registry, "1.0.0", mel={"n_mels": 80})
        self.fill(registry, "1.1.0", requires={"acoustic": "<3"}, languages=None)
        self.fill(registry, "2.0.0", component="acoustic", trained_with={"vocoder": "1.1.0"})
        self.fill(registry, "0.1.0", "0.2.0")
        registry.promote("tts", {"vocoder": "1.0.0"}, at=AT, **BY)
        registry.promote("tts", {"vocoder": "1.1.0", "acoustic": "2.0.0"}, at=AT, **BY)
        registry.judge("tts", 1, unhealthy="It hums.", at=AT, **BY)
        registry.set_alias(*TTS, "night", "1.0.0", at=AT, **BY)
        registry.mark(*TTS, "0.1.0", at=AT, **BY)
        registry.mark(*TTS, "0.2.0", at=AT, **BY)
        registry.remove(*TTS, "0.2.0", at=AT, **BY)
        return [json.loads(json.dumps(line)) for line in registry.export()]

    def test_an_export_comes_in_as_it_went_out(self, registry: RegistryStore, other: RegistryStore) -> None:
        lines = self.exported(registry)
        done: list[int] = []
        imported = other.import_(lines, at=AT, progress=done.append, **BY)
        assert (imported.n_added, imported.n_present, imported.conflicts) == (len(lines) - 1, 0, ())
        assert done[-1] == len(lines)
        assert list(other.export()) == lines
        assert other.aliases(*TTS) == registry.aliases(*TTS)
        assert other.promotions("tts") == registry.promotions("tts")
        again = other.import_(lines, at=AT, **BY)
        assert (again.n_added, again.n_present, again.conflicts) == (0, len(lines) - 1, ())
        assert [change.kind for change in other.changes()] == [ChangeKind.IMPORTED]
        assert other.verify() == 1

    def test_lines_that_contradict_what_is_there_are_left_out_and_named(
        self, registry: RegistryStore, other: RegistryStore
    ) -> None:
        lines = self.exported(registry)
        self.fill(other, "1.0.0", owner="vision")
        self.fill(other, "1.0.1")
        other.promote("tts", {"vocoder": "1.0.1"}, at=AT, **BY)
        other.set_alias(*TTS, "night", "1.0.1", at=AT, **BY)
        imported = other.import_(lines, at=AT, **BY)
        assert (imported.n_added, imported.n_present) == (5 - 1 + 1, 0)
        by_kind = [lines[int(c.split(":")[0].removeprefix("line ")) - 1]["kind"] for c in imported.conflicts]
        assert by_kind == ["version", "promotion", "alias"]
        assert other.promotions("tts")[-1].versions == {"vocoder": "1.0.1"}
        assert other.aliases(*TTS)["night"] == "1.0.1"

    def test_lines_that_cannot_be_read_are_left_out_and_named(
        self, registry: RegistryStore, other: RegistryStore
    ) -> None:
        header, *lines = self.exported(registry)
        version = next(line for line in lines if line["kind"] == "version")
        promotion = next(line for line in lines if line["kind"] == "promotion")
        bad: list[object] = [
            "{not json",
            {"layout": 1},
            {"kind": "star"},
            {**header, "layout": 2},
            {**version, "version": "1.2"},
            {**version, "size_bytes": "big"},
            {**version, "registered_at": "2026-01-31T12:00:00"},
            {**version, "metadata": {**version["metadata"], "owner": None}},
            {**version, "metadata": 5},
            {name: value for name, value in version.items() if name != "stage"},
            {**version, "actor": float("nan")},
            {**promotion, "number": 7},
            {**promotion, "versions": {"vocoder": "9.0.0"}},
            {"kind": "alias", "service": "tts", "component": "vocoder", "alias": "latest", "version": "1.0.0"},
        ]
        imported = other.import_([header, *bad, version], at=AT, **BY)
        assert [conflict.split(":")[0] for conflict in imported.conflicts] == [
            f"line {n}" for n in range(2, len(bad) + 2)
        ]
        assert self.names(other.versions(Query(removed=True))) == [f"vocoder {version['version']}"]
        assert imported.n_added == 1
