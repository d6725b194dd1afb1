"""Bars that show how far something is, on stderr, where somebody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.cli.terminal import Terminal

#: Is told (done, in all); None where nobody knows.
Tell = Callable[[int, int | None], None]


@contextmanager
def shown(terminal: Terminal, what: str, *, in_bytes: bool) -> Iterator[Tell]:
    """Yield what is to be told how far it is; nothing is shown to scripts, nor with `--quiet`."""
    if terminal.quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415 - as above

    amount = (
        (progress.DownloadColumn(), progress.TransferSpeedColumn()) if in_bytes else (progress.MofNCompleteColumn(),)
    )
    columns = (what, progress.BarColumn(), *amount, progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
