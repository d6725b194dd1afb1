"""The components in slots: text -> acoustic model -> vocoder, shaped by the emotion encoder; each is swapped alone, while it speaks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from penstock import Pipeline, Slot
from penstock.runtime.request import report_audio

from .acoustic import AcousticModel, Track
from .emotion import EMOTIONS, EmotionEncoder
from .espeak import read
from .spectra import N_MELS, SAMPLE_RATE, Floats
from .vocoder import Vocoder
from .voice import Voice
from .weights import read_acoustic, read_emotion, read_vocoder

M = TypeVar("M")
_PROBES = {"en": "Ready.", "zh": "好。"}
_N_PROBE_FRAMES = 40


class LoadOf(Protocol):
    """Where versions come from: a component and a reader of its folder -> what a slot takes as `load`."""

    def __call__(self, component: str, read: Callable[[Path], M], /) -> Callable[[str], M]: ...


def build_pipeline(load_of: LoadOf) -> Pipeline:
    """Three slots, empty. What a check does not let pass never serves."""
    slots: dict[str, Slot[Any]] = {
        "acoustic": Slot("acoustic", load_of("acoustic", read_acoustic), check=check_acoustic),
        "vocoder": Slot("vocoder", load_of("vocoder", read_vocoder), check=check_vocoder),
        "emotion": Slot("emotion", load_of("emotion", read_emotion), check=check_emotion),
    }
    return Pipeline(slots, name="speech")


def speaker(pipeline: Pipeline) -> Callable[..., Floats]:
    """`Voice.say` with whatever serves: one lease a request, so that no answer mixes versions."""

    def say(text: str, language: str | None, emotion: str, speed_ratio: float) -> Floats:
        with pipeline.lease() as parts:
            voice = Voice(parts["acoustic"], parts["vocoder"], parts["emotion"])
            samples = voice.say(text, language, emotion, speed_ratio)
        report_audio(len(samples) / SAMPLE_RATE)
        return samples

    return say


def check_acoustic(models: Mapping[str, AcousticModel]) -> bool:
    """Whether every language's model makes finite frames of a word. It is also what warms it up."""
    for language, model in models.items():
        clauses = read(_PROBES[language], language)
        track = model.track(clauses[0], model.durations(clauses, 1.0)[0])
        if not (np.isfinite(track.log_mel).all() and np.isfinite(track.f0_hz).all()):
            return False
    return True


def check_vocoder(vocoder: Vocoder) -> bool:
    """Whether it makes a sound of a steady vowel: finite, not silent, within full scale."""
    flat = np.zeros((_N_PROBE_FRAMES, N_MELS), np.float32)
    track = Track(flat, np.full(_N_PROBE_FRAMES, 120, np.float32), np.ones(_N_PROBE_FRAMES, np.float32))
    samples = vocoder.render(track, seed=0)
    return bool(np.isfinite(samples).all() and 1e-3 < np.abs(samples).max() <= 1)


def check_emotion(encoder: EmotionEncoder) -> bool:
    """Whether it knows every emotion that callers may name."""
    return set(EMOTIONS) <= set(encoder)
