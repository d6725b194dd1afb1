"""`penstock replay`: exit codes, bad input, JSON, tables, several files at once."""

import gc
import gzip
import io
import json
import sys
import types
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

import jsonschema_rs
import pytest

from penstock.cli import replay as replaying
from penstock.cli.replay.judging import Asked, Judged, judge_file, tried
from penstock.simulation.declared import declared_from
from tests.cli.conftest import Command, Result
from tests.simulation.recordings import latencies, line, shares


@pytest.fixture
def recording(tmp_path: Path) -> Any:
    """Write a recording; return its path."""

    def written(name: str, lines: Iterable[bytes]) -> str:
        path = tmp_path / name
        path.write_bytes(b"\n".join(lines) + b"\n")
        return str(path)

    return written


@pytest.fixture
def good(recording: Any) -> str:
    path: str = recording("good.jsonl", shares(900, lambda _: 0.002))
    return path


@pytest.fixture
def bad(recording: Any) -> str:
    path: str = recording("bad.jsonl", shares(300, lambda _: 0.6))
    return path


def documents(done: Result) -> list[Any]:
    return [json.loads(one) for one in done.out.splitlines()]


def test_one_file_ends_with_its_outcome(penstock: Command, recording: Any, good: str, bad: str) -> None:
    withdrawn = recording("withdrawn.jsonl", shares(30, lambda t: 1.0 if t > 20 else 0.0))
    undecided = recording("undecided.jsonl", shares(30, lambda _: 0.002))
    codes = {file: penstock("replay", file, "-o", "json") for file in (good, bad, withdrawn, undecided)}
    assert [(done.code, done.last["outcome"]) for done in codes.values()] == [
        (0, "promote"), (3, "rollback"), (4, "withdraw"), (4, "undecided"),
    ]  # fmt: skip


def test_the_answer_is_one_line_of_json(penstock: Command, bad: str) -> None:
    (answer,) = documents(
        penstock("replay", bad, "-o", "json", "--argo", "errors_pct<=1", "--flagger", "errors_pct<=1")
    )
    assert set(answer) == {"file", "outcome", "preset", "actions", "metrics", "peers"}
    assert [set(action) for action in answer["actions"]] == [
        {"t", "action", "metric", "n_canary", "evidence", "reason"}
    ] * 2
    assert set(answer["metrics"]["errors"]) == {
        "evidence_harm", "evidence_ok", "estimate", "interval", "n_canary", "n_stable", "unit_of_evidence",
    }  # fmt: skip
    assert {tool: said["outcome"] for tool, said in answer["peers"].items()} == {
        "argo": "rollback",
        "flagger": "rollback",
    }


def test_a_person_gets_a_table_actions_and_a_sentence(penstock: Command, bad: str) -> None:
    done = penstock("replay", bad, "--argo", "errors_pct<=1")
    assert "bad.jsonl: rollback   limits: generic" in done.out
    assert "canary - stable" in done.out
    assert "at 0 s withdraw errors, after 10 of the canary, evidence " in done.out
    assert "at 180 s rollback errors, after 1810 of the canary" in done.out
    assert "argo errors_pct<=1: rollback at 60 s" in done.out
    assert "verdict: " in done.out
    assert done.err == ""


def test_every_tick_on_demand(penstock: Command, bad: str) -> None:
    *ticks, answer = documents(penstock("replay", bad, "--verbose", "-o", "json"))
    assert [tick["t"] for tick in ticks] == [float(t) for t in range(181)]
    assert (ticks[0]["n_canary"], ticks[0]["n_stable"], ticks[0]["withdrawn"]) == (10, 90, True)
    assert answer["outcome"] == "rollback"
    done = penstock("replay", bad, "--verbose")
    assert done.out.startswith("0 s  canary 10  stable 90  requests ")
    assert "withdrawn\n" in done.out


def test_several_files_are_judged_at_once_and_answered_in_order(penstock: Command, good: str, bad: str) -> None:
    done = penstock("replay", bad, good, bad, "-o", "json")
    assert done.code == 0
    assert [answer["outcome"] for answer in documents(done)] == ["rollback", "promote", "rollback"]


def test_of_several_files_one_that_cannot_be_judged_does_not_stop_the_others(penstock: Command, good: str) -> None:
    done = penstock("replay", good + ".missing", good, "-o", "json")
    assert done.code == 2
    error, answer = documents(done)
    assert (error["error"]["code"], answer["outcome"]) == ("unreadable-file", "promote")
    assert "good.jsonl.missing cannot be read: No such file" in done.err


def test_an_error_travels_as_its_class_and_facts(good: str, bad: str) -> None:
    asked = Asked(declared_from({}))
    found = tried(good + ".missing", asked)
    assert isinstance(found, tuple)
    assert found[0](**found[1]).message.endswith("cannot be read: No such file or directory.")
    judged = tried(bad, asked)
    assert isinstance(judged, Judged)
    assert judged.answer["outcome"] == "rollback"


def test_the_collector_is_left_as_it_was(good: str) -> None:
    gc.disable()
    try:
        tried(good, Asked(declared_from({})))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_process_that_is_killed_is_said(penstock: Command, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed:
        def __init__(self, *args: object, **others: object) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *args: object) -> None: ...

        def map(self, *args: object) -> None:
            raise BrokenProcessPool

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", Killed)
    done = penstock("replay", good, good)
    assert done.code == 1
    assert "a process that judged was killed" in done.err


