"""Commands that ask: status, list, get, history, explain, doctor."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from penstock.cli import cataloguing, wording
from penstock.cli.client import Api, service_path
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import LOCAL, TABLE, Name, Output, StateFolder, Url
from penstock.cli.terminal import Terminal


def status(name: Name, output: Output = TABLE, api: Url = LOCAL) -> None:
    """Show a service on one screen."""
    _show(output, api, service_path(name), wording.summary)


def list_services(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE[/COMPONENT]", help="List the versions of this in the registry.", show_default=False
        ),
    ] = None,
    output: Output = TABLE,
    api: Url = LOCAL,
    state: StateFolder = None,
) -> None:
    """List services, one line each; of a name, its versions in the registry, the highest first."""
    if name is not None:
        cataloguing.list_versions(name, output, state)
        return
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
