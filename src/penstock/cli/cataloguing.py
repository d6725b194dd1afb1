"""Commands on versions and their files: push, pull, mark, and what list and get say of them. They need no control plane."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import told
from penstock.cli.asked import fields_in
from penstock.cli.client import os_user
from penstock.cli.options import TABLE, Actor, AllowNames, AllowPickles, Output, Quiet, Reason, StateFolder
from penstock.cli.progress import shown
from penstock.cli.running import state_folder
from penstock.cli.terminal import Terminal
from penstock.kernel.errors import InvalidMetadata, InvalidSemVer, UsageError
from penstock.kernel.semver import SemVer
from penstock.registry.stage import Stage

if TYPE_CHECKING:
    from penstock.bootstrap.catalogue import OpenCatalogue
    from penstock.ports.artifacts import Trust
    from penstock.registry.promotion import Promotion
    from penstock.registry.reference import Ref

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


Source = Annotated[
    str,
    typer.Argument(
        metavar="DIR|FILE|URI",
        help="Its files, or a model in MLflow: models:/NAME@ALIAS, models:/NAME/VERSION.",
        show_default=False,
    ),
]
VersionOption = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="V",
        help="A semantic version; else the folder's name, or MLflow's number.",
        show_default=False,
    ),
]
Meta = Annotated[
    Path | None,
    typer.Option(
        "--meta",
        metavar="FILE",
        help="Metadata, JSON or YAML; laid over DIR/version.json, or what MLflow knows.",
        show_default=False,
    ),
]
StageOption = Annotated[
    str, typer.Option("--stage", metavar="STAGE", help="Where it stands: registered, verified or stable.")
]
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
    allow_name: AllowNames = None,
    key: Key = None,
    dry_run: DryRun = False,
    output: Output = TABLE,
    state: StateFolder = None,
    actor: Actor = None,
    quiet: Quiet = False,
    reason: Reason = "",
) -> None:
    """Store the files of a version, and register it; pushing it again changes nothing."""
    terminal, wanted, part = Terminal(output, quiet), _stage(stage, _PUSHED), _part(name)
    given = _given(source, state)
    ref = _ref_of_push(part, version, given)
    fields = _complete({**given.fields, **_fields_in(meta)}, ref)
    with (
        opened(state) as catalogue,
        given.files(terminal) as files,
        shown(terminal, f"storing {ref}", in_bytes=True) as tell,
    ):
        pushed = catalogue.push(
            ref,
            files,
            fields,
            stage=wanted,
            actor=actor or os_user(),
            reason=reason,
            trust=trusting(allow_pickles, allow_name, key),
            dry_run=dry_run,
            on_progress=tell,
        )
    said = {**pushed.version.as_json(), "is_new": pushed.is_new, "dry_run": dry_run}
    terminal.answer(said, told.pushed(said, is_moved=pushed.is_moved))


def pull(
    name: Reference,
    into: Annotated[Path, typer.Argument(metavar="DIR", help="Where its files go; it is made.", show_default=False)],
    key: Key = None,
    output: Output = TABLE,
    state: StateFolder = None,
    quiet: Quiet = False,
) -> None:
    """Write the files of a version into a folder, each checked."""
    ref, terminal = ref_of(name), Terminal(output, quiet)
    with opened(state) as catalogue, shown(terminal, f"writing {name}", in_bytes=True) as tell:
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
    wanted, ref, terminal = _stage(stage, tuple(Stage)), version_named(name), Terminal(output)
    if wanted is Stage.CANARY:
        raise UsageError(detail="only a rollout makes a version a canary: penstock release NAME/COMPONENT --version V.")
    with opened(state) as catalogue:
        version = catalogue.move(ref, wanted, actor=actor or os_user(), reason=reason)
        if wanted is Stage.QUARANTINED and catalogue.serves(version):
            terminal.remark(told.STILL_SERVES.format(version=version.reference, of=f"{ref.service}/{ref.component}"))
    terminal.answer(version.as_json(), [f"{version.reference} is {version.stage}"])


def list_versions(name: str, filters: Mapping[str, Any], output: Output, state: Path | None) -> None:
    """List the versions of a service, or of one component, that pass every filter; a filter is a field of `Query`."""
    from penstock.registry.query import Query  # noqa: PLC0415 - `penstock --help` must not pay for it

    ref, wanted = ref_of(name), dict(filters)
    if "stage" in wanted:
        wanted["stage"] = _stage(wanted["stage"], tuple(Stage))
    query = Query(service=ref.service, component=ref.component if "/" in name else None, **wanted)
    with opened(state) as catalogue:
        found = [version.as_json() for version in catalogue.versions(query)]
    Terminal(output).answer(found, told.versions(found))


def show_version(name: str, output: Output, state: Path | None) -> None:
    """Show what is known of a version; of SERVICE@stable, where it is made of components, what they serve with."""
    ref, is_whole = ref_of(name), "/" not in name.removeprefix("models:/")
    with opened(state) as catalogue:
        components = catalogue.registry.services().get(ref.service, ())
        if is_whole and components and ref.component not in components:
            _show_serving(catalogue.serving(ref.service), ref, output)
            return
        found = catalogue.detail(ref)
    Terminal(output).answer(found, told.version(found))


def _show_serving(promotion: "Promotion | None", ref: "Ref", output: Output) -> None:
    from penstock.registry.reference import Word  # noqa: PLC0415 - `penstock --help` must not pay for it

    if promotion is None or ref.selector not in {Word.STABLE, Word.CHAMPION}:
        why = "nothing was promoted yet" if promotion is None else "it is made of components"
        named = f"{ref.service}/COMPONENT@{ref.selector}"
        raise UsageError(detail=f"{ref.service}@{ref.selector} names no version: {why}; write {named}.")
    said = promotion.as_json()
    Terminal(output).answer(said, told.promotion(said))


def rollback_plan(service: str, component: str | None, state: Path | None) -> dict[str, Any]:
    """Return where a rollback would go as far as the registry knows. Raises NotFoundError."""
    with opened(state) as catalogue:
        return catalogue.rollback_plan(service, component)


def opened(state: Path | None) -> "OpenCatalogue":
    """Return the catalogue of a state folder, which is open inside a `with`."""
    from penstock.bootstrap.catalogue import catalogue_at  # noqa: PLC0415 - other commands must not pay for the drivers

    return catalogue_at(state_folder(state))


#: What a model in MLflow is written with.
_MLFLOW = "models:"
_PUSHED = (Stage.REGISTERED, Stage.VERIFIED, Stage.STABLE)


def _stage(word: str, allowed: tuple[Stage, ...]) -> Stage:
    if word not in allowed:
        raise UsageError(detail=f"{word!r} is not one of {', '.join(allowed)}.")
    return Stage(word)


def ref_of(name: str) -> "Ref":
    """Read a reference. Raises InvalidReference."""
    from penstock.registry.reference import Ref  # noqa: PLC0415 - `penstock --help` must not pay for it

    return Ref.parse(name)


def version_named(name: str) -> "Ref":
    """Read a reference that must name a version. Raises InvalidReference, UsageError."""
    if "@" not in name:
        raise UsageError(detail=f"{name!r} names no version; write {name}@V.")
    return ref_of(name)


@dataclass(frozen=True, slots=True)
class _Given:
    """What is to be pushed.

    Attributes:
        called: what it is called where it comes from; a version, unless somebody names another one.
        fields: what is known of it there.
        files: yields the folder or the file, once it is wanted.
    """

    called: str
    fields: Mapping[str, Any]
    files: Callable[[Terminal], AbstractContextManager[Path]]


def trusting(pickles: bool, names: list[str] | None, key: Path | None = None) -> "Trust":
    """Return what of files is believed."""
    from penstock.ports.artifacts import Trust  # noqa: PLC0415 - `penstock --help` must not pay for it

    return Trust(pickles, tuple(names or ()), key)


def _given(source: str, state: Path | None) -> _Given:
    return _in_mlflow(source, state) if source.startswith(_MLFLOW) else _on_disk(Path(source))


def _on_disk(source: Path) -> _Given:
    if not source.exists():
        raise UsageError(detail=f"there is nothing at {source}.")
    beside = source / "version.json"
    if beside.is_symlink() and not beside.exists():
        raise InvalidMetadata(field=beside.name, why=f"{beside} is a link that leads nowhere")
    fields = _fields_in(beside if beside.exists() else None)
    return _Given(source.resolve().name, fields, lambda _terminal: nullcontext(source))


def _in_mlflow(uri: str, state: Path | None) -> _Given:
    from penstock.bootstrap.catalogue import mlflow_at  # noqa: PLC0415 - other commands must not pay for the drivers

    models = mlflow_at(state_folder(state))
    model = models.find(uri)

    @contextmanager
    def files(terminal: Terminal) -> Iterator[Path]:
        with ExitStack() as until_stored:
            with shown(terminal, f"fetching {model.uri}", in_bytes=True) as tell:
                folder = until_stored.enter_context(models.fetched(model, on_progress=tell))
            yield folder

    return _Given(model.number, model.fields, files)


def _part(name: str) -> "Ref":
    if "@" in name:
        raise UsageError(detail=f"{name!r}: the version of what is pushed is said with --version.")
    return ref_of(name)


def _ref_of_push(part: "Ref", version: str | None, given: _Given) -> "Ref":
    """Return the reference of what is pushed; its selector is a version."""
    if version is not None:
        return replace(part, selector=SemVer.parse(version))
    try:
        return replace(part, selector=SemVer.parse(given.called))
    except InvalidSemVer:
        raise UsageError(detail=f"{given.called!r} is no semantic version; say it with --version.") from None


def _fields_in(file: Path | None) -> dict[str, Any]:
    return {} if file is None else fields_in(file, partial(InvalidMetadata, field=file.name), "author: ann")


def _complete(fields: dict[str, Any], ref: "Ref") -> dict[str, Any]:
    """Return the fields by our names; raise InvalidMetadata before anything large is fetched for nothing."""
    from penstock.registry.foreign import check_number, renamed  # noqa: PLC0415 - `penstock --help` must not pay for it
    from penstock.registry.metadata import Metadata  # noqa: PLC0415 - as above

    assert isinstance(ref.selector, SemVer)  # noqa: S101 - a push names a version
    check_number(fields, ref.selector)
    ours = renamed(fields)
    Metadata.from_json(ours)
    return ours
