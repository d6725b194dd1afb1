"""MLflow's own server as a process of its own, and models registered there by MLflow's own client."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx2

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag

_PATIENCE_S = 60.0

#: As `mlflow.pytorch.log_model` writes it; that function itself needs packages that the skinny client has not.
MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    data: data
    loader_module: mlflow.pytorch
    python_version: 3.11.7
  pytorch:
    model_data: data
    pytorch_version: 2.13.0+cu130
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 80]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]'
  params: null
"""
FILES: Mapping[str, bytes] = {"MLmodel": MLMODEL.encode(), "data/weights.txt": b"weights"}
#: Tags that fill in what MLflow has no place for.
TAGS = {
    "owner": "speech",
    "licence": "MIT",
    "unit.naturalness": "MOS 1..5",
    "sample_rate_hz": "24000",
    "languages": "en, zh",
}
METRICS: Mapping[str, float] = {"naturalness": 4.2, "stoi": 0.93}
#: Data set -> what the run used it for.
DATA_SETS: Mapping[str, str] = {"studio-3": "training", "studio-3-test": "eval"}


class MlflowServer:
    """A server with a database and files below `folder`; ended by its pid when `with` ends.

    Attributes:
        url: what MLFLOW_TRACKING_URI must say.
        client: for arranging what is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = MlflowClient(self.url)
        self._port = str(port)
        self._n_models = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # `mlflow server` starts this same application through packages that the skinny client does not bring.
        environment = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self._folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self._folder / "files"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        command = [sys.executable, "-m", "flask", "--app", "mlflow.server", "run", "--port", self._port]
        with ExitStack() as stack:
            log = stack.enter_context((self._folder / "server.log").open("wb"))
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process
        self._process.send_signal(number)

    def register(
        self,
        name: str = "",
        *,
        files: Mapping[str, bytes] = FILES,
        tags: Mapping[str, str] = TAGS,
        note: str = "less crackling",
        user: str = "ann",
        metrics: Mapping[str, float] = METRICS,
        data_sets: Mapping[str, str] = DATA_SETS,
        as_logged_model: bool = False,
    ) -> str:
        """Register a version, made by a run, of a model, by default of a new one, as its champion; return the model's name."""
        if not name:
            self._n_models += 1
            name = f"vocoder-{self._n_models}"
            self.client.create_registered_model(name)
        client = self.client
        run_id = client.create_run("0", tags={"mlflow.user": user} if user else {}).info.run_id
        for metric, value in metrics.items():
            client.log_metric(run_id, metric, value)
        inputs = [
            DatasetInput(Dataset(data_set, "a1b2c3d4", "local", "{}"), [InputTag("mlflow.data.context", context)])
            for data_set, context in data_sets.items()
        ]
        client.log_inputs(run_id, inputs)
        source, model_id = self._logged(run_id, files, as_logged_model=as_logged_model)
        version = client.create_model_version(
            name, source, run_id, tags=dict(tags), description=note, model_id=model_id
        )
        client.set_registered_model_alias(name, "champion", version.version)
        return name

    def stored(self, run_id: str) -> Path:
        """Return where the server keeps the files of a run's model."""
        return self._folder / "files" / "0" / run_id / "artifacts" / "model"

    def _logged(self, run_id: str, files: Mapping[str, bytes], *, as_logged_model: bool) -> tuple[str, str | None]:
        """Store files as MLflow 2 or 3 does; return where they are."""
        folder = self._folder / "made" / run_id
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        if as_logged_model:
            model_id = self.client.create_logged_model("0", source_run_id=run_id).model_id
            self.client.log_model_artifacts(model_id, str(folder))
            self.client.finalize_logged_model(model_id, "READY")
            return f"models:/{model_id}", model_id
        self.client.log_artifacts(run_id, str(folder), "model")
        return f"runs:/{run_id}/model", None

    def _until_ready(self) -> None:
        assert self._process
        deadline_s = time.monotonic() + _PATIENCE_S
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=_PATIENCE_S) as asking:
            while True:
                try:
                    if asking.get("/api/2.0/mlflow/registered-models/search").status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    self.__exit__()
                    raise AssertionError((self._folder / "server.log").read_text(encoding="utf-8"))
                time.sleep(0.1)
