"""Reads one recording and judges it. Runs in a process of its own where there are several."""

import gc
import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from penstock.kernel.errors import PenstockError, UnreadableFile
from penstock.simulation.declared import Declared, chosen_for
from penstock.simulation.recorded import Record, record_of
from penstock.simulation.replaying import Replay, judge_for, metrics_as_json, tick_as_json
from penstock.simulation.rivals import Rival, rivals_as_json

#: Told how far a recording is: what is being done to it, and the share of it that is done, 0..1.
Watch: TypeAlias = Callable[[str, float], None]

#: Lines, or ticks, from one time to the next that progress is told: some milliseconds.
_WATCHED_EVERY = 1000

_GZIPPED = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Asked:
    """How to judge.

    Attributes:
        declared: the limits.
        rivals: other tools' rules for the same recording.
        verbose: whether every tick is wanted.
    """

    declared: Declared
    rivals: tuple[Rival, ...] = ()
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What a recording comes to.

    Attributes:
        answer: as JSON.
        sentences: the verdict in words, most important first.
        notes: what a person should know about the limits and the lines.
        ticks: how things stood after each tick, where that was asked for.
    """

    answer: dict[str, Any]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    ticks: list[dict[str, Any]] = field(default_factory=list)


def _nobody(what: str, share: float) -> None:
    """Nobody watches."""


def judge_file(file: str, asked: Asked, watch: Watch = _nobody) -> Judged:
    """Judge one recording; `-` is stdin. Raises UnreadableFile, UnreadableLines, InvalidRecord or InvalidLimits."""
    with _uncollected():
        return _judged("stdin" if file == "-" else file, file, asked, watch)


def _judged(name: str, file: str, asked: Asked, watch: Watch) -> Judged:
    record = _read(file, name, watch)
    chosen = chosen_for(asked.declared, record.shapes, file=name)
    peers = rivals_as_json(asked.rivals, record, file=name)
    replay = Replay(judge_for(record, chosen.limits), chosen.limits)
    ticks: list[dict[str, Any]] = []
    for n_before, tick in enumerate(record.ticks):
        if n_before % _WATCHED_EVERY == 0:
            watch("judging", n_before / len(record.ticks))
        replay.observe(tick)
        if asked.verbose:
            ticks.append(tick_as_json(replay, chosen.limits))
        if replay.over:
            break
    verdict = replay.judge.verdict()
    answer = {
        "file": name,
        "outcome": replay.outcome.value,
        "preset": chosen.preset,
        "actions": [action.as_json() for action in replay.actions],
        "metrics": metrics_as_json(chosen.limits, verdict.metrics),
    }
    if peers:
        answer["peers"] = peers
    return Judged(answer, verdict.reasons, (*chosen.notes, *_ignored(name, record)), ticks)


def tried(file: str, asked: Asked) -> Judged | tuple[type[PenstockError], dict[str, Any]]:
    """Return what a recording comes to, or the error's class and facts: an error itself does not travel well."""
    try:
        return judge_file(file, asked)
    except PenstockError as error:
        return type(error), error.facts


def _read(file: str, name: str, watch: Watch) -> Record:
    try:
        with _opened(file, watch) as lines:
            return record_of(name, lines)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(file=name, why=getattr(error, "strerror", None) or "it is not whole") from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """A recording is a million small objects without a cycle: to look for cycles in it takes a third of the time to read it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _opened(file: str, watch: Watch) -> Iterator[Iterable[bytes]]:
    """Open a recording, gzipped or not."""
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as raw:
        zipped = raw.read(len(_GZIPPED)) == _GZIPPED
        raw.seek(0)
        yield _watched(cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw, raw, watch)


def _watched(lines: Iterable[bytes], raw: BinaryIO, watch: Watch) -> Iterator[bytes]:
    """Yield the lines, and say how much of the file they took."""
    n_bytes = max(1, os.fstat(raw.fileno()).st_size)
    for n_before, line in enumerate(lines):
        if n_before % _WATCHED_EVERY == 0:
            watch("reading", raw.tell() / n_bytes)
        yield line


def _ignored(file: str, record: Record) -> tuple[str, ...]:
    if not record.n_ignored:
        return ()
    return (f"{record.n_ignored} of {record.n_lines} lines of {file} were ignored: their seq had been counted before",)
