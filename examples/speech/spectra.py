"""Frames, spectra, mel bands and pitch: what the trainer measures and the vocoder inverts. Pure numpy."""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

SAMPLE_RATE = 22050  # Hz; espeak-ng's own
NYQUIST_HZ = SAMPLE_RATE / 2
HOP = 256  # samples between frames, 11.6 ms
N_FFT = 1024
N_BINS = N_FFT // 2 + 1
N_MELS = 40
MEL_BOTTOM_HZ = 40.0
WINDOW: Floats = np.hanning(N_FFT + 1)[:-1].astype(np.float32)  # periodic, so that overlapped squares are constant
_OVERLAP_POWER = float((WINDOW**2).sum()) / HOP  # 1.5: what overlapped squared windows add up to
# Quieter than this counts as this. espeak's pauses are exact zeros, whose logarithm would rule the regression.
_FLOOR = 1e-7
_F0_MIN_HZ, _F0_MAX_HZ = 60.0, 400.0
_VOICED_CORRELATION = 0.45
_N_PITCH = N_FFT // 2  # pitch is measured at half the rate: half the work, and no consonant noise


def frames(samples: Floats, n_frames: int) -> Floats:
    """n_frames x N_FFT samples; frame k is centred on sample k * HOP. A view wherever it can be."""
    short = max((n_frames - 1) * HOP + N_FFT // 2 - len(samples), 0)
    padded = np.pad(samples, (N_FFT // 2, short))
    return sliding_window_view(padded, N_FFT)[::HOP][:n_frames]


def stft(samples: Floats, n_frames: int) -> Spectrum:
    """n_frames x N_BINS complex spectrum of Hann-windowed frames."""
    return np.fft.rfft(frames(samples, n_frames) * WINDOW, axis=1).astype(np.complex64, copy=False)


def istft(spectrum: Spectrum) -> Floats:
    """n_frames * HOP samples: least-squares inverse of `stft`. Source: Griffin and Lim, IEEE TASSP 32(2), 1984."""
    n_frames = len(spectrum)
    n_parts = N_FFT // HOP
    parts = (np.fft.irfft(spectrum, N_FFT, axis=1) * (WINDOW / _OVERLAP_POWER)).reshape(n_frames, n_parts, HOP)
    out = np.zeros((n_frames + n_parts, HOP), np.float32)
    for part in range(n_parts):
        out[part : part + n_frames] += parts[:, part]
    return out.reshape(-1)[N_FFT // 2 : N_FFT // 2 + n_frames * HOP]


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))  # Source: O'Shaughnessy, Speech Communication, 1987, p. 150


@cache
def mel_edges_hz(top_hz: float = NYQUIST_HZ) -> NDArray[np.float64]:
    """N_MELS + 2 band edges from MEL_BOTTOM_HZ to `top_hz`, even on the mel scale."""
    mels = np.linspace(_mel(MEL_BOTTOM_HZ), _mel(top_hz), N_MELS + 2)
    return np.asarray(700 * (10 ** (mels / 2595) - 1), np.float64)


def bin_hz() -> NDArray[np.float64]:
    return np.asarray(np.arange(N_BINS) * (SAMPLE_RATE / N_FFT), np.float64)


@cache
def mel_bank(top_hz: float = NYQUIST_HZ) -> Floats:
    """N_MELS x N_BINS triangular averages; each row adds up to 1."""
    edges, hz = mel_edges_hz(top_hz)[:, None], bin_hz()
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    bank = np.clip(np.minimum(rise, fall), 0, None)
    # The lowest bands are narrower than a bin: such a band takes the bin nearest to its centre.
    empty = np.flatnonzero(bank.sum(axis=1) == 0)
    bank[empty, np.abs(hz - edges[1:-1][empty]).argmin(axis=1)] = 1
    return np.asarray(bank / bank.sum(axis=1, keepdims=True), np.float32)


def log_mel(samples: Floats, n_frames: int, top_hz: float = NYQUIST_HZ) -> Floats:
    """n_frames x N_MELS natural logarithms of mean power density per band (white noise of variance 1 gives 0)."""
    power = np.abs(stft(samples, n_frames)) ** 2 / float((WINDOW**2).sum())
    return np.asarray(np.log(power @ mel_bank(top_hz).T + _FLOOR), np.float32)


def pitch(samples: Floats, n_frames: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Fundamental frequency (n_frames, Hz, 60..400) and whether each frame is voiced, by normalised autocorrelation."""
    half = frames(samples, n_frames)[:, ::2]
    centred = (half - half.mean(axis=1, keepdims=True)) * np.hanning(_N_PITCH)
    power = np.abs(np.fft.rfft(centred, 2 * _N_PITCH, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, :_N_PITCH]
    energy = correlation[:, :1]
    correlation = correlation / (energy + 1e-9)
    rate = SAMPLE_RATE / 2
    shortest, longest = int(rate / _F0_MAX_HZ), int(rate / _F0_MIN_HZ)
    lag = correlation[:, shortest:longest].argmax(axis=1) + shortest
    row = np.arange(n_frames)
    left, top, right = correlation[row, lag - 1], correlation[row, lag], correlation[row, lag + 1]
    # The parabola through the three highest points finds the peak between two lags.
    bend = np.minimum(left - 2 * top + right, -1e-6)
    exact = lag + np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    loud = energy[:, 0] > 1e-3
    return (rate / exact).astype(np.float32), (top > _VOICED_CORRELATION) & loud
