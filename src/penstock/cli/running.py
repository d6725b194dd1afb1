"""Commands that start or stop something on this machine: up, down, demo."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.asked import name_asked, seconds_asked, services_of
from penstock.cli.options import TABLE, Output, StateFolder
from penstock.cli.terminal import Terminal

Services = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME=URL[,URL...]...",
        help="Running servers to put a gateway in front of; nothing serves what the journal knows.",
        show_default=False,
    ),
]
Listen = Annotated[
    str | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Where clients reach the first service; else a free port."),
]
ApiAddress = Annotated[str, typer.Option("--api", metavar="HOST:PORT", help="Where the API listens.")]
Lease = Annotated[
    str, typer.Option("--lease", metavar="T", help="How long a canary keeps its traffic without a control plane.")
]
UserHeader = Annotated[str, typer.Option("--user-header", metavar="NAME", help="Request header with the user's id.")]
UserCookie = Annotated[str, typer.Option("--user-cookie", metavar="NAME", help="Cookie with the user's id.")]
UserAddress = Annotated[
    bool,
    typer.Option("--user-address", help="Tell users without an id apart by their address, instead of minting one."),
]


def up(
    services: Services = None,
    listen: Listen = None,
    api: ApiAddress = "127.0.0.1:8600",
    state: StateFolder = None,
    lease: Lease = "10s",
    user_header: UserHeader = "x-user-id",
    user_cookie: UserCookie = "penstock_uid",
    user_address: UserAddress = False,
    output: Output = TABLE,
) -> None:
    """Put a gateway in front of running servers, and serve until SIGINT or SIGTERM."""
    asked = services_of(services or ())
    lease_s = seconds_asked(lease, "--lease")
    header, cookie = name_asked(user_header, "--user-header").lower(), name_asked(user_cookie, "--user-cookie")
    from penstock.api.serve import serve  # noqa: PLC0415 - other commands must not pay for the server
    from penstock.bootstrap.plane import UpOptions  # noqa: PLC0415 - other commands must not pay for the drivers
    from penstock.routing.table import Identity  # noqa: PLC0415 - as above

    identity = Identity(header, cookie, user_address)
    serve(UpOptions(asked, listen, api, state_folder(state), identity, lease_s), saying(output))


def down(state: StateFolder = None, output: Output = TABLE) -> None:
    """Stop the control plane and its gateway; clients are not served any more."""
    from penstock.api.serve import down as take_down  # noqa: PLC0415 - other commands must not pay for the server

    take_down(state_folder(state), saying(output))


def demo(
    report: Annotated[Path, typer.Option("--report", metavar="DIR", help="Where the report goes.")] = Path(
        "penstock-demo"
    ),
    output: Output = TABLE,
) -> int:
    """Watch a bad voice being rolled back and a good one promoted, on this machine, in about a minute."""
    from penstock.cli.demo import run_demo  # noqa: PLC0415 - other commands must not pay for it

    return run_demo(report, saying(output))


def state_folder(asked: Path | None) -> Path:
    """Return the folder that was asked for, else the user's own for state. Source: XDG Base Directory Specification."""
    if asked is not None:
        return asked.expanduser().absolute()
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "penstock"


def saying(output: Output) -> Callable[[str], None]:
    """Return what prints a line at once: as it is, or as a JSON document of its own."""
    terminal = Terminal(output)

    def say(text: str) -> None:
        terminal.answer({"said": text}, [text])

    return say
