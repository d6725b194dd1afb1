"""How a replay is shown: a table for a person, lines of JSON for a script. Nothing is judged."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.cli.replay.judging import Judged
from penstock.cli.terminal import Format, Terminal, plain, write

_STYLES = {"rollback": "bold red", "withdraw": "bold yellow", "promote": "bold green", "undecided": "bold"}
#: What a table is wide where no terminal says. Source: the house's lines.
_WIDE = 120


def show(terminal: Terminal, judged: Judged) -> None:
    """Write what a recording comes to; remarks go to stderr."""
    for note in judged.notes:
        terminal.remark(f"note: {note}")
    if terminal.form is Format.JSON:
        for document in (*judged.ticks, judged.answer):
            write(sys.stdout, json.dumps(document))
        return
    for tick in judged.ticks:
        write(sys.stdout, _tick(tick))
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    answer = judged.answer
    headline = Text(plain(f"{answer['file']}: "))
    headline.append(str(answer["outcome"]), _STYLES[answer["outcome"]])
    headline.append(f"   limits: {answer['preset']}")
    console.print(headline, soft_wrap=True)
    console.print(_table(answer["metrics"]))
    for line in _lines(judged):
        console.print(Text(plain(line)), soft_wrap=True)


def _table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("metric", "harm", "health", "canary - stable", "95 %", "canary", "stable"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, one in metrics.items():
        interval = one["interval"]
        between = "-" if interval is None else f"{interval[0]:+.3g} .. {interval[1]:+.3g}"
        gap = "-" if one["estimate"] is None else f"{one['estimate']:+.3g}"
        evidence = (f"{one['evidence_harm']:.3g}", f"{one['evidence_ok']:.3g}")
        cells = (name, *evidence, gap, between, str(one["n_canary"]), str(one["n_stable"]))
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _lines(judged: Judged) -> Iterator[str]:
    """Yield what was done and why, what other tools would have done, and the verdict."""
    answer = judged.answer
    for action in answer["actions"]:
        led = f" {action['metric']}" if action["metric"] else ""
        after = f"after {action['n_canary']} of the canary, evidence {action['evidence']:.3g}"
        yield f"at {action['t']:g} s {action['action']}{led}, {after}: {action['reason']}"
    for tool, said in answer.get("peers", {}).items():
        yield f"{tool} {said['rule']}: {said['outcome']} at {said['t']:g} s after {said['n_canary']}, {said['reason']}"
    yield f"verdict: {'; '.join(judged.sentences)}"


def _tick(tick: Mapping[str, Any]) -> str:
    evidence = f"requests {tick['request_evidence']:.3g}  evidence {tick['evidence']:.3g}  proof {tick['proof']:.3g}"
    state = "  withdrawn" if tick["withdrawn"] else ""
    return f"{tick['t']:g} s  canary {tick['n_canary']}  stable {tick['n_stable']}  {evidence}  {tick['word']}{state}"
