"""Commands on the registry as a whole, and on names in it: gc, registry. They need no control plane."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO
from urllib.parse import urlsplit

import typer

from penstock.cli import told
from penstock.cli.asked import bytes_asked, seconds_asked
from penstock.cli.cataloguing import Part, Reference, opened, ref_of, version_named
from penstock.cli.client import Api, os_user
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import LOCAL, TABLE, Actor, Output, Quiet, Reason, StateFolder, Url
from penstock.cli.progress import shown
from penstock.cli.terminal import Terminal, write
from penstock.kernel.errors import ControlPlaneUnreachable, InvalidSemVer, UsageError
from penstock.kernel.semver import SemVer

if TYPE_CHECKING:
    from penstock.registry.retention import Policy

registry = typer.Typer(help="Name versions by aliases; take the whole registry out, or in.")
Alias = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, - and _; no version.", show_default=False)
]


def gc(
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="Of this service alone.", show_default=False)
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", help="So many of each component.", show_default=False)
    ] = None,
    keep_within: Annotated[
        str | None,
        typer.Option("--keep-within", metavar="T", help="All that are younger, e.g. 180d.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="SIZE", help="The newest that fit, e.g. 10GB.", show_default=False)
    ] = None,
    grace: Annotated[str, typer.Option("--grace", metavar="T", help="How long a version stays marked.")] = "7d",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    output: Output = TABLE,
    state: StateFolder = None,
    api: Url = LOCAL,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> None:
    """Mark versions that no rule keeps, and remove those that were marked longer ago than the grace time.

    Without a rule nothing is marked. What serves, three stable versions of each component, and what an alias selects always stay.
    """
    terminal = Terminal(output, quiet)
    policy = _policy(keep_last, keep_within, budget, grace)
    with opened(state) as catalogue:
        done = catalogue.collect(
            policy,
            service,
            actor=actor or os_user(),
            reason=reason or "no rule keeps it",
            in_use=_serving(api, terminal),
            dry_run=dry_run,
        )
    said = {"dry_run": dry_run, **done.as_json()}
    terminal.answer(said, told.collected(said))


@registry.command("export")
def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to; else stdout.", show_default=False)
    ] = None,
    output: Output = TABLE,
    state: StateFolder = None,
) -> None:
    """Write the whole registry as JSON Lines."""
    terminal = Terminal(output)
    with opened(state) as catalogue:
        lines = map(json.dumps, catalogue.registry.export())
        if file is None:
            for line in lines:
                write(sys.stdout, line)
            return
        n_lines = _replace(file, lines)
    terminal.answer({"n_lines": n_lines, "file": str(file)}, [f"{n_lines} lines in {file}"])


@registry.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export; - is stdin.", show_default=False)],
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> int:
    """Take in an export; what is there stays, and lines that contradict it are named."""
    terminal, called = Terminal(output, quiet), "stdin" if str(file) == "-" else file.name
    try:
        with (
            _opened(file) as (lines, n_lines),
            opened(state) as catalogue,
            shown(terminal, "importing", in_bytes=False) as tell,
        ):
            done = catalogue.take_in(
                _objects(lines),
                actor=actor or os_user(),
                reason=reason or f"imported from {called}",
                on_progress=lambda n: tell(n, n_lines),
            )
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(detail=f"{'stdin' if str(file) == '-' else file} cannot be read: {why}.") from None
    said = {"n_added": done.n_added, "n_present": done.n_present, "conflicts": list(done.conflicts)}
    terminal.answer(said, told.imported(said))
    return ExitCode.CONFLICT if done.conflicts else ExitCode.OK


@registry.command("alias")
def alias(
    version: Reference,
    name: Alias,
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    reason: Reason = "",
) -> None:
    """Let SERVICE/COMPONENT@NAME mean a version; the alias may have pointed at another one before."""
    ref = version_named(version)
    with opened(state) as catalogue:
        found = catalogue.set_alias(ref, name, actor=actor or os_user(), reason=reason)
    said = {"alias": name, "version": found.reference}
    Terminal(output).answer(said, [f"{found.service}/{found.component}@{name} is {found.version}"])


@registry.command("unalias")
def unalias(
    component: Part,
    name: Alias,
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    reason: Reason = "",
) -> None:
    """Take an alias away; the version that it pointed at stays."""
    if "@" in component:
        raise UsageError(detail=f"{component!r}: an alias is taken from a component, not from one of its versions.")
    ref = ref_of(component)
    with opened(state) as catalogue:
        catalogue.delete_alias(ref, name, actor=actor or os_user(), reason=reason)
    gone = f"{ref.service}/{ref.component}@{name}"
    Terminal(output).answer({"alias": name, "of": f"{ref.service}/{ref.component}"}, [f"{gone} means nothing any more"])


def _serving(api: str, terminal: Terminal) -> "dict[tuple[str, str, str], str]":
    """Return (service, component, version) -> why it stays: what the control plane serves, meters in or keeps warm."""
    try:
        with Api(api) as plane:
            statuses = plane.fetch("/v1/services")
    except ControlPlaneUnreachable:
        terminal.remark(told.ONLY_REGISTRY.format(url=api))
        return {}
    for server in (server for status in statuses for server in status["servers"] if server["in_memory"] is None):
        terminal.remark(told.NOT_ASKED.format(url=server["url"]))
    return {
        (status["service"], component, _as_registered(version)): why
        for status in statuses
        for component, version, why in _in_use(status)
    }


def _in_use(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (component, version, why it stays); the better reason comes later."""
    for server in status["servers"]:
        for component, versions in (server["in_memory"] or {}).items():
            yield from ((component, version, f"warm at {urlsplit(server['url']).netloc}") for version in versions)
    for arm in ("warm", "canary", "stable"):
        for component, version in (status[arm] or {"versions": {}})["versions"].items():
            yield component, version, f"{arm} of {status['service']}"


