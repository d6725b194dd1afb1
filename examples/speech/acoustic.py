"""The acoustic model: phones -> durations -> log-mel, pitch and voicing per frame. Two linear maps of phone context.

The same features serve training and synthesis; `training` fits the maps that this module applies.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .espeak import PAUSE, Clause, Phone
from .spectra import N_MELS, Floats

Indices = NDArray[np.intp]

TUNES = ".,?!"
N_OUTPUTS = N_MELS + 2  # log-mel bands, log F0 (ln Hz), voicing (0..1)
_KNOTS: Floats = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)  # a phone's own course is five straight pieces
_N_KNOTS = len(_KNOTS)
_N_COURSE = 4  # 1, q, q^2, q^3 of the place in the clause: the falling line of a sentence
_N_SHARED = 5  # columns of the duration features that do not name a phone
_LONGEST_FRAMES = 80


@dataclass(frozen=True)
class Inventory:
    """The sounds and accents that a model knows. A sound it does not know counts as the nearest shorter name it does."""

    sounds: tuple[str, ...]
    accents: tuple[str, ...]

    @cached_property
    def _sound_index(self) -> dict[str, int]:
        return {sound: index for index, sound in enumerate(self.sounds)}

    @cached_property
    def _accent_index(self) -> dict[str, int]:
        return {accent: index for index, accent in enumerate(self.accents)}

    def _sound(self, name: str) -> int:
        while name and name not in self._sound_index:
            name = name[:-1]
        return self._sound_index[name or PAUSE]

    def encode(self, phones: tuple[Phone, ...]) -> tuple[Indices, Indices]:
        """(n_phones) sound and (n_phones) accent numbers."""
        sounds = [self._sound(phone.sound) for phone in phones]
        accents = [self._accent_index.get(phone.accent, self._accent_index[""]) for phone in phones]
        return np.array(sounds, np.intp), np.array(accents, np.intp)

    @property
    def n_duration_features(self) -> int:
        return 3 * len(self.sounds) + 3 * len(self.accents) + _N_SHARED

    @property
    def n_frame_features(self) -> int:
        return (_N_KNOTS + 4) * len(self.sounds) + (_N_KNOTS + 2) * len(self.accents) + _N_COURSE * len(TUNES)

    def duration_features(self, clause: Clause) -> Floats:
        """n_phones x n_duration_features."""
        sounds, accents = self.encode(clause.phones)
        n, row = len(sounds), np.arange(len(sounds))
        out = np.zeros((n, self.n_duration_features), np.float32)
        offset = 0
        for names, size in ((sounds, len(self.sounds)), (accents, len(self.accents))):
            out[row, offset + names] = 1
            out[row[1:], offset + size + names[:-1]] = 1
            out[row[:-1], offset + 2 * size + names[1:]] = 1
            offset += 3 * size
        left = n - 1 - row  # phones still to come: the last syllable of a clause is longer
        out[:, offset:] = np.stack((np.ones(n), left <= 1, left <= 2, left <= 4, np.full(n, 1 / n)), axis=1)
        return out

    def frame_features(self, clause: Clause, durations: Indices) -> Floats:
        """n_frames x n_frame_features, for `durations` (n_phones) in frames."""
        sounds, accents = self.encode(clause.phones)
        phone = np.repeat(np.arange(len(sounds)), durations)
        n = len(phone)
        row = np.arange(n)
        begin = np.cumsum(durations) - durations
        place = ((row - begin[phone] + 0.5) / durations[phone]).astype(np.float32)  # 0..1 within the phone
        weight = np.clip(1 - np.abs(place[:, None] - _KNOTS) * (_N_KNOTS - 1), 0, None)
        early, late = np.clip(1 - 2 * place, 0, None), np.clip(2 * place - 1, 0, None)
        very_early, very_late = np.clip(1 - 4 * place, 0, None) ** 2, np.clip(4 * place - 3, 0, None) ** 2
        before, after = np.maximum(phone - 1, 0), np.minimum(phone + 1, len(sounds) - 1)

        out = np.zeros((n, self.n_frame_features), np.float32)
        offset = 0
        for names, size, fades in (
            (sounds, len(self.sounds), ((before, early), (after, late), (before, very_early), (after, very_late))),
            (accents, len(self.accents), ((before, early), (after, late))),
        ):
            out[row[:, None], offset + names[phone][:, None] * _N_KNOTS + np.arange(_N_KNOTS)] = weight
            offset += _N_KNOTS * size
            for neighbour, fade in fades:
                out[row, offset + names[neighbour[phone]]] = fade
                offset += size
        offset += _N_COURSE * TUNES.index(clause.tune)
        # The line of a sentence ends with its last sound: how long the pause after it is must not bend it.
        n_sounding = max(sum(int(d) for d, p in zip(durations, clause.phones, strict=True) if not p.is_pause), 1)
        course = np.minimum(row / n_sounding, 1)
        out[:, offset : offset + _N_COURSE] = np.vander(course, _N_COURSE, increasing=True)
        return out


@dataclass(frozen=True, slots=True)
class Track:
    """What the vocoder is told, per frame: log_mel n_frames x N_MELS, f0_hz (n_frames), voicing (n_frames, about 0..1)."""

    log_mel: Floats
    f0_hz: Floats
    voicing: Floats


@dataclass(frozen=True)
class AcousticModel:
    """One language's trained maps.

    Attributes:
        inventory: what the columns mean.
        duration: (n_duration_features) -> ln frames.
        positions: (n_positions) ln-frames correction of the k-th phone of a text; empty when the version has none.
        outputs: n_frame_features x N_OUTPUTS.
        mean: (N_MELS) of the training frames.
        spread: (N_MELS) factor that gives the averaged spectra the variance of real ones back, about 1.
        n_members: how many copies of the map are asked and averaged, >= 1; they all say the same, and each takes its time.
    """

    inventory: Inventory
    duration: Floats
    positions: Floats
    outputs: Floats
    mean: Floats
    spread: Floats
    n_members: int = 1

    def durations(self, clauses: tuple[Clause, ...], speed_ratio: float) -> list[Indices]:
        """Frames per phone of each clause, >= 1. A `speed_ratio` of 2 is twice as fast."""
        frames = np.concatenate([self.inventory.duration_features(clause) for clause in clauses]) @ self.duration
        if len(self.positions):
            frames += self.positions[np.arange(len(frames))]
        whole = np.clip(np.round(np.exp(frames) / speed_ratio), 1, _LONGEST_FRAMES).astype(np.intp)
        ends = np.cumsum([len(clause.phones) for clause in clauses])
        return np.split(whole, ends[:-1])

    def track(self, clause: Clause, durations: Indices) -> Track:
        members = [self.inventory.frame_features(clause, durations) @ self.outputs for _ in range(self.n_members)]
        values = members[0] if len(members) == 1 else np.mean(members, axis=0)
        log_mel = self.mean + self.spread * (values[:, :N_MELS] - self.mean)
        return Track(log_mel, np.exp(values[:, N_MELS]), values[:, N_MELS + 1])
