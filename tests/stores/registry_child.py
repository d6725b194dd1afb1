"""What a child process does with a registry: `python registry_child.py WHAT PATH ...`. Its exit status is the answer."""

import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from penstock.kernel.errors import PenstockError, RegistryUnwritable
from penstock.registry.exchange import written
from penstock.registry.query import Query
from penstock.registry.stage import Stage
from penstock.stores.registry import SqlRegistry
from penstock.testing.contracts.registry_place import AT, BY, sample_version

NOBODY = 65534
_COMPONENTS = ("acoustic", "vocoder")


def be_killed_in_between(path: Path, acknowledged: Path) -> None:
    """Fork a child for each line of stdin, `SEED POINT DELAY_S`, and let it change the registry until it is killed.

    POINT > 0: it kills itself before its so many'th SQL statement or commit. Else we kill it after DELAY_S. Starting from
    here costs a fork and no imports, so that many children can be killed.
    """
    for line in sys.stdin:
        seed, point, delay_s = line.split()
        child = os.fork()
        if child == 0:
            if int(point):
                die_at(int(point))
            change_for_ever(path, acknowledged, int(seed))
        if not int(point):
            time.sleep(float(delay_s))  # the moment of the kill
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else 'exited'}\n")
        sys.stdout.flush()


def die_at(point: int) -> None:
    """Kill this process before its so many'th statement or commit."""
    left = count(point - 1, -1)

    def pass_by(*_: object) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "commit", "rollback"):
        event.listen(Engine, moment, pass_by)


def change_for_ever(path: Path, acknowledged: Path, seed: int) -> None:
    """Change at random; write down the number and hash of each change once the registry has acknowledged it."""
    chance = random.Random(seed)
    registry = SqlRegistry(path)
    changes = (register, promote, move, mark, unmark, remove, alias)
    known = max((change.seq for change in registry.changes()), default=0)
    with acknowledged.open("a", encoding="ascii", buffering=1) as file:
        while True:
            chance.choices(changes, weights=(4, 2, 3, 2, 1, 1, 1))[0](registry, chance)
            for change in registry.changes(after_seq=known):
                file.write(f"{change.seq} {change.hash}\n")
                known = change.seq


def register(registry: SqlRegistry, chance: random.Random) -> None:
    component = chance.choice(_COMPONENTS)
    there = registry.versions(Query("tts", component, removed=True, limit=1))
    number = there[0].version.major + 1 if there else 1
    stage = chance.choice([Stage.REGISTERED, Stage.STABLE])
    registry.register(sample_version(str(number), component, stage=stage, at=AT + timedelta(number)), **BY)


def _on_some(change: Callable[[SqlRegistry, str, str], object]) -> Callable[[SqlRegistry, random.Random], None]:
    def on_some(registry: SqlRegistry, chance: random.Random) -> None:
        if there := registry.versions(Query("tts", limit=20)):
            version = chance.choice(there)
            # In use, removed, in another stage: refused, and nothing has changed.
            with contextlib.suppress(PenstockError):
                change(registry, version.component, str(version.version))

    return on_some


promote = _on_some(lambda r, component, version: r.promote("tts", {component: version}, at=AT, **BY))
move = _on_some(lambda r, component, version: r.move("tts", component, version, Stage.VERIFIED, at=AT, **BY))
mark = _on_some(lambda r, component, version: r.mark("tts", component, version, at=AT, **BY))
unmark = _on_some(lambda r, component, version: r.unmark("tts", component, version, at=AT, **BY))
remove = _on_some(lambda r, component, version: r.remove("tts", component, version, at=AT, **BY))
alias = _on_some(lambda r, component, version: r.set_alias("tts", component, "night", version, at=AT, **BY))


def take_in(path: Path) -> None:
    """Import 4,000 versions, and say how far we are."""
    lines = [written(sample_version(str(n), at=AT + timedelta(n))) for n in range(1, 4001)]
    registry = SqlRegistry(path)

    def say(n_lines: int) -> None:
        sys.stdout.write(f"{n_lines}\n")
        sys.stdout.flush()

    say(0)
    registry.import_(lines, at=AT, progress=say, **BY)


def register_many(path: Path, component: Path) -> None:
    registry = SqlRegistry(path)
    for n in range(1, 41):
        registry.register(sample_version(str(n), component.name), **BY)
    registry.close()


def fill_disk(path: Path) -> None:
    """No file may grow beyond some size: the kernel answers EFBIG to the write, as it answers ENOSPC on a full disk."""
    registry = SqlRegistry(path)
    registry.register(sample_version("1"), **BY)
    for n, limit_bytes in enumerate((1, 1000, 5000), 2):  # nothing, not one page, one page
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
        for _ in range(3):
            with pytest.raises(RegistryUnwritable, match=r"cannot be written: .*(disk|full)"):
                registry.register(sample_version(str(n), change_note="x" * 20_000), **BY)
        assert [v.version.major for v in registry.versions(Query())] == list(range(n - 1, 0, -1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        registry.register(sample_version(str(n)), **BY)
    assert registry.verify() == 4
    registry.close()


def write_protect(path: Path) -> None:
    """Files without write permission bind everybody but root, so root becomes nobody first."""
    if os.geteuid() == 0:
        os.chown(path.parent, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    registry = SqlRegistry(path)
    first = registry.register(sample_version("1"), **BY)
    registry.close()
    path.chmod(0o400)
    registry = SqlRegistry(path)
    with pytest.raises(RegistryUnwritable, match=r"readonly|read-only|Permission"):
        registry.register(sample_version("2"), **BY)
    path.chmod(0o600)
    registry.close()
    registry = SqlRegistry(path)
    assert registry.versions(Query()) == [first]
    registry.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *(Path(argument) for argument in sys.argv[3:]))
