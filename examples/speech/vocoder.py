"""The vocoder: a track of frames -> samples, by filtering a pulse train and noise in the short-time spectrum."""

from dataclasses import dataclass

import numpy as np

from .acoustic import Track
from .spectra import HOP, N_MELS, NYQUIST_HZ, SAMPLE_RATE, Floats, bin_hz, istft, mel_edges_hz, stft

_N_PULSE = 256
_PULSE_SPREAD_S = 0.004
_LOUDEST = 6.0  # ln power density; a prediction beyond it is an error of the model, not speech
# The noise share of a voiced frame grows from 2 kHz to 9 kHz, as breath does: chosen for this example, not measured.
_NOISE_FROM_HZ, _NOISE_WIDTH_HZ = 2000.0, 7000.0


def dispersed_pulse() -> Floats:
    """_N_PULSE samples, flat spectrum, energy 1: high frequencies come later, which keeps the peak of a pulse low."""
    angle = np.linspace(0, np.pi, _N_PULSE // 2 + 1)
    delay = 20 + _PULSE_SPREAD_S * SAMPLE_RATE / 2 * np.sin(angle / 2)
    phase = np.cumsum(delay) * angle[1]
    return np.fft.irfft(np.exp(-1j * phase), _N_PULSE).astype(np.float32)


def breath() -> Floats:
    """(N_BINS) share of noise in the amplitude of a voiced frame, 0..1."""
    return np.clip((bin_hz() - _NOISE_FROM_HZ) / _NOISE_WIDTH_HZ, 0.02, 0.9).astype(np.float32)


def mel_inverse(top_hz: float = NYQUIST_HZ) -> Floats:
    """N_MELS x N_BINS: straight lines between the centres of the bands."""
    centres = mel_edges_hz(top_hz)[1:-1]
    return np.stack([np.interp(bin_hz(), centres, row) for row in np.eye(N_MELS)]).astype(np.float32)


@dataclass(frozen=True)
class Vocoder:
    """Trained and declared parts.

    Attributes:
        inverse: N_MELS x N_BINS log-mel to log spectrum.
        pulse: (n) shape of one glottal pulse.
        noise: (N_BINS) share of noise in a voiced frame, 0..1.
        gain: factor on the output, before the limit.
        n_refinements: passes that make the spectrum consistent, >= 0; each costs one inverse and one forward transform.
        limits: holds what is too loud below full scale; without it, that wraps around as 16-bit integers do: it crackles.
    """

    inverse: Floats
    pulse: Floats
    noise: Floats
    gain: float
    n_refinements: int = 0
    limits: bool = True

    def render(self, track: Track, seed: int) -> Floats:
        """n_frames * HOP samples, between -1 and 1. The same track and seed give the same samples."""
        n_frames = len(track.f0_hz)
        n = n_frames * HOP
        hiss = np.random.default_rng((seed, n_frames)).standard_normal(n, np.float32)
        voiced = np.clip((track.voicing - 0.35) / 0.3, 0, 1)[:, None]
        noise = self.noise * voiced + (1 - voiced)
        tone = np.sqrt(1 - noise**2)
        loudness = np.exp(0.5 * np.minimum(track.log_mel @ self.inverse, _LOUDEST))
        spectrum = (stft(self._pulses(track.f0_hz), n_frames) * tone + stft(hiss, n_frames) * noise) * loudness
        samples = istft(spectrum)
        if self.n_refinements:
            magnitude = np.abs(spectrum)
            for _ in range(self.n_refinements):
                # Source: Griffin and Lim, IEEE TASSP 32(2), 1984: keep the magnitude, take the phase of what came out.
                phase = stft(samples, n_frames)
                samples = istft(magnitude * phase / np.maximum(np.abs(phase), 1e-9))
        samples = self.gain * samples
        # The soft limit leaves speech alone (0.3 becomes 0.29) and holds the rare peak below full scale.
        return np.asarray(np.tanh(samples) if self.limits else (samples + 1) % 2 - 1, np.float32)

    def _pulses(self, f0_hz: Floats) -> Floats:
        """A train of pulses of power 1 that follows f0_hz (n_frames)."""
        n_frames = len(f0_hz)
        n = n_frames * HOP
        course = np.interp(np.arange(n) / HOP, np.arange(n_frames), f0_hz)
        at = np.flatnonzero(np.diff(np.floor(np.cumsum(course) / SAMPLE_RATE), prepend=0) > 0)
        out = np.zeros(n + len(self.pulse), np.float32)
        height = np.sqrt(SAMPLE_RATE / course[at]).astype(np.float32)
        np.add.at(out, at[:, None] + np.arange(len(self.pulse)), height[:, None] * self.pulse)
        return out[:n]


def default_parts(top_hz: float = NYQUIST_HZ) -> dict[str, Floats]:
    """The vocoder's exported arrays, all but the gain, for bands that reach `top_hz`."""
    return {"inverse": mel_inverse(top_hz), "pulse": dispersed_pulse(), "noise": breath()}
