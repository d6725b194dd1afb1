"""SqlRegistry against what happens to processes and disks: kill -9, others that write, a full or write-protected disk."""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.registry.change import ChangeKind
from penstock.registry.exchange import written
from penstock.registry.query import Query
from penstock.stores.registry import SqlRegistry
from penstock.testing.contracts.registry_place import AT, BY, sample_version

CHILD = Path(__file__).with_name("registry_child.py")
N_KILLS = 80
N_IMPORT_KILLS = 6


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", str(CHILD), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


class Replayed:
    """What the list of changes says the registry holds."""

    def __init__(self, registry: SqlRegistry) -> None:
        self.versions: dict[tuple[str, str], dict[str, Any]] = {}
        self.promotions: list[dict[str, str]] = []
        self.aliases: dict[tuple[str, str], str] = {}
        for change in registry.changes():
            if change.kind is ChangeKind.PROMOTED:
                self.promotions.append(change.facts["versions"])
                assert change.facts["number"] == len(self.promotions)
            else:
                self._apply(change.kind, change.component, change.facts)

    def _apply(self, kind: ChangeKind, component: str, facts: Any) -> None:
        key = component, facts["version"]
        if kind is ChangeKind.REGISTERED:
            assert key not in self.versions
            self.versions[key] = {"stage": facts["stage"], "marked": False, "removed": False}
        elif kind is ChangeKind.MOVED:
            assert self.versions[key]["stage"] == facts["from"]
            self.versions[key]["stage"] = facts["to"]
        elif kind is ChangeKind.ALIASED:
            self.aliases[component, facts["alias"]] = facts["version"]
        elif kind is ChangeKind.REMOVED:
            self.versions[key]["removed"] = True
        else:
            self.versions[key]["marked"] = kind is ChangeKind.MARKED

    def check(self, registry: SqlRegistry) -> None:
        there = registry.versions(Query(removed=True))
        assert self.versions == {
            (v.component, str(v.version)): {
                "stage": v.stage.value,
                "marked": v.marked_at is not None,
                "removed": v.removed_at is not None,
            }
            for v in there
        }
        assert self.promotions == [promotion.versions for promotion in reversed(registry.promotions("tts"))]
        for component in ("acoustic", "vocoder"):
            words = registry.aliases("tts", component)
            assert words.get("night") == self.aliases.get((component, "night"))
            assert words.get("champion") == (self.promotions[-1].get(component) if self.promotions else None)


def test_kill_9_leaves_what_was_acknowledged_and_nothing_by_halves(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "registry.db", tmp_path / "acknowledged"
    acknowledged.touch()
    moments = random.Random(4)
    kinds: set[str] = set()
    with child("be_killed_in_between", path, acknowledged) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for kill in range(N_KILLS):
            # Every other one at a fault point, the rest at some moment.
            point = moments.randint(1, 400) if kill % 2 else 0
            process.stdin.write(f"{kill} {point} {moments.uniform(0, 0.15)}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "9\n"
            registry = SqlRegistry(path)
            hashes = {change.seq: change.hash for change in registry.changes()}
            assert registry.verify() == len(hashes)
            lines = [
                line.split() for line in acknowledged.read_text("ascii").splitlines(keepends=True) if line[-1] == "\n"
            ]
            assert {int(seq): hash_ for seq, hash_ in lines}.items() <= hashes.items()
            Replayed(registry).check(registry)
            kinds |= {change.kind.value for change in registry.changes()}
            registry.close()
        process.stdin.close()
    assert len(lines) > N_KILLS
    assert kinds == {"registered", "moved", "promoted", "aliased", "marked", "unmarked", "removed"}


def test_an_import_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    moments = random.Random(4)
    n_before = 0
    for _ in range(N_IMPORT_KILLS):
        with child("take_in", path) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(moments.randint(1, 4))]
            time.sleep(moments.uniform(0, 0.15))  # not a wait: the moment of the kill
            process.kill()
            said += process.stdout.readlines()
        registry = SqlRegistry(path)
        n_there = len(registry.versions(Query()))
        assert n_there % 1000 == 0
        assert n_there >= max(n_before, *(int(line) for line in said if line[-1] == "\n"))
        assert registry.verify() == n_there // 1000
        registry.close()
        n_before = n_there
    registry = SqlRegistry(path)
    lines = [written(sample_version(str(n), at=AT + timedelta(n))) for n in range(1, 4001)]
    imported = registry.import_(lines, at=AT, **BY)
    assert (imported.n_added, imported.n_present, imported.conflicts) == (4000 - n_before, n_before, ())
    registry.close()


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    names = ["acoustic", "vocoder", "emotion"]
    command = [sys.executable, "-W", "error", str(CHILD), "register_many", str(path)]
    writers = [subprocess.Popen([*command, name]) for name in names]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    registry = SqlRegistry(path)
    assert len(registry.versions(Query())) == registry.verify() == 120
    assert registry.services() == {"tts": tuple(sorted(names))}
    registry.close()


@pytest.mark.parametrize("what", ["fill_disk", "write_protect"])
def test_a_disk_that_refuses(what: str) -> None:
    # Not tmp_path, whose parents only their owner may enter: one of the children gives root's rights up.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", str(CHILD), what, f"{folder}/registry.db"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
