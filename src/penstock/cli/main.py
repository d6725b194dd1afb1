"""The program `penstock`. Nothing heavy is imported here: `penstock --help` answers at once."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from penstock.cli import adopting, cataloguing, keeping, orders, questions, releasing, running, simulating
from penstock.cli.exit_codes import ExitCode, code_of_error
from penstock.cli.replay import replay
from penstock.cli.terminal import Format, Terminal, wants_json
from penstock.kernel.errors import PenstockError, UsageError

app = typer.Typer(
    name="penstock",
    help="Meters a new AI model into live traffic, judges it, and shuts it off when it is worse.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 rolled back, 4 paused, 5 time over, 6 refused or quarantined, "
    "7 conflict, 8 unreachable.",
    rich_markup_mode=None,  # plain help comes four times as fast, and reads well in a log
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: Mapping[str, Callable[..., object]] = {
    "up": running.up,
    "release": releasing.release,
    "status": questions.status,
    "list": questions.list_services,
    "get": questions.get,
    "history": questions.history,
    "explain": questions.explain,
    "pause": orders.pause,
    "resume": orders.resume,
    "promote": orders.promote,
    "abort": orders.abort,
    "rollback": orders.rollback,
    "quarantine": orders.quarantine,
    "unquarantine": orders.unquarantine,
    "push": cataloguing.push,
    "pull": cataloguing.pull,
    "mark": cataloguing.mark,
    "gc": keeping.gc,
    "replay": replay,
    "doctor": questions.doctor,
    "down": running.down,
    "demo": running.demo,
    "simulate": simulating.simulate,
}

for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
keeping.registry.command("adopt")(adopting.adopt)
app.add_typer(keeping.registry, name="registry")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - costs more than all else that --help needs

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def _penstock(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version, and end.")
    ] = False,
) -> None:
    del version  # its callback did what there is to do


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; return its exit code. Errors are said, never raised."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter must not hide the rest
    terminal = Terminal(Format.JSON if wants_json(args) else Format.TABLE)
    try:
        result = app(list(args) or ["--help"], prog_name="penstock", standalone_mode=False)
    except PenstockError as error:
        terminal.fail(error)
        return code_of_error(error)
    except typer.TyperException as error:
        terminal.fail(UsageError(detail=error.format_message()))
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return int(result) if isinstance(result, int) else ExitCode.OK


if __name__ == "__main__":
    main()
