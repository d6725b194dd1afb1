"""Model versions in an MLflow registry: what is known of them, and their files."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.kernel.errors import (
    ArtifactChanged,
    ExtraMissing,
    InvalidArtifact,
    InvalidMlflowUri,
    MlflowNotNamed,
    MlflowUnreachable,
    UnknownMlflowModel,
)
from penstock.ports.artifacts import Progress, silent
from penstock.registry.manifest import why_unfit
from penstock.stores.mlflow.fields import fields_of
from penstock.stores.scratch import scratch

_SCHEME = "models:/"
_MLMODEL = "MLmodel"
#: MLflow reports its own use to its makers, and draws bars of its own, unless it is told not to.
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
#: Where the user set nothing else: an answer may take so many seconds, and is asked for again so often. Source: a choice;
#: MLflow's own patience with a server that is not there is minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
#: What MLflow's servers answer for what they have not.
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
#: What one answers for an alias that nobody set, and for much else.
_MAY_BE_ABSENT = "INVALID_PARAMETER_VALUE"
_USER_INFO = re.compile(r"(?<=//)[^/@\s]+@")
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """A model version, found.

    Attributes:
        uri: `models:/NAME/VERSION`, whichever alias it was asked by.
        number: MLflow's number of it.
        fields: what MLflow knows, as fields of our metadata; `mlflow` says where it comes from.
    """

    uri: str
    number: str
    fields: Mapping[str, Any]


class MlflowModels:
    """The registry that MLflow's own variables name: MLFLOW_TRACKING_URI and, where it is another one, MLFLOW_REGISTRY_URI.

    Args:
        folder: where files lie while they are needed; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = _clean(os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or "")

    def find(self, uri: str) -> MlflowModel:
        """Return what is known of `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

        Raises InvalidMlflowUri, MlflowNotNamed, ExtraMissing, UnknownMlflowModel, MlflowUnreachable.
        """
        name, alias, number = _parts(uri)
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            raise MlflowNotNamed(uri=uri)
        mlflow = _mlflow()
        with self._asked(uri):
            client = mlflow.MlflowClient()
            by_alias = client.get_model_version_by_alias
            version = by_alias(name, alias) if alias else client.get_model_version(name, number)
            model = client.get_registered_model(name)
        run = self._run(client, version.run_id)
        number = str(version.version)
        found = f"{_SCHEME}{name}/{number}"
        fields = fields_of(version, model, run, self._mlmodel(found))
        source = {"name": name, "version": number, "run_id": version.run_id or None, "server": self._server}
        return MlflowModel(found, number, {**fields, "mlflow": source})

    @contextmanager
    def fetched(self, model: MlflowModel, *, on_progress: Progress = silent) -> Iterator[Path]:
        """Yield a folder with the model's files; it is gone on leaving.

        Raises MlflowUnreachable, InvalidArtifact, ArtifactChanged.
        """
        with scratch(self._folder) as folder:
            files = folder / "model"  # what is wrong with a file of it is said of `model`
            files.mkdir()
            with self._asked(model.uri, may_lack=False):
                _download(model.uri, files, on_progress)
            yield files

    def _run(self, client: Any, run_id: str | None) -> Any:
        """Return the run that made a version; None where there is none, or another server has it."""
        if not run_id:
            return None
        try:
            with self._asked(run_id):
                return client.get_run(run_id)
        except UnknownMlflowModel:
            return None

    def _mlmodel(self, uri: str) -> dict[str, Any]:
        """Return the content of a model's `MLmodel` file; empty where it has none that can be read."""
        from mlflow.artifacts import load_text  # noqa: PLC0415 - an extra
        from ruamel.yaml import YAML  # noqa: PLC0415 - a push of a folder must not pay for it
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

        with self._asked(uri):
            if _MLMODEL not in {path for path, _ in _files_in(_repository(uri), None)}:
                return {}
            written = load_text(f"{uri}/{_MLMODEL}")
        try:
            said = YAML(typ="safe", pure=True).load(written)
        except YAMLError:
            return {}
        return said if isinstance(said, dict) else {}

    @contextmanager
    def _asked(self, uri: str, *, may_lack: bool = True) -> Iterator[None]:
        """Turn what MLflow raises into what we do; `may_lack`: it may be that there is no such thing."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - an extra

        try:
            yield
        # What `requests` raises is an OSError; a database as the server needs packages that the extra does not bring.
        except (MlflowException, OSError, ValueError, ImportError) as error:
            kind = UnknownMlflowModel if may_lack and _says_absent(error) else MlflowUnreachable
            raise kind(uri=uri, server=self._server, why=_why(error)) from error


def _mlflow() -> Any:
    os.environ.update(_SILENT)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: PLC0415 - an extra
    except ImportError:
        raise ExtraMissing(what="taking models from MLflow", package="mlflow-skinny", extra="mlflow") from None
    return mlflow


def _parts(uri: str) -> tuple[str, str, str]:
    """Return (name, alias, version); one of the last two is empty."""
    name, at, alias = uri.removeprefix(_SCHEME).partition("@")
    slash, version = at, ""
    if not at:
        name, slash, version = name.rpartition("/")
    wrong = {
        f"it does not begin with {_SCHEME}": not uri.startswith(_SCHEME),
        "neither a version nor an alias is in it": not slash,
        "it has no name": not name,
        "a name has no slash": "/" in name,
        "nothing follows the @": bool(at) and not alias,
        f"{version!r} is no number": not at and not (version.isascii() and version.isdecimal()),
    }
    for why in (why for why, is_so in wrong.items() if is_so):
        raise InvalidMlflowUri(uri=uri, why=why)
    return name, alias, version


def _repository(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415 - an extra

    return get_artifact_repository(uri)


def _download(uri: str, into: Path, on_progress: Progress) -> None:
    repository = _repository(uri)
    files = list(_files_in(repository, None))
    done_bytes, total_bytes = 0, sum(size_bytes or 0 for _, size_bytes in files)
    for path, size_bytes in files:
        if why := why_unfit(path):  # a server could name a file outside the folder
            raise InvalidArtifact(source=ascii(path), why=why)
        repository.download_artifacts(path, str(into))
        if size_bytes is not None and (into / path).stat().st_size != size_bytes:
            raise ArtifactChanged(path=f"{uri}/{path}")
        done_bytes += size_bytes or 0
        on_progress(done_bytes, total_bytes)


def _files_in(repository: Any, folder: str | None) -> Iterator[tuple[str, int | None]]:
    """Yield (path, size in bytes where the store says it) of every file below a folder."""
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _files_in(repository, entry.path)
        else:
            yield entry.path, entry.file_size


def _says_absent(error: Exception) -> bool:
    code = getattr(error, "error_code", None)
    return code in _ABSENT or (code == _MAY_BE_ABSENT and "not found" in str(error))


def _clean(address: str) -> str:
    """Return an address without the credentials in it."""
    return _USER_INFO.sub("", address)


def _why(error: BaseException) -> str:
    """Return one sentence on what went wrong: the operating system's words where the network failed."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    said = _clean(" ".join(str(error).split())).removeprefix(f"{getattr(error, 'error_code', '')}: ")
    return said.partition(". ")[0].rstrip(".")[:_LONGEST_REASON]
