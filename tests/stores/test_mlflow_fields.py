"""What becomes of what MLflow knows; its entities are MLflow's own."""

from collections.abc import Mapping
from typing import Any

import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag

from penstock.registry.metadata import REQUIRED
from penstock.stores.mlflow.fields import fields_of

NOT_ASKED = {"cuda_version": None, "sample_rate_hz": None, "languages": None}


def version(user: str = "", note: str = "", **tags: str) -> ModelVersion:
    made = ModelVersion("vocoder", "3", 1_767_225_600_000, user_id=user, description=note)
    for name, value in tags.items():
        made._add_tag(ModelVersionTag(name, value))
    return made


def model(**tags: str) -> RegisteredModel:
    made = RegisteredModel("vocoder")
    for name, value in tags.items():
        made._add_tag(RegisteredModelTag(name, value))
    return made


def run(user: str = "unknown", contexts: Mapping[str, str | None] | None = None, **tags: str) -> Run:
    info = RunInfo("r1", "0", user, "FINISHED", 0, 1, "active")
    data = RunData([Metric("wer", 0.031, 0, 0)], [], [RunTag(name, value) for name, value in tags.items()])
    inputs = [
        DatasetInput(
            Dataset(name, "a1b2", "local", "{}"),
            [] if context is None else [InputTag("mlflow.data.context", context)],
        )
        for name, context in (contexts or {}).items()
    ]
    return Run(info, data, RunInputs(inputs))


def flavors(**said: Mapping[str, Any]) -> dict[str, Any]:
    return {"flavors": said}


def test_what_is_not_known_is_left_out() -> None:
    assert fields_of(version(), model(), None, {}) == {"created": "2026-01-01T00:00:00.000000Z", **NOT_ASKED}


def test_what_a_run_knows_stands_in() -> None:
    fields = fields_of(version(), model(), run("ann", **{"unit.wer": "ratio"}), {})
    assert (fields["author"], fields["owner"]) == ("ann", "ann")
    assert fields["metrics"] == {"wer": {"value": 0.031, "unit": "ratio"}}


def test_the_version_comes_before_the_model_and_the_model_before_the_author() -> None:
    assert fields_of(version("ann"), model(), run("eve"), {})["author"] == "ann"
    assert fields_of(version("ann"), model(), None, {})["owner"] == "ann"
    assert fields_of(version("ann"), model(owner="speech"), None, {})["owner"] == "speech"
    assert fields_of(version("ann", owner="voices"), model(owner="speech"), None, {})["owner"] == "voices"
    assert "author" not in fields_of(version(), model(owner="speech"), run("unknown"), {})


def test_tags_say_what_mlflow_has_no_place_for() -> None:
    tags = {
        "author": "eve",
        "change_note": "less noise",
        "training_set": "studio-3",
        "framework_version": "vits 1.0",
        "cuda_version": "12.4",
        "sample_rate_hz": "24000",
        "languages": "en,zh",
        "license": "MIT",
    }
    fields = fields_of(version("ann", "a note", **tags), model(), None, flavors(onnx={"onnx_version": "1.20.0"}))
    wanted = {**tags, "sample_rate_hz": 24000, "languages": ["en", "zh"], "licence": tags["license"]}
    del wanted["license"]
    assert wanted.items() <= fields.items()


def test_a_number_that_is_none_is_left_for_the_metadata_to_name() -> None:
    assert fields_of(version(sample_rate_hz="24 kHz"), model(), None, {})["sample_rate_hz"] == "24 kHz"


def test_data_that_was_only_evaluated_on_is_no_training_set() -> None:
    mixed = {"a": "training", "b": "eval", "c": None, "d": "train"}
    assert fields_of(version(), model(), run(contexts=mixed), {})["training_set"] == "a@a1b2, c@a1b2, d@a1b2"
    assert "training_set" not in fields_of(version(), model(), run(contexts={"b": "eval"}), {})


@pytest.mark.parametrize(
    ("said", "framework", "cuda"),
    [
        ({"pytorch": {"pytorch_version": "2.13.0"}}, "torch 2.13.0", None),
        ({"pytorch": {"pytorch_version": "2.13.0+cpu"}}, "torch 2.13.0+cpu", None),
        ({"pytorch": {"pytorch_version": "2.13.0+cu130"}}, "torch 2.13.0+cu130", "13.0"),
        ({"onnx": {"data": "model.onnx", "onnx_version": "1.20.0"}}, "onnx 1.20.0", None),
        ({"sklearn": {"sklearn_version": "1.8.0"}}, "scikit-learn 1.8.0", None),
        ({"python_function": {"python_version": "3.11.7"}}, "python 3.11.7", None),
        ({"python_function": {"python_version": "3.11.7"}, "onnx": {"onnx_version": "1.20.0"}}, "onnx 1.20.0", None),
        ({"own": None}, None, None),
    ],
)
def test_the_flavour_names_the_framework(said: Mapping[str, Any], framework: str | None, cuda: str | None) -> None:
    fields = fields_of(version(), model(), None, flavors(**said))
    assert (fields.get("framework_version"), fields["cuda_version"]) == (framework, cuda)


def test_a_signature_is_read_and_one_that_is_no_json_is_kept() -> None:
    signature = {"inputs": '[{"name": "mel", "type": "float"}]', "outputs": "audio", "params": None}
    fields = fields_of(version(), model(), None, {"signature": signature})
    assert fields["input_signature"] == [{"name": "mel", "type": "float"}]
    assert fields["output_signature"] == "audio"


def test_every_field_that_must_be_given_can_come_from_mlflow() -> None:
    said = {"signature": {"inputs": "[1]", "outputs": "[1]"}, **flavors(onnx={"onnx_version": "1.20.0"})}
    fields = fields_of(version("ann", "less noise", licence="MIT"), model(), run(contexts={"a": None}), said)
    assert set(fields) == set(REQUIRED)
