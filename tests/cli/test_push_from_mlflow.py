"""A model is pushed from a real MLflow server."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.entities import FileInfo

from penstock.cli.exit_codes import ExitCode
from penstock.kernel.errors import ArtifactChanged, InvalidArtifact
from penstock.stores.mlflow.models import MlflowModels
from tests.cli.conftest import Command
from tests.stores.mlflow_server import FILES, MlflowServer

WHOLE = {"MLmodel", "data/weights.txt"}
#: So many that whoever saw the first one come can act before the last one has.
MANY = {**FILES, **{f"data/part-{n:03}.txt": b"part" for n in range(50)}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def mlflow(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    return server


def left_over(state: Path) -> list[Path]:
    """Return what lies where files are fetched to."""
    return list((state / "fetching").glob("*"))


def files_of(penstock: Command, version: str, into: Path) -> dict[str, bytes]:
    assert penstock("pull", version, str(into)).code == ExitCode.OK
    return {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}


def test_a_model_comes_with_its_files_and_all_that_is_known_of_it(
    penstock: Command, state: Path, mlflow: MlflowServer
) -> None:
    name = mlflow.register()
    said = penstock("push", "tts/vocoder", f"models:/{name}@champion", "--actor", "eve", "-o", "json")
    assert said.code == ExitCode.OK, said.err
    assert (said.last["version"], said.last["stage"], said.last["staged_by"]) == ("1.0.0", "registered", "eve")
    metadata = said.last["metadata"]
    version = mlflow.client.get_model_version(name, "1")
    assert metadata.pop("mlflow") == {
        "name": name,
        "version": "1",
        "run_id": version.run_id,
        "server": mlflow.url,
    }
    assert metadata.pop("created").startswith(
        time.strftime("%Y-%m-%dT", time.gmtime(version.creation_timestamp / 1000))
    )
    assert metadata == {
        "author": "ann",
        "owner": "speech",
        "change_note": "less crackling",
        "training_set": "studio-3@a1b2c3d4",
        "metrics": {
            "naturalness": {"value": 4.2, "unit": "MOS 1..5"},
            "stoi": {"value": 0.93, "unit": "not stated"},
        },
        "framework_version": "torch 2.13.0+cu130",
        "cuda_version": "13.0",
        "sample_rate_hz": 24000,
        "languages": ["en", "zh"],
        "input_signature": [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 80]}}],
        "output_signature": [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}],
        "licence": "MIT",
    }
    assert files_of(penstock, "tts/vocoder@1.0.0", state / "out") == FILES
    assert left_over(state) == []


def test_the_same_model_again_changes_nothing_and_the_next_version_is_another_one(
    penstock: Command, state: Path, mlflow: MlflowServer
) -> None:
    name = mlflow.register(as_logged_model=True)  # as MLflow 3 stores models
    first = penstock("push", "tts/vocoder", f"models:/{name}/1", "-o", "json").last
    assert penstock("push", "tts/vocoder", f"models:/{name}@champion", "-o", "json").last == {**first, "is_new": False}
    mlflow.register(name, as_logged_model=True)
    second = penstock("push", "tts/vocoder", f"models:/{name}@champion", "-o", "json").last
    assert (second["version"], second["is_new"], second["digest"]) == ("2.0.0", True, first["digest"])
    named = penstock("push", "tts/vocoder", f"models:/{name}/2", "--version", "2.1.0", "-o", "json").last
    assert (named["version"], named["metadata"]["mlflow"]["version"]) == ("2.1.0", "2")
    assert set(files_of(penstock, "tts/vocoder@2.0.0", state / "out")) == WHOLE


def test_what_mlflow_does_not_know_is_named_and_a_file_supplies_it(
    penstock: Command, state: Path, mlflow: MlflowServer, tmp_path: Path
) -> None:
    name = mlflow.register(
        files={"weights.txt": b"weights"}, tags={"owner": "speech"}, user="", metrics={}, data_sets={}
    )
    push = ("push", "tts/vocoder", f"models:/{name}/1")
    refused = penstock(*push, "-o", "json")
    assert refused.code == ExitCode.USAGE
    assert refused.last["error"]["facts"]["field"] == "author"
    missing = "training_set, metrics, framework_version, input_signature, output_signature, licence"
    assert f"author: it is missing (also: {missing})" in refused.err
    assert "--meta FILE" in refused.err
    assert not (state / "registry.db").exists()
    meta = tmp_path / "meta.json"
    laid_over = {
        "author": "ann",
        "owner": "voices",
        "training_set": "studio-3",
        "metrics": {"naturalness": {"value": 4.2, "unit": "MOS 1..5"}},
        "framework_version": "torch 2.13.0",
        "input_signature": "mel",
        "output_signature": "audio",
        "licence": "MIT",
    }
    meta.write_text(json.dumps(laid_over), encoding="utf-8")
    pushed = penstock(*push, "--meta", str(meta), "-o", "json")
    assert pushed.code == ExitCode.OK, pushed.err
    assert laid_over.items() <= pushed.last["metadata"].items()
    assert pushed.last["metadata"]["change_note"] == "less crackling"
    assert files_of(penstock, "tts/vocoder@1.0.0", state / "out") == {"weights.txt": b"weights"}


def test_a_description_that_cannot_be_read_describes_nothing(
    penstock: Command, state: Path, mlflow: MlflowServer
) -> None:
    for content in (b"{", b"- one\n"):
        name = mlflow.register(files={**FILES, "MLmodel": content})
        refused = penstock("push", "tts/vocoder", f"models:/{name}/1")
        assert refused.code == ExitCode.USAGE
        assert "framework_version: it is missing (also: input_signature, output_signature)" in refused.err


def test_a_dry_run_stores_nothing(penstock: Command, state: Path, mlflow: MlflowServer) -> None:
    name = mlflow.register()
    looked = penstock("push", "tts", f"models:/{name}/1", "--dry-run", "-o", "json").last
    assert (looked["component"], looked["is_new"], looked["dry_run"]) == ("model", True, True)
    assert not list((state / "artifacts").rglob("*"))
    assert left_over(state) == []


def test_a_pickle_is_refused_by_name_as_anywhere(penstock: Command, state: Path, mlflow: MlflowServer) -> None:
    import torch

    for weights, allowed in ((torch.nn.Linear(2, 2), False), (torch.nn.Linear(2, 2).state_dict(), True)):
        file = state.parent / "model.pth"
        torch.save(weights, file)
        name = mlflow.register(files={**FILES, "data/model.pth": file.read_bytes()})
        push = ("push", "tts/vocoder", f"models:/{name}/1")
        refused = penstock(*push)
        assert refused.code == ExitCode.REFUSED
        assert "model is not safe to load: data/model.pth" in refused.err
        assert "torch._utils._rebuild_tensor_v2" in refused.err
        assert left_over(state) == []
        assert (penstock(*push, "--allow-pickles").code == ExitCode.OK) == allowed


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/{name}", "neither a version nor an alias is in it"),
        ("models:{name}@champion", "it does not begin with models:/"),
        ("models:/{name}/Production", "'Production' is no number"),
        ("models:/{name}/1/data", "a name has no slash"),
        ("models:/{name}@", "nothing follows the @"),
        ("models:/@champion", "it has no name"),
    ],
)
def test_an_address_that_cannot_be_meant_says_why(
    penstock: Command, state: Path, mlflow: MlflowServer, uri: str, says: str
) -> None:
    refused = penstock("push", "tts/vocoder", uri.format(name="vocoder"))
    assert refused.code == ExitCode.USAGE
    assert says in refused.err
    assert "models:/NAME@ALIAS" in refused.err


def test_what_is_not_there_is_named(penstock: Command, state: Path, mlflow: MlflowServer) -> None:
    name = mlflow.register()
    for uri in (f"models:/{name}@night", f"models:/{name}/7", "models:/nobody/1", "models:/nobody@champion"):
        refused = penstock("push", "tts/vocoder", uri, "-o", "json")
        assert (refused.code, refused.last["error"]["code"]) == (ExitCode.ERROR, "unknown-mlflow-model")
        assert f"{uri} is not in the MLflow registry {mlflow.url}: " in refused.err
    assert not state.exists()


def test_without_a_server_the_variable_is_named(
    penstock: Command, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    refused = penstock("push", "tts/vocoder", "models:/vocoder@champion")
    assert refused.code == ExitCode.USAGE
    assert "set MLFLOW_TRACKING_URI" in refused.err


def test_without_the_extra_the_package_is_named(
    penstock: Command, state: Path, mlflow: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refused = penstock("push", "tts/vocoder", "models:/vocoder@champion")
    assert refused.code == ExitCode.ERROR
    assert "needs mlflow-skinny, which is not installed" in refused.err
    assert "penstock[mlflow]" in refused.err


def test_a_server_that_does_not_answer_is_named_without_its_password(
    penstock: Command, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{port}")
    refused = penstock("push", "tts/vocoder", "models:/vocoder@champion", "-o", "json")
    assert (refused.code, refused.last["error"]["code"]) == (ExitCode.UNREACHABLE, "mlflow-unreachable")
    assert f"the MLflow server http://127.0.0.1:{port}: Connection refused" in refused.err
    assert "secret" not in refused.err + refused.out


def test_a_server_that_is_none_of_mlflow_is_named(
    penstock: Command, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with listening.accept()[0] as asking:
                    asking.recv(65536)
                    asking.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer, args=(listening,))
        answering.start()
        try:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.getsockname()[1]}")
            refused = penstock("push", "tts/vocoder", "models:/vocoder@champion")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            answering.join()
    assert refused.code == ExitCode.UNREACHABLE
    assert "could not be had from the MLflow server" in refused.err


def program(*args: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).with_name("penstock"), *args]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **environment})


def until_fetching(state: Path, pushing: subprocess.Popen[bytes]) -> None:
    """Wait until the first file has come."""
    while not list((state / "fetching").rglob("MLmodel")):
        assert pushing.poll() is None
        time.sleep(0.002)


def test_a_push_that_is_killed_leaves_nothing_that_the_next_one_does_not_clear_away(
    penstock: Command, state: Path, mlflow: MlflowServer
) -> None:
    push = ("push", "tts/vocoder", f"models:/{mlflow.register(files=MANY)}/1")
    with program(*push) as pushing:
        until_fetching(state, pushing)
        mlflow.send(signal.SIGSTOP)
        try:
            pushing.kill()
            pushing.wait()
        finally:
            mlflow.send(signal.SIGCONT)
    assert len(left_over(state)) == 1
    assert penstock("list", "tts/vocoder").code == ExitCode.ERROR
    assert penstock(*push).code == ExitCode.OK
    assert left_over(state) == []
    assert penstock("get", "tts/vocoder@1.0.0", "-o", "json").last["size_bytes"] == sum(map(len, MANY.values()))


def test_a_server_that_falls_silent_in_the_midst_is_named(penstock: Command, state: Path, mlflow: MlflowServer) -> None:
    push = ("push", "tts/vocoder", f"models:/{mlflow.register(files=MANY)}/1")
    with program(*push, MLFLOW_HTTP_REQUEST_TIMEOUT="1", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0") as pushing:
        until_fetching(state, pushing)
        mlflow.send(signal.SIGSTOP)
        try:
            _, err = pushing.communicate(timeout=60)
        finally:
            mlflow.send(signal.SIGCONT)
    assert pushing.returncode == ExitCode.UNREACHABLE, err
    assert b"could not be had from the MLflow server" in err
    assert b"Traceback" not in err
    assert left_over(state) == []
    assert penstock("list", "tts/vocoder").code == ExitCode.ERROR


def test_a_file_that_changes_while_it_is_fetched_is_named(mlflow: MlflowServer, tmp_path: Path) -> None:
    models = MlflowModels(tmp_path / "fetching")
    model = models.find(f"models:/{mlflow.register()}/1")

    def shorten(done_bytes: int, total_bytes: int) -> None:
        if done_bytes < total_bytes:
            (mlflow.stored(model.fields["mlflow"]["run_id"]) / "data" / "weights.txt").write_bytes(b"weigh")

    with pytest.raises(ArtifactChanged, match=r"models:/.*/1/data/weights\.txt changed"):
        models.fetched(model, on_progress=shorten).__enter__()
    assert list((tmp_path / "fetching").iterdir()) == []


@pytest.mark.parametrize("path", ["../outside", "/outside", "data/../../outside"])
def test_a_server_cannot_name_a_file_outside_the_folder(
    mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    class Hostile:
        def list_artifacts(self, folder: str | None) -> list[FileInfo]:
            return [FileInfo(path, is_dir=False, file_size=1)]

        def download_artifacts(self, path: str, into: str) -> None:
            raise AssertionError((path, into))

    models = MlflowModels(tmp_path / "fetching")
    model = models.find(f"models:/{mlflow.register()}/1")
    monkeypatch.setattr("penstock.stores.mlflow.models._repository", lambda _uri: Hostile())
    with pytest.raises(InvalidArtifact, match="outside"):
        models.fetched(model).__enter__()


def as_a_user(code: str, *args: str, **environment: str) -> str:
    """Run Python code that is no test, as MLflow can tell; return what it prints. It may say nothing beside."""
    telling = {"CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
    kept = {name: value for name, value in os.environ.items() if name not in telling}
    ran = subprocess.run(
        [sys.executable, "-c", code, *args], env=kept | environment, capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
    return ran.stdout.splitlines()[-1]


def test_nothing_is_reported_to_the_makers_of_mlflow(state: Path, mlflow: MlflowServer) -> None:
    look = (
        "import sys; from penstock.cli.main import run; code = run(sys.argv[1:]);"
        "from mlflow.telemetry import get_telemetry_client; print(code, get_telemetry_client())"
    )
    assert as_a_user(look, "push", "tts/vocoder", f"models:/{mlflow.register()}/1", "-q") == "0 None"


def test_a_database_as_the_server_may_need_more_than_the_extra_brings(state: Path, tmp_path: Path) -> None:
    look = (
        "import sys; sys.modules['alembic'] = None; from penstock.stores.mlflow.models import MlflowModels\n"
        "try: MlflowModels(None).find('models:/vocoder/1')\n"
        "except Exception as error: print(error.code, error.message)"
    )
    said = as_a_user(look, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    assert said.startswith("mlflow-unreachable models:/vocoder/1 could not be had")
    assert "alembic" in said