def _as_registered(version: str) -> str:
    try:
        return str(SemVer.parse(version))
    except InvalidSemVer:  # servers may call themselves anything; the registry has no such version
        return version


def _policy(keep_last: int | None, keep_within: str | None, budget: str | None, grace: str) -> "Policy":
    from penstock.registry.retention import Policy  # noqa: PLC0415 - as above

    return Policy(
        keep_last=keep_last,
        keep_within=None if keep_within is None else _span(keep_within, "--keep-within"),
        budget_bytes=None if budget is None else bytes_asked(budget, "--budget"),
        grace=timedelta() if grace in {"0", "0s"} else _span(grace, "--grace"),
    )


def _span(written: str, option: str) -> timedelta:
    try:
        return timedelta(seconds=seconds_asked(written, option))
    except OverflowError:
        raise UsageError(detail=f"{option} {written!r} is longer than any calendar.") from None


def _replace(file: Path, lines: Iterable[str]) -> int:
    """Write a file whole or not at all; return how many lines it has."""
    from penstock.bootstrap.catalogue import write_whole  # noqa: PLC0415 - other commands must not pay for the drivers

    try:
        return write_whole(file, lines)
    except OSError as error:
        raise UsageError(detail=f"{file} cannot be written: {error.strerror}.") from None


@contextmanager
def _opened(file: Path) -> Iterator[tuple[TextIO, int | None]]:
    """Yield the lines of a file, `-` being stdin, and how many they are; None for what can be read only once."""
    named: str | int = 0 if str(file) == "-" else str(file)
    with open(named, encoding="utf-8", closefd=named != 0) as lines:
        n_lines = None
        if lines.seekable():
            start = lines.tell()
            n_lines = sum(1 for _ in lines)
            lines.seek(start)
        yield lines, n_lines


def _objects(lines: Iterable[str]) -> Iterator[object]:
    """Yield the lines' values; a line that is no JSON as it stands, so that the registry names it."""
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield line
