"""What the documents say holds: links, commands, plans, JSON, snippets."""

import asyncio
import contextlib
import json
import shlex
import sqlite3
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from ruamel.yaml import YAML

from penstock.rollout.entry import Draft, Kind
from penstock.rollout.plan import plan_from
from penstock.simulation.declared import FILE_FIELDS, METRIC_FIELDS, chosen_for, declared_from
from penstock.simulation.lines import SHAPES, Shape, line_of
from penstock.stores.sql import SqlJournal
from penstock.testing.fakes import ManualClock
from tests.docs.pages import PROGRAM
from tests.docs.reading import PAGES, ROOT, anchors, blocks, code_spans, commands, links, rows, section, text_of

#: Fields that a limits file has and a plan has not.
LIMITS_ONLY = set(FILE_FIELDS) - {"longest_stall"}
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
JOURNAL = ROOT / "docs" / "reference" / "journal.md"
HOT_SWAP = ROOT / "docs" / "howto" / "hot-swap.md"
COMPONENTS = ROOT / "docs" / "howto" / "components.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_found_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_shell_block_could_be_run(page: Path) -> None:
    for args in (args for block in blocks(page, "sh") for args in commands(block)):
        assert args, f"{page} calls penstock with nothing"
        verb, *rest = args
        assert verb in PROGRAM.commands, args
        try:
            PROGRAM.commands[verb].make_context(verb, rest)
        except typer.TyperException as error:
            pytest.fail(f"penstock {shlex.join(args)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    for span in code_spans(page):
        words = span.split()
        if words[0] != "penstock" or len(words) < 2 or not words[1].islower() or words[1].startswith("-"):
            continue
        assert words[1] in PROGRAM.commands, span
        known = {option for parameter in PROGRAM.commands[words[1]].params for option in parameter.opts}
        assert {word for word in words[2:] if word.startswith("-")} <= known | {"--help"}, span


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_plan_is_one(page: Path) -> None:
    for block in blocks(page, "yaml"):
        fields = YAML(typ="safe", pure=True).load(block)
        if not set(fields) & LIMITS_ONLY:
            plan_from(fields)


def test_the_page_on_replay_has_limits_that_can_be_used_and_every_field() -> None:
    page = ROOT / "docs" / "howto" / "replay.md"
    (block,) = blocks(page, "yaml")
    fields = YAML(typ="safe", pure=True).load(block)
    shapes = {"errors": Shape.SHARE, "latency": Shape.SAMPLES, "stars": Shape.SCORES, "heat": Shape.LEVEL}
    chosen = chosen_for(declared_from(fields), shapes, file="f")
    assert chosen.notes == ()
    assert set(rows(section(page, "Fields of a limits file"))) == set(FILE_FIELDS)
    assert set(rows(section(page, "Fields of a metric"))) == set(METRIC_FIELDS)


def test_the_page_on_recorded_counts_has_every_field_and_its_lines_are_lines() -> None:
    page = ROOT / "docs" / "reference" / "recorded-counts.md"
    schema = json.loads((files("penstock.simulation") / "recorded.schema.json").read_text(encoding="utf-8"))
    assert set(rows(section(page, "Fields of every line"))) | set(rows(section(page, "Counts"))) == set(
        schema["properties"]
    )
    lines = [line for block in blocks(page, "jsonl") for line in block.splitlines()]
    assert set(SHAPES.values()) == {line_of(line.encode()).shape for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", ADRS, ids=name_of)
def test_a_decision_record_is_short_and_names_what_it_costs(page: Path) -> None:
    text = text_of(page)
    assert len(text.splitlines()) <= 40
    assert text.startswith(f"# {page.name[:4]}: ")
    assert all(part in text for part in ("\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n"))
    assert "- Negative: " in text


def test_only_these_pages_have_python_to_run() -> None:
    assert {page for page in PAGES if blocks(page, "python")} == {JOURNAL, HOT_SWAP, COMPONENTS}


def test_the_page_on_hot_swap_prints_what_it_says(tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text("\n".join(blocks(HOT_SWAP, "python")), encoding="utf-8")
    ran = subprocess.run([sys.executable, example], capture_output=True, text=True, check=False)
    assert (ran.stderr, ran.stdout) == ("", "".join(blocks(HOT_SWAP, "text")))


async def test_the_page_on_components_serves_what_it_says() -> None:
    page: dict[str, Any] = {}
    exec("\n".join(blocks(COMPONENTS, "python")), page)  # our own page
    transport = httpx2.ASGITransport(page["app"])
    async with httpx2.AsyncClient(transport=transport, base_url="http://tts") as client:
        answer = await client.post("/synthesize", json={"text": "hello"})
    assert answer.json() == "hello 1.2.0 1.1.0"
    assert answer.headers["x-model-version"] == "acoustic-1.2.0+vocoder-1.1.0"


async def _written(path: Path) -> str:
    """Write three entries; return the last one's hash."""
    journal = SqlJournal(path, ManualClock())
    await journal.acquire("test")
    for generation in (1, 2, 3):
        draft = Draft(
            "tts", Kind.STEPPED, "ann", "试听 \u201cfine\u201d", generation, {"weight_pct": 12.5, "step": None}
        )
        last = await journal.append(draft, expected_generation=generation - 1)
    await journal.close()
    return last.hash


def test_the_journal_can_be_verified_by_hand(tmp_path: Path) -> None:
    path, snippet = tmp_path / "journal.db", tmp_path / "verify.py"
    snippet.write_text(blocks(JOURNAL, "python")[0], encoding="utf-8")
    last = asyncio.run(_written(path))
    sound = subprocess.run([sys.executable, snippet, path], capture_output=True, text=True, check=False)
    assert (sound.returncode, sound.stdout) == (0, f"sound; the last hash is {last}\n"), sound.stderr

    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET reason = 'never happened' WHERE seq = 2")
    changed = subprocess.run([sys.executable, snippet, path], capture_output=True, text=True, check=False)
    assert (changed.returncode, changed.stderr) == (1, "entry 2 does not add up\n")
