"""The components' folders: weights in one safetensors file, its texts in that file's header, and a model made of them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from .acoustic import AcousticModel
from .emotion import EmotionEncoder, from_array, to_array
from .espeak import LANGUAGES
from .spectra import Floats
from .training import Arrays
from .vocoder import Vocoder
from .voice import acoustic_model

FILE = "weights.safetensors"
_TEXTS = ("sounds", "accents")  # what the trainer keeps as arrays of texts, which safetensors has not


def acoustic_bytes(weights: Arrays, n_members: int) -> bytes:
    """The acoustic part of what `training.train` made."""
    names = [f"{language}.{name}" for language in LANGUAGES for name in _TEXTS]
    texts = {name: weights[name].tolist() for name in names}
    kept = {
        name: array
        for name, array in weights.items()
        if name.partition(".")[0] in LANGUAGES and name not in names and not name.endswith(".mel_rmse")
    }
    return _packed({**kept, "n_members": np.array([n_members], np.int32)}, texts)


def read_acoustic(folder: Path) -> Mapping[str, AcousticModel]:
    """Language -> its model."""
    arrays, texts = _unpacked(folder)
    weights: Arrays = {**arrays, **{name: np.array(value) for name, value in texts.items()}}
    n_members = int(arrays["n_members"][0])
    return {language: acoustic_model(weights, language, n_members) for language in LANGUAGES}


def vocoder_bytes(vocoder: Vocoder) -> bytes:
    """All of a vocoder."""
    use = [vocoder.gain, vocoder.n_refinements, vocoder.limits]
    parts = {"inverse": vocoder.inverse, "pulse": vocoder.pulse, "noise": vocoder.noise}
    return _packed({**parts, "use": np.array(use, np.float32)}, {})


def read_vocoder(folder: Path) -> Vocoder:
    """The vocoder in a folder."""
    arrays, _ = _unpacked(folder)
    gain, n_refinements, limits = map(float, arrays["use"])
    return Vocoder(
        arrays["inverse"],
        arrays["pulse"],
        arrays["noise"],
        gain=gain,
        n_refinements=int(n_refinements),
        limits=bool(limits),
    )


def emotion_bytes(encoder: EmotionEncoder) -> bytes:
    """An emotion encoder's table."""
    return _packed({"styles": to_array(encoder)}, {"emotions": list(encoder)})


def read_emotion(folder: Path) -> EmotionEncoder:
    """The emotion encoder in a folder."""
    arrays, texts = _unpacked(folder)
    return from_array(tuple(texts["emotions"]), arrays["styles"])


def _packed(arrays: Mapping[str, np.ndarray], texts: Mapping[str, list[str]]) -> bytes:
    return save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {name: json.dumps(value) for name, value in texts.items()},
    )


def _unpacked(folder: Path) -> tuple[dict[str, Floats], dict[str, list[str]]]:
    with safe_open(folder / FILE, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return arrays, {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
