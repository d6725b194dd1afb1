"""The report: one HTML file with everything in it, no script, nothing fetched. Every text in it is escaped."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from penstock.cli.demo import plots, words
from penstock.cli.demo.recording import Recording, Utterance
from penstock.cli.demo.timeline import Story, n_failed_elsewhere
from penstock.cli.wording import clock, evidence

_HASH_DIGITS = 12
_QUANTILES_PCT = (50, 95, 99)


def write_report(folder: Path, recording: Recording, told: Sequence[Story]) -> Path:
    """Write `report.html` into the folder and return its absolute path."""
    path = (folder / "report.html").absolute()
    path.write_text(report_page(recording, told), encoding="utf-8")
    return path


def report_page(recording: Recording, told: Sequence[Story]) -> str:
    """Return the report as one HTML document."""
    template = Template(files("penstock.cli.demo").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        date=escape(str(recording.journal[0]["at"])[:10]),
        outcome=escape("; ".join(_ending(story) for story in told)),
        cards="\n".join(_card(*facts) for facts in _facts(recording, told)),
        timeline="\n".join(_timeline(recording, told)),
        weight=plots.weight_plot(recording, told),
        requests=plots.requests_plot(recording, told),
        evidence=plots.evidence_plot(recording, told),
        reasons="\n".join(_reasons(told)),
        latency=plots.latency_plot(recording, told),
        quantiles="\n".join(_quantiles(recording, told)),
        listen="\n".join(_listen(recording.utterances)),
        journal="\n".join(_journal_row(entry) for entry in recording.journal),
        commands=escape("\n".join(f"$ {command}" for command in recording.commands)),
    )


def _ending(story: Story) -> str:
    return f"{story.version} was {story.outcome.replace('_', ' ') or 'still under way'}"


def _facts(recording: Recording, told: Sequence[Story]) -> Iterator[tuple[str, str, str]]:
    """Yield (number, what it is, the same in Chinese)."""
    for story in told:
        if story.outcome == "rolled_back":
            yield from _rollback_facts(recording, story)
        elif story.outcome == "promoted" and story.decided_s is not None:
            took = f"{story.decided_s - story.start_s:.0f} s"
            yield took, f"until {story.version} was promoted, step by step", f"{story.version} 逐级放量至全量"
    blamed = [story.version for story in told if story.outcome == "rolled_back"]
    n_failed = n_failed_elsewhere(recording, *blamed)
    yield f"{n_failed}", f"of {len(recording.requests)} requests failed for any other reason", "其他原因导致的失败请求"


def _rollback_facts(recording: Recording, story: Story) -> Iterator[tuple[str, str, str]]:
    """Where it was withdrawn several times, the first time counts for how soon, the worst for how fast."""
    version = story.version
    taken = [removal for removal in story.removals if removal.from_pct]
    if taken and story.first_weight_s is not None:
        noticed = f"{taken[0].at_s - story.first_weight_s:.1f} s"
        yield noticed, f"after its first user, {version} was withdrawn", "从首个用户到撤走流量"
        yield _slipped(version, [removal.last_start_ms for removal in taken if removal.last_start_ms is not None])
    if heard_ms := [removal.acknowledged_ms for removal in story.removals if removal.acknowledged_ms is not None]:
        nodes = {node for removal in story.removals for node in removal.nodes}
        obeyed = f"until every gateway had acknowledged ({', '.join(sorted(nodes))})"
        yield f"{max(heard_ms):.0f} ms", obeyed, "全部网关节点确认"
    n_users = len({request.user for request in recording.requests})
    yield f"{story.n_users_failed} of {n_users}", f"users met a failure of {version}", "遇到失败的用户"


def _slipped(version: str, late_ms: Sequence[float]) -> tuple[str, str, str]:
    if not late_ms:
        return "0", f"requests reached {version} after a decision against it", "决策之后到达坏版本的请求"
    what = f"from the decision to the last request that reached {version}"
    return f"{max(late_ms):.0f} ms", what, "从决策到最后一个到达坏版本的请求"


def _card(number: str, what: str, chinese: str) -> str:
    return f'<li><b>{escape(number)}</b> {escape(what)}<span lang="zh">{escape(chinese)}</span></li>'


def _timeline(recording: Recording, told: Sequence[Story]) -> Iterator[str]:
    for event in (event for story in told for event in words.events(story)):
        details = "".join(f"<br><small>{escape(detail)}</small>" for detail in event.details)
        yield f"<tr><td class=number>{event.at_s - recording.start_s:.2f} s</td><td>{escape(event.what)}{details}</td></tr>"


def _reasons(told: Sequence[Story]) -> Iterator[str]:
    for story in told:
        if story.verdict is not None:
            said = f"{story.version}: {story.verdict['word']}, evidence {evidence(story.verdict['evidence'])}"
            points = "".join(f"<li>{escape(str(reason))}</li>" for reason in story.verdict["reasons"])
            yield f"<p><strong>{escape(said)}</strong></p><ul>{points}</ul>"


def _quantiles(recording: Recording, told: Sequence[Story]) -> Iterator[str]:
    import numpy as np  # noqa: PLC0415 - `penstock --help` must not pay for it

    for version in [recording.stable, *(story.version for story in told)]:
        mine = [request for request in recording.requests if request.release == version]
        took_ms = [1000.0 * request.duration_s for request in mine if not request.failed]
        shown = (
            [f"{value:.0f} ms" for value in np.percentile(took_ms, _QUANTILES_PCT)]
            if took_ms
            else ["-"] * len(_QUANTILES_PCT)
        )
        cells = (version, str(len(mine)), str(sum(request.failed for request in mine)), *shown)
        yield _row(cells)


def _row(cells: Iterable[str]) -> str:
    first, *others = cells
    return f"<tr><th scope=row>{escape(first)}</th>{''.join(f'<td class=number>{escape(cell)}</td>' for cell in others)}</tr>"


def _listen(utterances: Sequence[Utterance]) -> Iterator[str]:
    """Yield a block a sentence, with every version's take on it."""
    for kind, text in dict.fromkeys((u.kind, u.text) for u in utterances):
        takes = "".join(_take(u) for u in utterances if (u.kind, u.text) == (kind, text))
        language = "en" if text.isascii() else "zh"
        yield (
            f'<section class=sentence><p class=kind>{escape(kind)}</p><blockquote lang="{language}">{escape(text)}</blockquote>'
            f"<div class=takes>{takes}</div></section>"
        )


def _take(utterance: Utterance) -> str:
    if utterance.error:
        said = f'<p class=error role=img aria-label="failed">{escape(utterance.error)}</p>'
    else:
        source = base64.b64encode(utterance.wav).decode()
        said = f'<audio controls preload=metadata src="data:audio/wav;base64,{source}"></audio>'
    return f"<figure><figcaption>{escape(utterance.version)}</figcaption>{said}</figure>"


def _journal_row(entry: Mapping[str, Any]) -> str:
    cells = (entry["seq"], clock(entry["at"]), entry["kind"], entry["generation"], entry["actor"])
    facts = escape(json.dumps(entry, ensure_ascii=False, indent=1, sort_keys=True))
    return (
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}"
        f"<td>{escape(str(entry['reason']))}<details><summary>whole entry</summary><pre>{facts}</pre></details></td>"
        f"<td><code>{escape(str(entry['hash'])[:_HASH_DIGITS])}</code></td></tr>"
    )
