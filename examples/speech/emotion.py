"""The emotion encoder: an emotion's name -> how it changes the voice. Twelve numbers, so that a dull version is easy to make."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .acoustic import Track
from .spectra import Floats


@dataclass(frozen=True, slots=True)
class Style:
    """How an emotion changes the voice: pitch in semitones, its range and the speed as ratios, loudness as a ratio <= 1."""

    pitch_st: float = 0.0
    range_ratio: float = 1.0
    speed_ratio: float = 1.0
    loudness_ratio: float = 1.0

    def shape(self, track: Track) -> Track:
        """The track with its pitch moved, and its melody widened or narrowed around the middle."""
        ln_f0 = np.log(track.f0_hz)
        middle = ln_f0.mean()
        moved = middle + self.range_ratio * (ln_f0 - middle) + self.pitch_st * np.log(2) / 12
        return replace(track, f0_hz=np.exp(moved).astype(np.float32))


EmotionEncoder = Mapping[str, Style]

# Chosen by taste, for the example: no data stands behind them.
EMOTIONS: EmotionEncoder = {
    "neutral": Style(),
    "happy": Style(pitch_st=2.0, range_ratio=1.4, speed_ratio=1.06),
    "sad": Style(pitch_st=-1.5, range_ratio=0.6, speed_ratio=0.88, loudness_ratio=0.8),
    "angry": Style(pitch_st=1.0, range_ratio=1.5, speed_ratio=1.12),
}


def scaled(encoder: EmotionEncoder, factor: float) -> EmotionEncoder:
    """Every emotion `factor` times as far from neutral; at 0 all of them sound the same."""
    return {
        name: Style(
            style.pitch_st * factor,
            style.range_ratio**factor,
            style.speed_ratio**factor,
            style.loudness_ratio**factor,
        )
        for name, style in encoder.items()
    }


def to_array(encoder: EmotionEncoder) -> Floats:
    """(n_emotions, 4), in the encoder's order."""
    rows = [[s.pitch_st, s.range_ratio, s.speed_ratio, s.loudness_ratio] for s in encoder.values()]
    return np.array(rows, np.float32)


def from_array(names: tuple[str, ...], rows: Floats) -> EmotionEncoder:
    """What `to_array` wrote."""
    return {name: Style(*map(float, row)) for name, row in zip(names, rows, strict=True)}
