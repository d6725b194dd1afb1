"""Writes the components' versions to disk, as a team would have them: `ROOT/COMPONENT/VERSION/` with weights and `version.json`."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .acoustic import Track
from .cache import Trained, load_or_train
from .components import ACOUSTIC, EMOTION, FIRST, VOCODER, AcousticVersion, EmotionVersion, VocoderVersion
from .emotion import EMOTIONS, scaled
from .errors import CacheUnwritable
from .espeak import LANGUAGES, speak
from .spectra import HOP, MEL_BOTTOM_HZ, N_FFT, N_MELS, SAMPLE_RATE, log_mel, pitch
from .vocoder import Vocoder, default_parts
from .weights import FILE, acoustic_bytes, emotion_bytes, vocoder_bytes

_PROBE = "The quick brown fox jumps over the lazy dog."
_MEL = {"n_mels": N_MELS, "hop": HOP, "n_fft": N_FFT, "fmin_hz": MEL_BOTTOM_HZ}


def make(root: Path) -> Iterator[Path]:
    """Write every version that is not there yet, whole or not at all; yield each folder. Raises CacheUnwritable."""
    for component, versions in (("acoustic", ACOUSTIC), ("vocoder", VOCODER), ("emotion", EMOTION)):
        for version, made_from in versions.items():
            folder = root / component / version
            try:
                if not folder.is_dir():
                    _write(folder, *_made(made_from), status="stable" if version == FIRST else "unstable")
            except OSError as error:
                raise CacheUnwritable(str(folder), error.strerror or str(error)) from error
            yield folder


def _write(folder: Path, weights: bytes, about: dict[str, Any], status: str) -> None:
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)  # what a killed process left
    aside.mkdir(parents=True)
    (aside / FILE).write_bytes(weights)
    text = json.dumps({**_SHARED, **about, "status": status}, indent=2, ensure_ascii=False)
    (aside / "version.json").write_text(text + "\n", encoding="utf-8")
    aside.rename(folder)


_SHARED = {
    "author": "Penstock's speech example",
    "owner": "speech",
    "framework_version": f"numpy {np.__version__}",
    "cuda_version": None,
    "sample_rate_hz": SAMPLE_RATE,
    "languages": list(LANGUAGES),
    "licence": "Apache-2.0",
}


def _made(version: AcousticVersion | VocoderVersion | EmotionVersion) -> tuple[bytes, dict[str, Any]]:
    """Return the weights and what is said about them."""
    match version:
        case AcousticVersion():
            return _acoustic(version, load_or_train(version.recipe))
        case VocoderVersion():
            return _vocoder(version)
        case EmotionVersion():
            return _emotion(version)


def _acoustic(version: AcousticVersion, trained: Trained) -> tuple[bytes, dict[str, Any]]:
    recipe, top_hz = version.recipe, version.recipe.mel_top_hz
    errors = {
        f"mel_rmse_{language}": _metric(float(trained.weights[f"{language}.mel_rmse"][0]), "ln power density")
        for language in LANGUAGES
    }
    return acoustic_bytes(trained.weights, version.n_members), {
        "created": trained.build_time,
        "change_note": version.about,
        "training_set": f"{recipe.share_ratio:.0%} of sentences_en.txt and sentences_zh.txt, seed {recipe.seed}",
        "metrics": errors,
        "input_signature": {"phones": "a clause, as espeak-ng names its sounds"},
        "output_signature": {"log_mel": f"float32[n,{N_MELS}]", "f0_hz": "float32[n]", "voicing": "float32[n]"},
        "mel": {**_MEL, "fmax_hz": top_hz},
        "requires": {"vocoder": ">=1,<2" if top_hz == SAMPLE_RATE / 2 else ">=2,<3"},
    }


def _vocoder(version: VocoderVersion) -> tuple[bytes, dict[str, Any]]:
    parts = default_parts(version.mel_top_hz)
    vocoder = Vocoder(
        parts["inverse"],
        parts["pulse"],
        parts["noise"],
        gain=version.gain,
        n_refinements=version.n_refinements,
        limits=version.limits,
    )
    weights = vocoder_bytes(vocoder)
    return weights[: len(weights) - version.n_missing_bytes], {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "change_note": version.about,
        "training_set": None,
        "metrics": {"copy_mel_rmse": _metric(_copy_error(vocoder, version.mel_top_hz), "ln power density")},
        "input_signature": {"log_mel": f"float32[n,{N_MELS}]", "f0_hz": "float32[n]", "voicing": "float32[n]"},
        "output_signature": {"audio": f"float32[n*{HOP}]"},
        "mel": {**_MEL, "fmax_hz": version.mel_top_hz},
    }


def _copy_error(vocoder: Vocoder, top_hz: float) -> float:
    """How far what it makes of a spoken sentence's own frames is from that sentence, its level left out."""
    _, audio = speak(_PROBE, "en")
    n_frames = len(audio) // HOP + 1
    mel = log_mel(audio, n_frames, top_hz)
    f0_hz, voiced = pitch(audio, n_frames)
    copied = log_mel(vocoder.render(Track(mel, f0_hz, voiced.astype(np.float32)), seed=0), n_frames, top_hz)
    loud = mel.max(axis=1) > mel.max() - 8
    difference = (copied - mel)[loud]
    return round(float((difference - difference.mean()).std()), 3)


def _emotion(version: EmotionVersion) -> tuple[bytes, dict[str, Any]]:
    encoder = scaled(EMOTIONS, version.factor)
    pitches_st = [style.pitch_st for style in encoder.values()]
    return emotion_bytes(encoder), {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "change_note": version.about,
        "training_set": None,
        "metrics": {"n_emotions": _metric(len(pitches_st), "emotions")},
        "input_signature": {"emotion": list(encoder)},
        "output_signature": {"style": "float32[4]"},
    }


def _metric(value: float, unit: str) -> dict[str, Any]:
    return {"value": round(value, 3), "unit": unit}
