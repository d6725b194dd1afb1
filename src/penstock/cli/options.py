"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.client import DEFAULT_URL
from penstock.cli.terminal import Format

Name = Annotated[str, typer.Argument(metavar="NAME", help="The service.", show_default=False)]
ServiceOrComponent = Annotated[
    str, typer.Argument(metavar="NAME[/COMPONENT]", help="The service, or one of its components.", show_default=False)
]
Output = Annotated[Format, typer.Option("-o", "--output", help="How to write the answer.")]
Url = Annotated[
    str, typer.Option("--api", metavar="URL", envvar="PENSTOCK_URL", help="Where the control plane answers.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Leave remarks and progress out.")]
Actor = Annotated[
    str | None,
    typer.Option("--actor", help="Who does this, for the journal; else the user of this machine.", show_default=False),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the journal.")]
GivenReason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it must be given.", show_default=False)
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar="PENSTOCK_STATE",
        help="Where journal, sockets and logs live; else ~/.local/state/penstock.",
        show_default=False,
    ),
]
AllowPickles = Annotated[bool, typer.Option("--allow-pickles", help="Accept pickles that use harmless names only.")]
AllowNames = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-name",
        metavar="MODULE.NAME",
        help="Accept pickles that use this name too; repeatable.",
        show_default=False,
    ),
]

TABLE = Format.TABLE
LOCAL = DEFAULT_URL
