"""What MLflow knows of a model version, as fields of our metadata. Nothing is asked here, and nothing made up: what is not known is left out."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.chain import rfc3339

#: MLflow's word for a run of which it does not know whose it is.
_NOBODY = "unknown"
#: What a metric's unit is when no tag says it.
_NO_UNIT = "not stated"
#: Flavours whose packages are called otherwise.
_PACKAGES = {"pytorch": "torch", "sklearn": "scikit-learn", "python_function": "python"}
#: The build of torch that a version names, `2.13.0+cu130`. Source: https://download.pytorch.org/whl/ names them so.
_CUDA = re.compile(r"\+cu(\d+)(\d)$")


def fields_of(version: Any, model: Any, run: Any, mlmodel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are known.

    Args:
        version: the model version, an entity of MLflow's.
        model: the registered model that it belongs to; its tags stand in for the version's.
        run: where it was trained, or None.
        mlmodel: the content of its `MLmodel` file; empty where there is none.
    """
    tags: Mapping[str, str] = {**model.tags, **version.tags}
    author = tags.get("author") or _person(version.user_id) or (_person(run.info.user_id) if run else None)
    framework = tags.get("framework_version") or _framework(mlmodel)
    signature = mlmodel.get("signature") or {}
    known = {
        "created": rfc3339(datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)),
        "author": author,
        "owner": tags.get("owner") or author,
        "change_note": tags.get("change_note") or version.description,
        "training_set": tags.get("training_set") or ", ".join(_trained_on(run)),
        "metrics": _metrics(run, tags),
        "framework_version": framework,
        "input_signature": _read(signature.get("inputs")),
        "output_signature": _read(signature.get("outputs")),
        "licence": tags.get("licence") or tags.get("license"),
    }
    return {name: value for name, value in known.items() if value} | {
        "cuda_version": tags.get("cuda_version") or _cuda(framework),
        "sample_rate_hz": _number(tags.get("sample_rate_hz")),
        "languages": _list(tags.get("languages")),
    }


def _person(user: str | None) -> str | None:
    return None if user == _NOBODY else user


def _trained_on(run: Any) -> Iterator[str]:
    """Yield the run's data sets, but for those that it says it only evaluated on."""
    for given in run.inputs.dataset_inputs if run else ():
        contexts = [tag.value for tag in given.tags if tag.key == "mlflow.data.context"]
        if all(context.startswith("train") for context in contexts):
            yield f"{given.dataset.name}@{given.dataset.digest}"


def _metrics(run: Any, tags: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    if run is None:
        return {}
    units = {**run.data.tags, **tags}
    return {
        name: {"value": value, "unit": units.get(f"unit.{name}") or _NO_UNIT}
        for name, value in sorted(run.data.metrics.items())
    }


def _framework(mlmodel: Mapping[str, Any]) -> str | None:
    """Return `torch 2.13.0` of the flavour that knows its package's version, else the `python 3.11.7` of a function."""
    flavors = dict(mlmodel.get("flavors") or {})
    function = flavors.pop("python_function", None)
    for flavor, said in [*flavors.items(), ("python_function", function)]:
        for key, version in (said or {}).items():
            if key.endswith("_version") and isinstance(version, str):
                return f"{_PACKAGES.get(flavor, flavor)} {version}"
    return None


def _cuda(framework: str | None) -> str | None:
    built = _CUDA.search(framework or "")
    return f"{built[1]}.{built[2]}" if built else None


def _read(written: str | None) -> Any:
    """A signature is JSON inside YAML."""
    try:
        return json.loads(written) if written else None
    except ValueError:
        return written


def _number(written: str | None) -> int | str | None:
    """What is no number is left as it is, so that the metadata names it."""
    return int(written) if written and written.isdecimal() else written


def _list(written: str | None) -> list[str] | None:
    return [word.strip() for word in written.split(",")] if written else None