def test_stdin(penstock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"\n".join(shares(300, lambda _: 0.6))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(text)))
    done = penstock("replay", "-", "-o", "json")
    assert (done.code, done.last["file"]) == (3, "stdin")


def test_gzip(penstock: Command, good: str, tmp_path: Path) -> None:
    zipped = tmp_path / "good.gz"
    zipped.write_bytes(gzip.compress(Path(good).read_bytes()))
    assert penstock("replay", str(zipped)).code == 0
    zipped.write_bytes(zipped.read_bytes()[:-100])
    done = penstock("replay", str(zipped))
    assert done.code == 2
    assert "it is not whole" in done.err


def test_bad_lines_are_named_and_nothing_is_judged(penstock: Command, recording: Any) -> None:
    done = penstock(
        "replay", recording("f", [line(1, "canary", n=5, bad=9), b"", b"{}", line(2, "canary", n=5, bad=1)])
    )
    assert (done.code, done.out) == (2, "")
    assert "2 of 4 lines cannot be used, so nothing was judged; line 1: bad is 9 of n 5" in done.err
    assert "line 3: t and arm and metric are missing" in done.err
    assert "  remedy: mend those lines" in done.err


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ((), "there is nothing to judge"),
        (("-", "f"), "stands alone"),
        (("f", "--preset", "speach"), "there is no preset 'speach'"),
        (("f", "--alpha", "2"), "alpha is 2.0"),
        (("f", "--longest-stall", "soon"), "--longest-stall 'soon' is not a time"),
        (("f", "--argo", "mood<=1"), "--argo: there is no metric 'mood'"),
        (("f", "--limits", "/nowhere.yaml"), "/nowhere.yaml cannot be read"),
    ],
)
def test_usage_errors_are_said_before_anything_is_read(penstock: Command, args: tuple[str, ...], why: str) -> None:
    done = penstock("replay", *args)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_limits_from_a_file(penstock: Command, recording: Any, tmp_path: Path) -> None:
    file = recording("f", latencies(60, 1.0))
    limits = tmp_path / "limits.yaml"
    limits.write_text("longest_stall: 10s\nmetrics: {latency: {quantiles: [0.5, 0.95]}}\n", encoding="utf-8")
    done = penstock("replay", file, "--limits", str(limits), "-o", "json")
    assert set(done.last["metrics"]) == {"latency_p50", "latency_p95"}
    limits.write_text("metrics: {latency: {quantils: [0.5]}}\n", encoding="utf-8")
    assert (
        "there is no field 'quantils' (did you mean 'quantiles'?)"
        in penstock("replay", file, "--limits", str(limits)).err
    )
    limits.write_text("metrics: [", encoding="utf-8")
    assert "is not YAML at line " in penstock("replay", file, "--limits", str(limits)).err


def test_notes_go_to_stderr_and_can_be_left_out(penstock: Command, recording: Any) -> None:
    lines = [line(t, "canary", "hiccups", n=5, bad=0, node="x", seq=seq) for t, seq in ((1, 1), (2, 1))]
    done = penstock("replay", recording("f", lines))
    assert "note: hiccups is not known; judged as any share is" in done.err
    assert "1 of 2 lines of " in done.err
    assert penstock("replay", recording("f", lines), "--quiet").err == ""


def test_the_schema_can_be_had(penstock: Command) -> None:
    done = penstock("replay", "--schema")
    assert done.code == 0
    assert jsonschema_rs.validator_for(json.loads(done.out)).is_valid(json.loads(line(1, "canary", n=5, bad=0)))


def test_progress_is_shown_where_somebody_watches(
    penstock: Command, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(io.StringIO):
        def isatty(self) -> bool:
            return True

    watched = Watched()
    monkeypatch.setattr(sys, "stderr", watched)
    with replaying._progress(replaying.Terminal()) as watch:
        watch("reading", 0.5)
        watch("judging", 0.25)
    assert "judging" in watched.getvalue()
    assert "25%" in watched.getvalue()
    before = watched.getvalue()
    with replaying._progress(replaying.Terminal(quiet=True)) as watch:
        watch("judging", 0.5)
    assert watched.getvalue() == before


def test_how_far_one_recording_is_can_be_watched(recording: Any) -> None:
    told: list[tuple[str, float]] = []
    long = recording("long.jsonl", shares(1500, lambda _: 0.002))
    judge_file(long, Asked(declared_from({})), lambda what, share: told.append((what, share)))
    assert [what for what, _ in told] == ["reading"] * 3 + ["judging"] * 2
    shares_told = [share for _, share in told]
    assert shares_told[:3] == sorted(shares_told[:3])
    assert shares_told[3:] == [0.0, 1000 / 1500]
    assert all(0.0 <= share <= 1.0 for share in shares_told)


def test_a_file_that_is_not_there_is_said_to_be_not_there(penstock: Command, tmp_path: Path) -> None:
    done = penstock("replay", str(tmp_path / "nowhere.jsonl"))
    assert done.code == 2
    assert "nowhere.jsonl cannot be read: No such file or directory." in done.err
    assert "remedy: name a recording that is there" in done.err
    assert "--schema" not in done.err
