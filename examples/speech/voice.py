"""One version, ready to speak: text in, samples out. Thread-safe: nothing here changes after loading."""

import io
import wave
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from .acoustic import AcousticModel, Indices, Inventory, Track
from .errors import InvalidRequest, TextTooLong
from .espeak import LANGUAGES, read
from .recipes import Recipe
from .spectra import SAMPLE_RATE, Floats
from .texts import detect_language
from .training import Arrays
from .vocoder import Vocoder

MAX_CHARACTERS = 4096  # Source: the limit of OpenAI's POST /v1/audio/speech
_TAIL_FRAMES = 8  # a text ends in 93 ms of near silence; espeak's own ends at once


@dataclass(frozen=True, slots=True)
class Style:
    """How an emotion changes the voice: pitch in semitones, its range and the speed as ratios, loudness as a ratio <= 1."""

    pitch_st: float = 0.0
    range_ratio: float = 1.0
    speed_ratio: float = 1.0
    loudness_ratio: float = 1.0


# Chosen by taste, for the example: no data stands behind them.
EMOTIONS = {
    "neutral": Style(),
    "happy": Style(pitch_st=2.0, range_ratio=1.4, speed_ratio=1.06),
    "sad": Style(pitch_st=-1.5, range_ratio=0.6, speed_ratio=0.88, loudness_ratio=0.8),
    "angry": Style(pitch_st=1.0, range_ratio=1.5, speed_ratio=1.12),
}


class Voice:
    """A recipe with its trained weights."""

    def __init__(self, recipe: Recipe, weights: Arrays) -> None:
        self.recipe = recipe
        self._models = {language: _model(weights, language) for language in LANGUAGES}
        self._vocoder = Vocoder(
            _floats(weights, "vocoder.inverse"),
            _floats(weights, "vocoder.pulse"),
            _floats(weights, "vocoder.noise"),
            gain=float(_floats(weights, "vocoder.gain")[0]),
            n_refinements=recipe.n_refinements,
        )

    def say(self, text: str, language: str | None = None, emotion: str = "neutral", speed_ratio: float = 1.0) -> Floats:
        """Samples at SAMPLE_RATE, mono, -1..1. The same request always gives the same samples.

        Raises InvalidRequest in words for a person when the request cannot be meant.
        """
        language = language or detect_language(text)
        _refuse_unknown(EMOTIONS, emotion, "emotion")
        _refuse_unknown(LANGUAGES, language, "language")
        if len(text) > MAX_CHARACTERS:
            raise TextTooLong(f"The text has {len(text)} characters; the limit is {MAX_CHARACTERS}: send it in parts.")
        clauses = read(text, language)
        if all(phone.is_pause for clause in clauses for phone in clause.phones):
            raise InvalidRequest("There is nothing to say in this text: send at least one word.")
        model, style = self._models[language], EMOTIONS[emotion]
        durations = model.durations(clauses, speed_ratio * style.speed_ratio)
        durations[-1] = _with_tail(durations[-1])
        parts = [
            self._vocoder.render(_styled(model.track(clause, frames), style), seed=number)
            for number, (clause, frames) in enumerate(zip(clauses, durations, strict=True))
        ]
        return np.concatenate(parts) * np.float32(style.loudness_ratio)


def _refuse_unknown(known: Iterable[str], name: str, kind: str) -> None:
    if name not in known:
        raise InvalidRequest(f"There is no {kind} {name!r}; the known ones are {', '.join(known)}.")


def _floats(weights: Arrays, name: str) -> Floats:
    return np.asarray(weights[name], np.float32)


def _model(weights: Arrays, language: str) -> AcousticModel:
    sounds, accents = (tuple(map(str, weights[f"{language}.{name}"].tolist())) for name in ("sounds", "accents"))
    duration, positions, outputs, mean, spread = (
        _floats(weights, f"{language}.{name}") for name in ("duration", "positions", "outputs", "mean", "spread")
    )
    return AcousticModel(Inventory(sounds, accents), duration, positions, outputs, mean, spread)


def _with_tail(frames: Indices) -> Indices:
    return np.concatenate((frames[:-1], np.maximum(frames[-1:], _TAIL_FRAMES)))


def _styled(track: Track, style: Style) -> Track:
    ln_f0 = np.log(track.f0_hz)
    middle = ln_f0.mean()
    moved = middle + style.range_ratio * (ln_f0 - middle) + style.pitch_st * np.log(2) / 12
    return replace(track, f0_hz=np.exp(moved).astype(np.float32))


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
