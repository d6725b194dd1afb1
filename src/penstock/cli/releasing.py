"""`penstock release`: meter a version in, and watch it if asked to."""

from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli import wording
from penstock.cli.asked import plan_asked, planned_s, seconds_asked, service_and_component
from penstock.cli.client import Api
from penstock.cli.exit_codes import ExitCode, code_of_outcome
from penstock.cli.options import LOCAL, TABLE, Actor, Output, Quiet, Reason, ServiceOrComponent, Url
from penstock.cli.terminal import Format, Terminal
from penstock.cli.views import view_for
from penstock.cli.watching import Watch, not_awaited
from penstock.kernel.errors import UsageError

_DEFAULT_TIMEOUT_S = 600.0
#: A plan may need this much longer than its own times: requests have to come, and withdrawals take theirs.
_PATIENCE = 3.0

Unverified = Annotated[
    bool, typer.Option("--unverified", help="Allow a component's version that is registered, but not verified.")
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also", metavar="COMPONENT=V", help="A version that goes out with it, as one does not fit without the other."
    ),
]
Urls = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[URL...]", help="Where the new version answers; for a component: as --nodes.", show_default=False
    ),
]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--nodes", metavar="URL", help="A server that switches to the component's version; repeatable [half of them]."
    ),
]
VersionOption = Annotated[
    str | None, typer.Option("--version", metavar="V", help="Its version; else what its /version says.")
]
Steps = Annotated[str | None, typer.Option("--steps", metavar="P,P,...", help="Percentages [5,10,20,40,75,100].")]
Dwell = Annotated[str | None, typer.Option("--dwell", metavar="T", help="Time on each step at least [30s].")]
Bake = Annotated[
    str | None, typer.Option("--bake", metavar="T", help="Time at 100 % with stable kept warm [the dwell].")
]
LongestStall = Annotated[
    str | None, typer.Option("--longest-stall", metavar="T", help="Longest stall of a healthy machine [60s].")
]
MinRequests = Annotated[
    int | None, typer.Option("--min-requests", metavar="N", help="Canary requests on each step at least [50].")
]
OnFailure = Annotated[
    str | None, typer.Option("--on-failure", metavar="rollback|hold", help="When the canary is harmful [rollback].")
]
PlanFile = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="A plan, YAML or JSON; options override it.")
]
Watched = Annotated[bool, typer.Option("--watch", help="Show what happens, and end with the rollout's exit code.")]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="T", help="Stop waiting after this; the rollout goes on [10m, or 3x the plan]."),
]


def release(
    name: ServiceOrComponent,
    urls: Urls = None,
    *,
    version: VersionOption = None,
    also: Also = None,
    nodes: Nodes = None,
    unverified: Unverified = False,
    steps: Steps = None,
    dwell: Dwell = None,
    bake: Bake = None,
    longest_stall: LongestStall = None,
    min_requests: MinRequests = None,
    on_failure: OnFailure = None,
    plan: PlanFile = None,
    reason: Reason = "",
    watch: Watched = False,
    timeout: Timeout = None,
    output: Output = TABLE,
    api: Url = LOCAL,
    actor: Actor = None,
    quiet: Quiet = False,
) -> int:
    """Meter a new version in, judged against the one that serves.

    NAME URL... releases what runs there; NAME/COMPONENT --version V switches one component inside the servers that run.
    With --watch the exit code is 0 promoted, 3 rolled back, 4 paused or aborted, 5 time over.
    """
    options = {"steps": steps, "min_requests": min_requests, "on_failure": on_failure}
    wanted = plan_asked(plan, {**options, "dwell": dwell, "bake": bake, "longest_stall": longest_stall})
    limit_s = seconds_asked(timeout, "--timeout") if timeout else max(_DEFAULT_TIMEOUT_S, _PATIENCE * planned_s(wanted))
    terminal = Terminal(output, quiet)
    service, asked = _asked(name, urls or [], nodes or [], version, also or [], unverified=unverified)
    with Api(api, actor) as plane:
        started = plane.command(service, "rollouts", **asked, plan=wanted, reason=reason)
        if watch:
            return _watch(plane, terminal, started, limit_s)
    terminal.answer(not_awaited(started), wording.accepted(started))
    return ExitCode.OK


def _asked(
    name: str, urls: list[str], nodes: list[str], version: str | None, also: list[str], *, unverified: bool
) -> tuple[str, dict[str, object]]:
    """Return the service, and what is to be released of it. Raises UsageError for what cannot be meant together."""
    service, component = service_and_component(name)
    if component is None:
        given = {"--also": also, "--nodes": nodes, "--unverified": unverified}
        if only := next((option for option, value in given.items() if value), None):
            raise UsageError(detail=f"{only} is for one component: {name}/COMPONENT.")
        if not urls:
            raise UsageError(
                detail=f"say where the new version of {name} answers, or name a component: {name}/COMPONENT."
            )
        return service, {"urls": urls, "version": version}
    if version is None:
        raise UsageError(detail=f"say which version of {name} to release: --version V.")
    return service, {
        "urls": [*nodes, *urls],
        "version": version,
        "component": component,
        "also": dict(map(_version_of_component, also)),
        "unverified": unverified,
    }


def _version_of_component(written: str) -> tuple[str, str]:
    component, equals, version = written.partition("=")
    if not (component and equals and version):
        raise UsageError(detail=f"--also {written!r} is not COMPONENT=V, e.g. acoustic=2.0.0.")
    return component, version


def _watch(plane: Api, terminal: Terminal, started: dict[str, Any], limit_s: float) -> int:
    view = view_for(terminal.progress, quiet=terminal.quiet)
    watched = Watch(plane, started, view)
    try:
        outcome = watched.until_over(limit_s)
    except KeyboardInterrupt:
        terminal.remark(wording.INTERRUPTED.format(service=started["service"]))
        return ExitCode.INTERRUPTED
    finally:
        view.close()
    lines = list(wording.ending(watched.status, outcome, started["canary"]))
    terminal.answer(outcome, lines)
    if terminal.form is Format.JSON:
        for line in lines:
            terminal.remark(line)
    return code_of_outcome(outcome["outcome"])
