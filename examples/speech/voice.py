"""One version, ready to speak: text in, samples out. Thread-safe: nothing here changes after loading."""

import io
import wave
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np

from .acoustic import AcousticModel, Indices, Inventory
from .emotion import EMOTIONS, EmotionEncoder
from .errors import InvalidRequest, TextTooLong
from .espeak import LANGUAGES, read
from .recipes import Recipe
from .spectra import SAMPLE_RATE, Floats
from .texts import detect_language
from .training import Arrays
from .vocoder import Vocoder

MAX_CHARACTERS = 4096  # Source: the limit of OpenAI's POST /v1/audio/speech
_TAIL_FRAMES = 8  # a text ends in 93 ms of near silence; espeak's own ends at once


class Voice:
    """An acoustic model for each language, a vocoder and an emotion encoder, put together. Making one costs nothing."""

    def __init__(self, acoustic: Mapping[str, AcousticModel], vocoder: Vocoder, emotions: EmotionEncoder) -> None:
        self._models = acoustic
        self._vocoder = vocoder
        self._emotions = emotions

    @classmethod
    def of(cls, recipe: Recipe, weights: Arrays) -> Self:
        """A whole version: a recipe with its trained weights."""
        vocoder = Vocoder(
            _floats(weights, "vocoder.inverse"),
            _floats(weights, "vocoder.pulse"),
            _floats(weights, "vocoder.noise"),
            gain=float(_floats(weights, "vocoder.gain")[0]),
            n_refinements=recipe.n_refinements,
        )
        return cls({language: acoustic_model(weights, language) for language in LANGUAGES}, vocoder, EMOTIONS)

    def say(self, text: str, language: str | None = None, emotion: str = "neutral", speed_ratio: float = 1.0) -> Floats:
        """Samples at SAMPLE_RATE, mono, -1..1. The same request always gives the same samples.

        Raises InvalidRequest in words for a person when the request cannot be meant.
        """
        language = language or detect_language(text)
        _refuse_unknown(self._emotions, emotion, "emotion")
        _refuse_unknown(self._models, language, "language")
        if len(text) > MAX_CHARACTERS:
            raise TextTooLong(f"The text has {len(text)} characters; the limit is {MAX_CHARACTERS}: send it in parts.")
        clauses = read(text, language)
        if all(phone.is_pause for clause in clauses for phone in clause.phones):
            raise InvalidRequest("There is nothing to say in this text: send at least one word.")
        model, style = self._models[language], self._emotions[emotion]
        durations = model.durations(clauses, speed_ratio * style.speed_ratio)
        durations[-1] = _with_tail(durations[-1])
        parts = [
            self._vocoder.render(style.shape(model.track(clause, frames)), seed=number)
            for number, (clause, frames) in enumerate(zip(clauses, durations, strict=True))
        ]
        return np.concatenate(parts) * np.float32(style.loudness_ratio)


def _refuse_unknown(known: Iterable[str], name: str, kind: str) -> None:
    if name not in known:
        raise InvalidRequest(f"There is no {kind} {name!r}; the known ones are {', '.join(known)}.")


def _floats(weights: Arrays, name: str) -> Floats:
    return np.asarray(weights[name], np.float32)


def acoustic_model(weights: Arrays, language: str, n_members: int = 1) -> AcousticModel:
    """One language's part of the trained weights."""
    sounds, accents = (tuple(map(str, weights[f"{language}.{name}"].tolist())) for name in ("sounds", "accents"))
    duration, positions, outputs, mean, spread = (
        _floats(weights, f"{language}.{name}") for name in ("duration", "positions", "outputs", "mean", "spread")
    )
    return AcousticModel(Inventory(sounds, accents), duration, positions, outputs, mean, spread, n_members)


def _with_tail(frames: Indices) -> Indices:
    return np.concatenate((frames[:-1], np.maximum(frames[-1:], _TAIL_FRAMES)))


def to_pcm(samples: Floats) -> bytes:
    """16-bit little-endian samples; what lies beyond -1..1 is cut."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def to_wav(samples: Floats) -> bytes:
    """A mono 16-bit WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(to_pcm(samples))
    return out.getvalue()
