"""Commands that ask: status, list, get, history, explain, doctor."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from penstock.cli import cataloguing, wording
from penstock.cli.asked import time_asked
from penstock.cli.client import Api, service_path
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import LOCAL, TABLE, Name, Output, StateFolder, Url
from penstock.cli.terminal import Terminal
from penstock.kernel.errors import UsageError

#: More versions than any registry has; a database takes no number of any length.
_MANY = 10**9


def status(name: Name, output: Output = TABLE, api: Url = LOCAL) -> None:
    """Show a service on one screen."""
    _show(output, api, service_path(name), wording.summary)


Listed = Annotated[
    str | None,
    typer.Argument(
        metavar="SERVICE[/COMPONENT]", help="List the versions of this in the registry.", show_default=False
    ),
]
InStage = Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="In this stage now.", show_default=False)]
Owner = Annotated[str | None, typer.Option("--owner", metavar="WHO", help="Exactly this owner.", show_default=False)]
Language = Annotated[
    str | None, typer.Option("--language", metavar="LANG", help="Speaks it, e.g. zh.", show_default=False)
]
Text = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="TEXT",
        help="Found in version, author, owner, change note or training set, in any case.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Registered then or later, e.g. 2026-01-31 or 2026-01-31T12:00Z.",
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=0, max=_MANY, help="At most so many.", show_default=False),
]
Offset = Annotated[
    int | None,
    typer.Option("--offset", metavar="N", min=0, max=_MANY, help="Pass over so many first.", show_default=False),
]


def list_services(
    name: Listed = None,
    stage: InStage = None,
    owner: Owner = None,
    language: Language = None,
    text: Text = None,
    since: Since = None,
    limit: Limit = None,
    offset: Offset = None,
    *,
    marked: Annotated[bool, typer.Option("--marked", help="Only those that wait for their deletion.")] = False,
    removed: Annotated[bool, typer.Option("--removed", help="Also those that were removed.")] = False,
    output: Output = TABLE,
    api: Url = LOCAL,
    state: StateFolder = None,
) -> None:
    """List services, one line each; of a name, its versions in the registry, the highest first.

    A filter takes the versions of a name; those that pass every filter are listed.
    """
    asked = {
        "stage": stage,
        "owner": owner,
        "language": language,
        "text": text,
        "since": None if since is None else time_asked(since, "--since"),
        "limit": limit,
        "offset": offset,
        "marked": marked or None,
        "removed": removed or None,
    }
    filters = {field: value for field, value in asked.items() if value is not None}
    if name is not None:
        cataloguing.list_versions(name, filters, output, state)
        return
    if filters:
        raise UsageError(detail=f"--{next(iter(filters))} chooses among versions; name whose: SERVICE[/COMPONENT].")
    _show(output, api, "/v1/services", wording.listing)


def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[/COMPONENT][@V]", help="A service; with / or @ a version in the registry.", show_default=False
        ),
    ],
    output: Output = TABLE,
    api: Url = LOCAL,
    state: StateFolder = None,
) -> None:
    """Show everything that is known of a service or a version."""
    if "/" in name or "@" in name:
        cataloguing.show_version(name, output, state)
        return
    _show(output, api, service_path(name), wording.detail)


def history(name: Name, output: Output = TABLE, api: Url = LOCAL) -> None:
    """Show the journal of a service, oldest entry first."""
    _show(output, api, f"{service_path(name)}/history", wording.history)


def explain(name: Name, output: Output = TABLE, api: Url = LOCAL) -> None:
    """Explain the last decision, with the numbers it rests on."""
    _show(output, api, f"{service_path(name)}/explain", wording.explanation)


def doctor(output: Output = TABLE, api: Url = LOCAL) -> int:
    """Check the control plane, its journal, its gateways and its services; exit 1 when something is wrong."""
    found = _show(output, api, "/doctor", wording.checks)
    return ExitCode.OK if all(check["ok"] for check in found) else ExitCode.ERROR


def _show(output: Output, api: str, path: str, lines: Callable[[Any], Iterable[str]]) -> Any:
    with Api(api) as plane:
        answer = plane.fetch(path)
    Terminal(output).answer(answer, lines(answer))
    return answer
