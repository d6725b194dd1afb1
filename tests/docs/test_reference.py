"""The reference pages say what the code does."""

import dataclasses
import inspect
import json
import re
from enum import StrEnum
from types import ModuleType

import pytest
from pydantic import BaseModel

from penstock.api import schemas
from penstock.cli.exit_codes import ExitCode
from penstock.judge.verdict import MetricEvidence, Verdict
from penstock.registry import change, exchange, foreign, metadata, reference, stage
from penstock.rollout import entry, phases, plan
from penstock.rollout.entry import Kind
from penstock.routing.repeatable import DEFAULT_REPEATABLE
from penstock.telemetry import tally
from tests.docs import pages
from tests.docs.reading import ROOT, blocks, rows, section, text_of

HOWTO, REFERENCE = ROOT / "docs" / "howto", ROOT / "docs" / "reference"
STATUS, JOURNAL, REGISTRY = (REFERENCE / f"{name}.md" for name in ("status", "journal", "registry"))
RENEW = "out of date; renew it with: .venv/bin/python -m tests.docs.pages"


def test_the_page_on_the_command_line_is_what_the_program_says() -> None:
    assert text_of(REFERENCE / "cli.md") == pages.cli_page(), RENEW


def test_the_page_on_the_api_lists_its_routes_and_problems() -> None:
    written = text_of(REFERENCE / "http-api.md")
    assert written == pages.http_page(written), RENEW


def test_every_exit_code_is_explained() -> None:
    listed = re.findall(r"^\| (\d+) \|", text_of(REFERENCE / "cli.md"), re.MULTILINE)
    assert listed == [str(code.value) for code in ExitCode]


def words_of(module: ModuleType) -> dict[str, str]:
    """Return value -> comment of the enumeration in a module."""
    found = re.findall(r'^    #: (.*)\n    [A-Z_]+ = "(.*)"$', inspect.getsource(module), re.MULTILINE)
    return {value: comment for comment, value in found}


def test_the_page_on_phases_says_what_each_phase_and_kind_means() -> None:
    of_phases, _, of_kinds = text_of(REFERENCE / "phases.md").partition("| journal entry |")
    for part, module, members in ((of_phases, phases, phases.Phase), (of_kinds, entry, Kind)):
        listed = {name: cells[0] for name, cells in rows(part).items()}
        assert listed == words_of(module)
        assert set(listed) == set(map(str, members))


@pytest.mark.parametrize(
    ("heading", "module", "members"),
    [
        ("Stages", stage, stage.Stage),
        ("References", reference, reference.Word),
        ("Changes", change, change.ChangeKind),
    ],
)
def test_the_page_on_the_registry_says_what_each_word_means(
    heading: str, module: ModuleType, members: type[StrEnum]
) -> None:
    listed = {name: cells[0] for name, cells in rows(section(REGISTRY, heading)).items()}
    assert listed == words_of(module)
    assert set(listed) == set(map(str, members))


def test_the_page_on_the_registry_has_every_field_and_its_lines_are_lines() -> None:
    listed = rows(section(REGISTRY, "Metadata"))
    assert set(listed) == set(metadata.REQUIRED) | metadata.OPTIONAL
    assert {name for name, cells in listed.items() if cells[1].removesuffix("|").strip()} == metadata.NULLABLE
    assert {name for name, cells in listed.items() if cells[0].startswith("may be left out")} == metadata.OPTIONAL
    assert set(rows(section(REGISTRY, "From MLflow"))) == set(metadata.REQUIRED)
    (block,) = blocks(REGISTRY, "jsonl")
    lines = [json.loads(line) for line in block.splitlines()]
    header, *others = map(exchange.read, lines)
    assert header is None
    assert [exchange.written(line) for line in others if line is not None] == lines[1:]


def test_the_page_on_the_registry_says_how_what_others_wrote_is_read() -> None:
    listed = rows(section(REGISTRY, "Adopting a tree").partition("| theirs |")[2])
    assert set(listed) == {*foreign.SPELLINGS, "metrics", "status", "version"}
    for name, (field, before) in foreign.SPELLINGS.items():
        assert listed[name][0].startswith(f"`{field}`")
        assert f"`{before.strip()}`" in listed[name][0] or not before
    assert f"`{foreign.NOT_STATED}`" in listed["metrics"][0]
    assert all(f"`{word}`" in listed["status"][0] for word in foreign.STATUSES)
    assert f"`{foreign.AS_FOUND}`" in section(REGISTRY, "Adopting a tree")


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Status", schemas.StatusView),
        ("Release", schemas.ReleaseView),
        ("Node", schemas.NodeView),
        ("Explanation", schemas.ExplanationView),
        ("Outcome", schemas.OutcomeView),
    ],
)
def test_the_page_on_the_status_has_every_field(heading: str, model: type[BaseModel]) -> None:
    assert set(rows(section(STATUS, heading))) == set(model.model_fields)


@pytest.mark.parametrize(("heading", "kind"), [("Verdict", Verdict), ("Metric", MetricEvidence)])
def test_the_page_on_the_status_has_every_number(heading: str, kind: type[Verdict | MetricEvidence]) -> None:
    assert set(rows(section(STATUS, heading))) == {field.name for field in dataclasses.fields(kind)}


def test_the_status_that_is_shown_has_every_field() -> None:
    shown, outcome = (json.loads(block) for block in blocks(STATUS, "json"))
    assert set(shown) == set(schemas.StatusView.model_fields)
    assert set(shown["evidence"]) == {field.name for field in dataclasses.fields(Verdict)}
    assert set(outcome) == set(schemas.OutcomeView.model_fields) - {"rollout", "final"}


def test_the_page_on_the_journal_has_every_field_and_kind() -> None:
    assert set(rows(section(JOURNAL, "Fields of every entry"))) == set(schemas.EntryView.model_fields)
    assert set(rows(section(JOURNAL, "Kinds and their facts"))) == set(map(str, Kind))


def test_the_page_on_counters_has_the_arithmetic() -> None:
    page = text_of(REFERENCE / "counters.md")
    table = [line for line in inspect.cleandoc(tally.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(table) > 5
    assert "\n".join(table) in page


def test_the_page_on_plans_has_every_field_with_its_default() -> None:
    listed = rows(section(HOWTO / "plans.md", "Fields"))
    assert set(listed) == set(plan._DEFAULTS)
    for name, default in plan._DEFAULTS.items():
        if isinstance(default, (str, int, float)):
            assert (
                listed[name][0].split("; ")[0] == f"`{str(default).lower() if isinstance(default, bool) else default}`"
            )


def test_the_page_on_servers_lists_what_may_be_repeated() -> None:
    assert "```text\n" + "\n".join(DEFAULT_REPEATABLE) + "\n```" in text_of(HOWTO / "your-server.md")
