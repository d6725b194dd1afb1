"""A catalogue loses nothing: not when it is killed, not when a push and a collection meet."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.control.cataloguing import Catalogue
from penstock.kernel.errors import NameTaken, UnknownName, UnknownVersion
from penstock.kernel.semver import SemVer
from penstock.ports.artifacts import ArtifactStore, Progress, silent
from penstock.registry.manifest import Manifest
from penstock.registry.naming import Name
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.retention import Policy
from penstock.registry.stage import Stage
from penstock.testing.fakes import ManualClock
from tests.control.cataloguing import BY, STRICT, adopt, lay, parts_of, push, source_of


def names(catalogue: Catalogue) -> set[str]:
    return {str(version.version) for version in catalogue.registry.versions(Query())}


def check_whole(catalogue: Catalogue, into: Path) -> None:
    """Every version that is there can be pulled."""
    for version in catalogue.registry.versions(Query()):
        catalogue.pull(Ref.parse(version.reference), into / version.name)
    catalogue.registry.verify()


Killed = Callable[[Path, int], bool]


@contextmanager
def killing(what: str) -> Iterator[Killed]:
    """Yield what lets a child work on a folder, and tells whether it was killed before its n-th call to a store."""
    command = [sys.executable, "-m", "tests.control.cataloguing", what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        assert parent.stdin
        assert parent.stdout
        asked, answers = parent.stdin, parent.stdout

        def killed_before(folder: Path, n: int) -> bool:
            asked.write(f"{n} {folder}\n")
            code = int(answers.readline())
            assert code in {0, -signal.SIGKILL}
            return code != 0

        yield killed_before
        asked.close()


@pytest.mark.parametrize("stage", [Stage.REGISTERED, Stage.STABLE])
def test_a_push_that_is_killed_anywhere_is_finished_by_pushing_again(tmp_path: Path, stage: Stage) -> None:
    was_killed, n = True, -1
    with killing(stage) as killed_before:
        while was_killed:
            n += 1
            folder = tmp_path / str(n)
            folder.mkdir()
            was_killed = killed_before(folder, n)
            catalogue = Catalogue(parts_of(folder))
            check_whole(catalogue, folder / "before")
            n_registered = len(names(catalogue))
            assert n_registered >= n_named(folder)
            assert push(catalogue, folder, "2.0.0", stage) == (n_registered == 0)
            assert n_named(folder) == 1
            assert catalogue.registry.version("tts", "vocoder", "2.0.0").stage is stage
            check_whole(catalogue, folder / "after")
            assert len(catalogue.registry.promotions("tts")) == (stage is Stage.STABLE)
            catalogue.registry.close()
    assert n > 5


def n_named(folder: Path) -> int:
    """Return 1 where the store knows 2.0.0 by its name, as the registry does, and 0 where it does not."""
    parts = parts_of(folder)
    with closing(parts.registry):
        try:
            digest = parts.artifacts.named(Name("tts", "vocoder", SemVer(2)))
        except UnknownName:
            return 0
        assert digest == parts.registry.version("tts", "vocoder", "2.0.0").digest
        return 1


def with_one_marked(folder: Path) -> Catalogue:
    """2.0.0 serves, 1.0.0 is marked, 1.1.0 is not yet; and there is what a killed push left behind long ago."""
    parts = parts_of(folder)
    parts.artifacts.push(source_of(folder, "3.0.0"))
    make_old(folder)
    catalogue = Catalogue(parts)
    for version in ("1.0.0", "2.0.0"):
        push(catalogue, folder, version)
    catalogue.registry.promote("tts", {"vocoder": "2.0.0"}, at=parts.clock.now(), **BY)
    catalogue.collect(STRICT, None, **BY)
    push(catalogue, folder, "1.1.0")
    return catalogue


def test_a_collection_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    was_killed, n = True, -1
    with killing("gc") as killed_before:
        while was_killed:
            n += 1
            folder = tmp_path / str(n)
            folder.mkdir()
            catalogue = with_one_marked(folder)
            was_killed = killed_before(folder, n)
            check_whole(catalogue, folder / "before")
            for _ in range(2):
                catalogue.collect(STRICT, None, **BY)
            assert names(catalogue) == {"2.0.0"}
            assert len(parts_of(folder).artifacts.digests()) == 1
            check_whole(catalogue, folder / "after")
            catalogue.registry.close()
    assert n > 5


def history(catalogue: Catalogue) -> tuple[dict[str, str], list[Mapping[str, str]]]:
    stages = {version.name: version.stage.value for version in catalogue.registry.versions(Query())}
    return stages, [promotion.versions for promotion in reversed(catalogue.registry.promotions("tts"))]


def test_an_adoption_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    was_killed, n = True, -1
    with killing("adopt") as killed_before:
        while was_killed:
            n += 1
            folder = tmp_path / str(n)
            lay(folder / "tree")
            was_killed = killed_before(folder, n)
            catalogue = Catalogue(parts_of(folder))
            check_whole(catalogue, folder / "out")
            adopt(catalogue, folder / "tree")
            assert history(catalogue) == (
                {
                    "acoustic 1.0.0": "stable",
                    "acoustic 1.1.0": "verified",
                    "acoustic 2.0.0": "stable",
                    "vocoder 2.0.0": "stable",
                },
                [{"acoustic": "1.0.0"}, {"acoustic": "2.0.0", "vocoder": "2.0.0"}],
            )
            catalogue.registry.close()
    assert n > 20


def test_several_may_adopt_the_same_tree_at_once(tmp_path: Path) -> None:
    lay(tmp_path / "tree")

    def adopted(_: int) -> int:
        catalogue = Catalogue(parts_of(tmp_path))
        with closing(catalogue.registry):
            return sum(taken.is_new for taken in adopt(catalogue, tmp_path / "tree").versions)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(adopted, range(4))) == 4
    catalogue = Catalogue(parts_of(tmp_path))
    assert history(catalogue)[1] == [{"acoustic": "1.0.0"}, {"acoustic": "2.0.0", "vocoder": "2.0.0"}]
    n_changes = catalogue.registry.verify()
    adopt(catalogue, tmp_path / "tree")
    assert catalogue.registry.verify() == n_changes
    catalogue.registry.close()


def test_progress_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    lay(tmp_path / "tree")
    size_bytes = sum(file.stat().st_size for file in (tmp_path / "tree").rglob("*") if file.is_file())
    catalogue = Catalogue(parts_of(tmp_path))
    for _ in range(2):
        told: list[tuple[int, int]] = []
        adopt(catalogue, tmp_path / "tree", lambda *so_far, told=told: told.append(so_far))
        assert told == sorted(told)
        assert len(told) >= 4
        assert {total for _, total in told} == {size_bytes}
        assert told[-1][0] == size_bytes
    catalogue.registry.close()


def test_adopting_again_changes_nothing_and_undoes_nothing(tmp_path: Path) -> None:
    parts, clock = parts_of(tmp_path), ManualClock()
    catalogue = Catalogue(replace(parts, clock=clock))
    lay(tmp_path / "tree")
    first = adopt(catalogue, tmp_path / "tree")
    assert all(taken.is_new for taken in first.versions)
    assert len(first.promoted) == 2
    before = history(catalogue), catalogue.registry.verify()
    again = adopt(catalogue, tmp_path / "tree")
    assert not any(taken.is_new for taken in again.versions)
    assert (again.promoted, again.unfit, again.serving) == ((), {}, first.serving)
    assert (history(catalogue), catalogue.registry.verify()) == before

    clock.advance(1.0)
    catalogue.move(Ref.parse("tts/acoustic@1.1.0"), Stage.QUARANTINED, **BY)
    catalogue.move(Ref.parse("tts/acoustic@1.1.0"), Stage.REGISTERED, **BY)
    catalogue.registry.move("tts", "vocoder", "2.0.0", Stage.RETIRED, at=clock.now(), **BY)
    before = history(catalogue), catalogue.registry.verify()
    adopt(catalogue, tmp_path / "tree")
    assert (history(catalogue), catalogue.registry.verify()) == before
    catalogue.registry.close()


def test_what_is_adopted_later_and_is_older_is_stable_and_does_not_serve(tmp_path: Path) -> None:
    catalogue = Catalogue(parts_of(tmp_path))
    push(catalogue, tmp_path, "2.5.0", Stage.STABLE)
    lay(tmp_path / "tree")
    adopted = adopt(catalogue, tmp_path / "tree")
    stages, releases = history(catalogue)
    assert stages["vocoder 2.0.0"] == "stable"
    assert adopted.serving == {"acoustic": "2.0.0", "vocoder": "2.5.0"}
    assert releases == [
        {"vocoder": "2.5.0"},
        {"acoustic": "1.0.0", "vocoder": "2.5.0"},
        {"acoustic": "2.0.0", "vocoder": "2.5.0"},
    ]
    (candidate,) = catalogue.rollback_plan("tts", "vocoder")["candidates"]
    assert candidate["release"] == "acoustic-2.0.0+vocoder-2.0.0"
    assert candidate["why"][0] == "stable, but it never served here"
    catalogue.registry.close()


class Raced:
    """A store whose first `n_lost` pushed artifacts are taken away at once, as a collection may."""

    def __init__(self, store: ArtifactStore, n_lost: int) -> None:
        self._store = store
        self._n_lost = n_lost
        self.n_pushes = 0

    def push(self, source: Path, *, check: bool = False, on_progress: Progress = silent) -> Manifest:
        self.n_pushes += 1
        manifest = self._store.push(source, check=check, on_progress=on_progress)
        if self.n_pushes <= self._n_lost:
            assert self._store.remove(manifest.digest)
        return manifest

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_files_that_a_collection_took_before_they_had_a_name_are_stored_again(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    raced = Raced(parts.artifacts, n_lost=2)
    catalogue = Catalogue(replace(parts, artifacts=raced))  # type: ignore[arg-type]  # the rest it passes on
    push(catalogue, tmp_path, "1.0.0")
    assert raced.n_pushes == 3
    check_whole(catalogue, tmp_path / "out")
    catalogue.registry.close()


def test_what_others_serve_is_neither_marked_nor_removed(tmp_path: Path) -> None:
    catalogue = Catalogue(parts_of(tmp_path))
    push(catalogue, tmp_path, "1.0.0")
    serves = {("tts", "vocoder", "1.0.0"): "stable of tts"}
    kept = catalogue.collect(STRICT, None, in_use=serves, **BY).as_json()
    assert kept["kept"] == [{"version": "tts/vocoder@1.0.0", "why": "stable of tts"}]
    assert catalogue.collect(STRICT, None, **BY).as_json()["marked"] == ["tts/vocoder@1.0.0"]
    again = catalogue.collect(STRICT, None, in_use=serves, **BY).as_json()
    assert (again["unmarked"], again["removed"]) == (["tts/vocoder@1.0.0"], [])
    catalogue.registry.close()


def test_pushing_again_names_what_was_registered_without_a_name(tmp_path: Path) -> None:
    catalogue = Catalogue(parts_of(tmp_path))
    push(catalogue, tmp_path, "2.0.0")
    (tmp_path / "artifacts" / "names" / "tts" / "vocoder" / "2.0.0").unlink()
    assert n_named(tmp_path) == 0
    assert not push(catalogue, tmp_path, "2.0.0")
    assert n_named(tmp_path) == 1
    catalogue.registry.close()


def test_a_name_that_another_registry_gave_is_refused_before_anything_is_registered(tmp_path: Path) -> None:
    mine = parts_of(tmp_path)
    (tmp_path / "other").mkdir()
    other = replace(parts_of(tmp_path / "other"), artifacts=mine.artifacts)
    push(Catalogue(other), tmp_path / "other", "2.0.0")
    (tmp_path / "2.0.0").mkdir()
    (tmp_path / "2.0.0" / "more.txt").write_text("more", encoding="utf-8")
    with pytest.raises(NameTaken, match=r"tts/vocoder@2\.0\.0 already means other files"):
        push(Catalogue(mine), tmp_path, "2.0.0")
    with pytest.raises(UnknownVersion):
        mine.registry.version("tts", "vocoder", "2.0.0")
    for parts in (mine, other):
        parts.registry.close()


def killed_before_registering(folder: Path) -> Catalogue:
    """Return the catalogue in which a push of 2.0.0 was killed when its files were stored, and not yet registered."""
    folder.mkdir()
    with killing(Stage.REGISTERED) as killed_before:
        n = 0
        while not (folder / "artifacts" / "manifests").exists():
            n += 1
            assert killed_before(folder, n)
    catalogue = Catalogue(parts_of(folder))
    assert names(catalogue) == set()
    return catalogue


def make_old(folder: Path) -> None:
    """Let the artifacts of a store seem to be of 1970."""
    for path in (folder / "artifacts" / "manifests").rglob("*"):
        os.utime(path, (0, 0))


def test_what_a_killed_push_left_behind_is_given_up_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    catalogue, artifacts = killed_before_registering(folder), parts_of(folder).artifacts
    assert catalogue.collect(Policy(), None, **BY).n_artifacts == 0
    (digest,) = artifacts.digests()
    push(catalogue, folder, "1.0.0")
    make_old(folder)
    assert catalogue.collect(Policy(), None, **BY).n_artifacts == 1
    assert not artifacts.has(digest)
    check_whole(catalogue, folder / "after")
    assert push(catalogue, folder, "2.0.0")
    make_old(folder)
    assert catalogue.collect(Policy(), None, **BY).n_artifacts == 0
    assert artifacts.has(digest)
    catalogue.registry.close()


def test_what_only_the_store_knows_by_name_stays(tmp_path: Path) -> None:
    catalogue = Catalogue(parts_of(tmp_path))
    push(catalogue, tmp_path, "1.0.0")
    catalogue.registry.close()
    shutil.copyfile(tmp_path / "registry.db", tmp_path / "copy.db")
    catalogue = Catalogue(parts_of(tmp_path))
    push(catalogue, tmp_path, "2.0.0")
    catalogue.registry.close()
    shutil.copyfile(tmp_path / "copy.db", tmp_path / "registry.db")
    make_old(tmp_path)
    catalogue, artifacts = Catalogue(parts_of(tmp_path)), parts_of(tmp_path).artifacts
    assert catalogue.collect(Policy(), None, **BY).n_artifacts == 0
    assert len(artifacts.digests()) == 2
    assert push(catalogue, tmp_path, "2.0.0")
    catalogue.registry.close()
