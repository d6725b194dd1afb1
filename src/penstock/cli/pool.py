"""Simulated releases on all cores, with a progress bar where somebody looks."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Self

from penstock.cli.terminal import Terminal
from penstock.simulation.menu import Job, simulated
from penstock.simulation.release import Told


class Pool:
    """Does the work and shows how far it is. A context manager: what was not begun when it closes is not done.

    Args:
        work: what there is to do.
        n_processes: at once; None for one per core. One works in this process.
        terminal: says whether progress is wanted.
    """

    def __init__(self, work: list[Job], n_processes: int | None, terminal: Terminal) -> None:
        self._work = work
        self._n_processes = min(n_processes or len(os.sched_getaffinity(0)), len(work))
        self._shown = not terminal.quiet and sys.stderr.isatty()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def results(self) -> Iterator[tuple[Job, list[Told]]]:
        """Yield each job with how its releases went, in the order of the work."""
        done = zip(self._work, self._done(), strict=True)
        if not self._shown:
            yield from done
            return
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - as above

        columns = ("simulated releases", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = self._stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = bar.add_task("", total=sum(len(job.numbers) for job in self._work))
        for job, told in done:
            bar.advance(task, len(job.numbers))
            yield job, told

    def _done(self) -> Iterator[list[Told]]:
        if self._n_processes == 1:
            return map(simulated, self._work)
        pool = ProcessPoolExecutor(self._n_processes, get_context("spawn"))
        self._stack.callback(pool.shutdown, cancel_futures=True)
        # A terminal's Ctrl-C reaches every process of its group; what is started while it is ignored goes on ignoring it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return pool.map(simulated, self._work)
        finally:
            signal.signal(signal.SIGINT, before)
