"""Commands that change a rollout, or what may be released."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from penstock.cli import cataloguing, wording
from penstock.cli.asked import service_and_component
from penstock.cli.client import Api, service_path
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import (
    LOCAL,
    TABLE,
    Actor,
    GivenReason,
    Name,
    Output,
    Quiet,
    Reason,
    ServiceOrComponent,
    StateFolder,
    Url,
)
from penstock.cli.terminal import Terminal
from penstock.kernel.errors import ControlPlaneUnreachable, NotFoundError

Version = Annotated[str, typer.Argument(metavar="VERSION", help="The version.", show_default=False)]


def pause(name: Name, output: Output = TABLE, api: Url = LOCAL, actor: Actor = None, reason: Reason = "") -> None:
    """Keep the canary's weight where it is until somebody resumes."""
    _order(name, "pause", output, api, actor, reason=reason)


def resume(name: Name, output: Output = TABLE, api: Url = LOCAL, actor: Actor = None, reason: Reason = "") -> None:
    """Let a held rollout go on."""
    _order(name, "resume", output, api, actor, reason=reason)


def promote(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="To 100 % instead of the next step.")] = False,
    output: Output = TABLE,
    api: Url = LOCAL,
    actor: Actor = None,
    reason: Reason = "",
) -> None:
    """Go to the next step now, without waiting for the judge."""
    _order(name, "promote", output, api, actor, full=full, reason=reason)


def abort(name: Name, output: Output = TABLE, api: Url = LOCAL, actor: Actor = None, reason: Reason = "") -> None:
    """End the rollout: back to stable, nothing quarantined."""
    _order(name, "abort", output, api, actor, reason=reason)


def rollback(
    name: ServiceOrComponent,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="V", help="A release, or a component's version; else the last healthy."),
    ] = None,
    no_quarantine: Annotated[bool, typer.Option("--no-quarantine", help="The version may be released again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show where it would go.")] = False,
    output: Output = TABLE,
    api: Url = LOCAL,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
    state: StateFolder = None,
) -> int:
    """Roll back; returns when every live gateway has acknowledged.

    With `--dry-run` the registry of versions answers where no control plane does.
    """
    service, component = service_and_component(name)
    terminal = Terminal(output, quiet)
    if dry_run:
        return _planned(service, component, api, state, terminal)
    asked = {"component": component, "to": to, "quarantine": not no_quarantine, "reason": reason}
    with Api(api, actor) as plane:
        done = plane.command(service, "rollback", **asked)
    terminal.answer(done, wording.rolled_back(done))
    if done["acknowledged"] < done["nodes"] or done["applied_at"] is None:
        terminal.remark(wording.NOT_ACKNOWLEDGED)
        return ExitCode.ERROR
    if not done["confirmed"]:
        terminal.remark(wording.NOT_CONFIRMED)
        return ExitCode.PAUSED
    return ExitCode.OK


def _planned(service: str, component: str | None, api: str, state: Path | None, terminal: Terminal) -> int:
    only = {} if component is None else {"component": component}
    try:
        with Api(api) as plane:
            planned = plane.fetch(f"{service_path(service)}/rollback-plan", **only)
    except ControlPlaneUnreachable as unreachable:
        try:
            planned = cataloguing.rollback_plan(service, component, state)
        except NotFoundError:  # no version was ever pushed: only the control plane could know
            raise unreachable from None
        terminal.remark(wording.ONLY_REGISTRY.format(url=api))
    terminal.answer(planned, wording.rollback_plan(planned))
    return ExitCode.OK if planned["target"] else ExitCode.CONFLICT


def quarantine(
    name: Name, version: Version, reason: GivenReason, output: Output = TABLE, api: Url = LOCAL, actor: Actor = None
) -> None:
    """Never release a version again."""
    with Api(api, actor) as plane:
        done = plane.command(name, "quarantine", version=version, reason=reason)
    Terminal(output).answer(done, [wording.quarantined(done)])


def unquarantine(
    name: Name, version: Version, reason: GivenReason, output: Output = TABLE, api: Url = LOCAL, actor: Actor = None
) -> None:
    """Allow a quarantined version to be released again."""
    path = f"{service_path(name)}/quarantine/{quote(version, safe='')}"
    with Api(api, actor) as plane:
        done = plane.withdraw(path, reason=reason)
    Terminal(output).answer(done, [wording.quarantined(done)])


def _order(name: str, verb: str, output: Output, api: str, actor: str | None, **body: object) -> None:
    with Api(api, actor) as plane:
        status = plane.command(name, verb, **body)
    Terminal(output).answer(status, wording.summary(status))
