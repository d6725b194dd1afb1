"""The command that takes a whole tree of versions over: registry adopt. It needs no control plane."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import told
from penstock.cli.asked import service_and_component
from penstock.cli.cataloguing import trusting
from penstock.cli.client import os_user
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import TABLE, Actor, AllowNames, AllowPickles, Output, Quiet, Reason, StateFolder
from penstock.cli.progress import shown
from penstock.cli.running import state_folder
from penstock.cli.terminal import Terminal
from penstock.kernel.names import checked_component, checked_service
from penstock.registry.numbers import Numbers

Adopted = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE[/COMPONENT]",
        help="As what; the component where ROOT is one component's folder, else `model`.",
        show_default=False,
    ),
]
Root = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT", help="The tree: COMPONENT/VERSION/, or the VERSION/ of one component.", show_default=False
    ),
]
StableNumbers = Annotated[
    Numbers,
    typer.Option("--stable", help="Which are stable of a model server's bare numbers: the highest serves by default."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]


def adopt(
    name: Adopted,
    root: Root,
    stable: StableNumbers = Numbers.HIGHEST,
    *,
    allow_pickles: AllowPickles = False,
    allow_name: AllowNames = None,
    dry_run: DryRun = False,
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> int:
    """Take over a whole tree of versions as it lies on disk; repeating it changes nothing.

    A version that is refused is named, and the others come in; the exit code is then 1.
    """
    service, component = service_and_component(name)
    checked_service(service)
    if component is not None:
        checked_component(component)
    from penstock.bootstrap.catalogue import adopting_at  # noqa: PLC0415 - other commands must not pay for the drivers

    terminal = Terminal(output, quiet)
    with adopting_at(state_folder(state)) as adopting, shown(terminal, f"adopting {root.name}", in_bytes=True) as tell:
        done = adopting.adopt(
            service,
            component,
            root,
            numbers=stable,
            actor=actor or os_user(),
            reason=reason or f"adopted from {root.resolve().name}",
            trust=trusting(allow_pickles, allow_name),
            dry_run=dry_run,
            on_progress=tell,
        )
    said = {**done.as_json(), "dry_run": dry_run}
    terminal.answer(said, told.adopted(said))
    return ExitCode.ERROR if done.refused else ExitCode.OK
