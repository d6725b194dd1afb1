"""`penstock replay`: judge recorded counts again, without a control plane."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.asked import fields_in, seconds_asked
from penstock.cli.exit_codes import ExitCode, code_of_error, code_of_outcome
from penstock.cli.options import TABLE, Output, Quiet
from penstock.cli.terminal import Terminal, write
from penstock.kernel.errors import BrokenError, InvalidLimits, PenstockError, UsageError

if TYPE_CHECKING:
    from penstock.cli.replay.judging import Asked, Judged, Watch

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE...", help="Recordings, JSON Lines or gzipped; - is stdin.", show_default=False),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="auto, generic, speech or classifier [auto: whichever fit]."),
]
LimitsFile = Annotated[
    Path | None, typer.Option("--limits", metavar="FILE", help="Limits, YAML or JSON; options override it.")
]
Alpha = Annotated[
    float | None,
    typer.Option("--alpha", metavar="P", help="Chance that an equal version is condemned, at most [0.01]."),
]
Beta = Annotated[
    float | None, typer.Option("--beta", metavar="P", help="Chance that one at its margin is called healthy [0.05].")
]
LongestStall = Annotated[
    str | None, typer.Option("--longest-stall", metavar="T", help="Longest stall of a healthy machine [60s].")
]
Argo = Annotated[
    list[str] | None,
    typer.Option("--argo", metavar="RULE", help="What Argo Rollouts would do: errors_pct<=1,interval=60s ..."),
]
Flagger = Annotated[
    list[str] | None,
    typer.Option("--flagger", metavar="RULE", help="What Flagger would do: p95_ms<=800,threshold=5 ..."),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="A line for every tick, before the answer.")]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a line, and end.")]


def replay(
    files: Files = None,
    *,
    preset: Preset = None,
    limits: LimitsFile = None,
    alpha: Alpha = None,
    beta: Beta = None,
    longest_stall: LongestStall = None,
    argo: Argo = None,
    flagger: Flagger = None,
    verbose: Verbose = False,
    schema: Schema = False,
    output: Output = TABLE,
    quiet: Quiet = False,
) -> int:
    """Judge recorded counts again: what would Penstock have done, and when?

    Of one file the exit code is 0 promoted, 3 rolled back, 4 withdrawn or undecided, 2 a file that cannot be judged; of
    several 0, or 2 when one of them cannot be judged.
    """
    if schema:
        return _show_schema()
    if not files:
        raise UsageError(detail="there is nothing to judge; name a FILE, or - for stdin.")
    if "-" in files and len(files) > 1:
        raise UsageError(detail="- is stdin and stands alone; name it, or files.")
    from penstock.cli.replay.judging import Asked  # noqa: PLC0415 - `penstock --help` must not pay for the judge
    from penstock.simulation.declared import declared_from  # noqa: PLC0415 - as above
    from penstock.simulation.rivals import Rival  # noqa: PLC0415 - as above

    written = fields_in(limits, InvalidLimits, "preset: speech") if limits else {}
    stall_s = None if longest_stall is None else seconds_asked(longest_stall, "--longest-stall")
    declared = declared_from(written, preset=preset, alpha=alpha, beta=beta, longest_stall=stall_s)
    tools = (("argo", argo), ("flagger", flagger))
    rivals = tuple(Rival(tool, text) for tool, texts in tools for text in texts or ())
    for rival in rivals:
        _ = rival.rule  # a rule that cannot be read is said before anything is judged
    return _answer(Terminal(output, quiet), files, Asked(declared, rivals, verbose))


def _show_schema() -> int:
    from importlib.resources import files  # noqa: PLC0415 - only --schema needs it

    text = (files("penstock.simulation") / "recorded.schema.json").read_text(encoding="utf-8")
    for line in text.splitlines():
        write(sys.stdout, line)
    return ExitCode.OK


def _answer(terminal: Terminal, files: list[str], asked: "Asked") -> int:
    from penstock.cli.replay.judging import judge_file  # noqa: PLC0415 - see replay
    from penstock.cli.replay.shown import show  # noqa: PLC0415 - see replay

    if len(files) == 1:
        with _progress(terminal) as watch:
            judged = judge_file(files[0], asked, watch)
        show(terminal, judged)
        return code_of_outcome(judged.answer["outcome"])
    code = ExitCode.OK
    with _progress(terminal) as watch:
        for n_done, judged_or_not in enumerate(_judged_all(files, asked), start=1):
            watch("judging", n_done / len(files))
            if isinstance(judged_or_not, PenstockError):
                terminal.fail(judged_or_not)
                code = code_of_error(judged_or_not)
            else:
                show(terminal, judged_or_not)
    return code


def _judged_all(files: list[str], asked: "Asked") -> "Iterator[Judged | PenstockError]":
    """Yield what each file comes to, in the files' order, judged by as many processes as there are cores."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - only several files need it
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 - as above
    from functools import partial  # noqa: PLC0415 - as above
    from multiprocessing import get_context  # noqa: PLC0415 - as above

    from penstock.cli.replay.judging import tried  # noqa: PLC0415 - as above

    n_workers = min(len(files), len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as workers:
        try:
            for found in workers.map(partial(tried, asked=asked), files):
                yield found[0](**found[1]) if isinstance(found, tuple) else found
        except BrokenProcessPool:
            raise BrokenError(
                detail="a process that judged was killed; judge fewer or shorter files at once."
            ) from None


@contextmanager
def _progress(terminal: Terminal) -> "Iterator[Watch]":
    """Show how far the files, or the only one, are, where somebody watches."""
    if terminal.quiet or not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
