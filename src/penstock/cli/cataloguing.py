"""Commands on versions and their files: push, pull, mark, gc, registry. They need no control plane."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import told
from penstock.cli.asked import bytes_asked, fields_in, seconds_asked
from penstock.cli.client import Api, os_user
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import LOCAL, TABLE, Actor, Output, Quiet, Reason, StateFolder, Url
from penstock.cli.progress import shown
from penstock.cli.running import state_folder
from penstock.cli.terminal import Terminal, write
from penstock.kernel.errors import ControlPlaneUnreachable, InvalidMetadata, InvalidSemVer, UsageError
from penstock.kernel.semver import SemVer
from penstock.registry.stage import Stage

if TYPE_CHECKING:
    from penstock.bootstrap import OpenCatalogue
    from penstock.registry.reference import Ref
    from penstock.registry.retention import Policy

registry = typer.Typer(help="Take the whole registry out, or in.")

Part = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE[/COMPONENT]", help="Of what; a service alone has the component `model`.", show_default=False
    ),
]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE/COMPONENT@V", help="The version: a number, latest, previous, an alias.", show_default=False
    ),
]


Source = Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Its files.", show_default=False)]
VersionOption = Annotated[
    str | None,
    typer.Option("--version", metavar="V", help="A semantic version; else the folder's name.", show_default=False),
]
Meta = Annotated[
    Path | None,
    typer.Option(
        "--meta", metavar="FILE", help="Metadata, JSON or YAML; laid over DIR/version.json.", show_default=False
    ),
]
StageOption = Annotated[
    str, typer.Option("--stage", metavar="STAGE", help="Where it stands: registered, verified or stable.")
]
AllowPickles = Annotated[bool, typer.Option("--allow-pickles", help="Accept pickles that use harmless names only.")]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Refuse what the owner of this public key did not sign.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check.")]


def push(
    name: Part,
    source: Source,
    version: VersionOption = None,
    meta: Meta = None,
    stage: StageOption = "registered",
    *,
    allow_pickles: AllowPickles = False,
    key: Key = None,
    dry_run: DryRun = False,
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> None:
    """Store the files of a version, and register it; pushing it again changes nothing."""
    wanted, ref, fields = _stage(stage, _PUSHED), _ref_of_push(name, version, source), _metadata(source, meta)
    terminal = Terminal(output, quiet)
    with _catalogue(state) as catalogue, shown(terminal, f"storing {source.name}", in_bytes=True) as tell:
        pushed = catalogue.push(
            ref,
            source,
            fields,
            stage=wanted,
            actor=actor or os_user(),
            reason=reason,
            allow_pickles=allow_pickles,
            key=key,
            dry_run=dry_run,
            on_progress=tell,
        )
    said = {**pushed.version.as_json(), "is_new": pushed.is_new, "dry_run": dry_run}
    terminal.answer(said, told.pushed(said))


def pull(
    name: Reference,
    into: Annotated[Path, typer.Argument(metavar="DIR", help="Where its files go; it is made.", show_default=False)],
    key: Key = None,
    output: Output = TABLE,
    state: StateFolder = None,
    quiet: Quiet = False,
) -> None:
    """Write the files of a version into a folder, each checked."""
    ref, terminal = _ref(name), Terminal(output, quiet)
    with _catalogue(state) as catalogue, shown(terminal, f"writing {name}", in_bytes=True) as tell:
        version, manifest = catalogue.pull(ref, into, key=key, on_progress=tell)
    said = {
        "version": version.reference,
        "digest": manifest.digest,
        "n_files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "into": str(into),
    }
    terminal.answer(said, [f"{said['version']}: {said['n_files']} files, {told.size(manifest.size_bytes)}, in {into}"])


def mark(
    name: Reference,
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="verified, stable, retired, quarantined ...", show_default=False)
    ],
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    reason: Reason = "",
) -> None:
    """Put a version into a stage; `stable` says that its service serves everybody with it."""
    wanted, ref = _stage(stage, tuple(Stage)), _ref(name)
    if "@" not in name:
        raise UsageError(detail=f"{name!r} names no version; write {name}@V.")
    with _catalogue(state) as catalogue:
        version = catalogue.move(ref, wanted, actor=actor or os_user(), reason=reason)
    Terminal(output).answer(version.as_json(), [f"{version.reference} is {version.stage}"])


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
    with _catalogue(state) as catalogue:
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
    with _catalogue(state) as catalogue:
        lines = map(json.dumps, catalogue.registry.export())
        if file is None:
            for line in lines:
                write(sys.stdout, line)
            return
        n_lines = _replace(file, lines)
    terminal.answer({"n_lines": n_lines, "file": str(file)}, [f"{n_lines} lines in {file}"])


@registry.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export.", show_default=False)],
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> int:
    """Take in an export; what is there stays, and lines that contradict it are named."""
    terminal = Terminal(output, quiet)
    try:
        with file.open(encoding="utf-8") as lines:
            n_lines = sum(1 for _ in lines)
            lines.seek(0)
            with _catalogue(state) as catalogue, shown(terminal, "importing", in_bytes=False) as tell:
                done = catalogue.take_in(
                    _objects(lines),
                    actor=actor or os_user(),
                    reason=reason or f"imported from {file.name}",
                    on_progress=lambda n: tell(n, n_lines),
                )
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(detail=f"{file} cannot be read: {why}.") from None
    said = {"n_added": done.n_added, "n_present": done.n_present, "conflicts": list(done.conflicts)}
    terminal.answer(said, told.imported(said))
    return ExitCode.CONFLICT if done.conflicts else ExitCode.OK


def list_versions(name: str, output: Output, state: Path | None) -> None:
    """List the versions of a service, or of one component."""
    ref = _ref(name)
    with _catalogue(state) as catalogue:
        found = [v.as_json() for v in catalogue.versions(ref.service, ref.component if "/" in name else None)]
    Terminal(output).answer(found, told.versions(found))


def show_version(name: str, output: Output, state: Path | None) -> None:
    """Show what is known of a version."""
    ref = _ref(name)
    with _catalogue(state) as catalogue:
        found = catalogue.detail(ref)
    Terminal(output).answer(found, told.version(found))


def rollback_plan(service: str, component: str | None, state: Path | None) -> dict[str, Any]:
    """Return where a rollback would go as far as the registry knows. Raises NotFoundError."""
    with _catalogue(state) as catalogue:
        return catalogue.rollback_plan(service, component)


def _catalogue(state: Path | None) -> "OpenCatalogue":
    from penstock.bootstrap import catalogue_at  # noqa: PLC0415 - other commands must not pay for the drivers

    return catalogue_at(state_folder(state))


_PUSHED = (Stage.REGISTERED, Stage.VERIFIED, Stage.STABLE)


def _stage(word: str, allowed: tuple[Stage, ...]) -> Stage:
    if word not in allowed:
        raise UsageError(detail=f"{word!r} is not one of {', '.join(allowed)}.")
    return Stage(word)


def _ref(name: str) -> "Ref":
    from penstock.registry.reference import Ref  # noqa: PLC0415 - `penstock --help` must not pay for it

    return Ref.parse(name)


def _ref_of_push(name: str, version: str | None, source: Path) -> "Ref":
    """Return the reference of what is pushed; its selector is a version."""
    from dataclasses import replace  # noqa: PLC0415 - as above

    if "@" in name:
        raise UsageError(detail=f"{name!r}: the version of what is pushed is said with --version.")
    if not source.exists():
        raise UsageError(detail=f"there is nothing at {source}.")
    if version is not None:
        return replace(_ref(name), selector=SemVer.parse(version))
    try:
        return replace(_ref(name), selector=SemVer.parse(source.resolve().name))
    except InvalidSemVer:
        raise UsageError(detail=f"{source.name!r} is no semantic version; say it with --version.") from None


def _metadata(source: Path, meta: Path | None) -> dict[str, Any]:
    beside = source / "version.json"
    files = [file for file in (beside if beside.is_file() else None, meta) if file is not None]
    found: dict[str, Any] = {}
    for file in files:
        found |= fields_in(file, partial(InvalidMetadata, field=file.name), "author: ann")
    return found


def _serving(api: str, terminal: Terminal) -> "dict[tuple[str, str, str], str]":
    """Return (service, component, version) -> why it stays, of all that the control plane serves or meters in."""
    try:
        with Api(api) as plane:
            statuses = plane.fetch("/v1/services")
    except ControlPlaneUnreachable:
        terminal.remark(told.ONLY_REGISTRY.format(url=api))
        return {}
    return {
        (status["service"], component, _as_registered(version)): f"{arm} of {status['service']}"
        for status in statuses
        for arm in ("canary", "stable")
        for component, version in (status[arm] or {"versions": {}})["versions"].items()
    }


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
    aside, n_lines = file.with_name(file.name + ".part"), 0
    try:
        with aside.open("w", encoding="utf-8") as written:
            for line in lines:
                written.write(line + "\n")
                n_lines += 1
            written.flush()
            os.fsync(written.fileno())
        aside.replace(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UsageError(detail=f"{file} cannot be written: {error.strerror}.") from None
    return n_lines


def _objects(lines: Iterable[str]) -> Iterator[object]:
    """Yield the lines' values; a line that is no JSON as it stands, so that the registry names it."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            yield line
