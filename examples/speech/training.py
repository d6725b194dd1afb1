"""Fits one version from espeak-ng's own voice: ridge regressions over a seeded part of the sentences.

Deterministic in a process that has not spoken yet, as a starting server has not: espeak's own voice carries its phase and
its flutter from one text to the next, so training again after that gives weights that are as good, but not the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .acoustic import N_OUTPUTS, Indices, Inventory
from .espeak import LANGUAGES, PAUSE, Clause, speak
from .recipes import Recipe
from .spectra import HOP, N_MELS, Floats, log_mel, pitch
from .texts import load_sentences
from .vocoder import default_parts

Arrays = dict[str, NDArray[np.generic]]
_F0_WITHIN = 0.4  # ln: espeak's one voice never leaves this range around its median; octave errors and hiss do
_POSITION_PRIOR = 5  # phones' worth of "no correction" in each row of the table of positions


@dataclass(frozen=True, slots=True)
class _Example:
    """One clause: its phones, their frames, and n_frames x N_OUTPUTS measured targets. `first` is its first phone's number."""

    clause: Clause
    durations: Indices
    targets: Floats
    first: int


def n_steps(recipe: Recipe) -> int:
    """How often `train` will call `advance`."""
    return sum(len(_chosen(recipe, language)) + 1 for language in LANGUAGES)


def train(recipe: Recipe, advance: Callable[[], None]) -> Arrays:
    """Every weight of one version, by name. Calls `advance` after each piece of work."""
    arrays: Arrays = {f"vocoder.{name}": part for name, part in default_parts(recipe.mel_top_hz).items()}
    arrays["vocoder.gain"] = np.array([recipe.gain], np.float32)
    for language in LANGUAGES:
        examples: list[_Example] = []
        for text in _chosen(recipe, language):
            examples += _measure(text, language, recipe.mel_top_hz)
            advance()
        fitted = _fit(examples, recipe)
        arrays |= {f"{language}.{name}": part for name, part in fitted.items()}
        advance()
    return arrays


def _chosen(recipe: Recipe, language: str) -> list[str]:
    """The recipe's part of the sentences, in the seed's order."""
    sentences = load_sentences(language)
    order = np.random.default_rng(recipe.seed).permutation(len(sentences))
    return [sentences[index] for index in order[: round(recipe.share_ratio * len(sentences))]]


def _measure(text: str, language: str, mel_top_hz: float) -> list[_Example]:
    clauses, audio = speak(text, language)
    n_frames = len(audio) // HOP + 1
    mel = log_mel(audio, n_frames, mel_top_hz)
    f0_hz, voiced = pitch(audio, n_frames)
    frame = np.arange(n_frames)
    usual = np.median(f0_hz[voiced])
    voiced &= np.abs(np.log(f0_hz / usual)) < _F0_WITHIN
    # Unvoiced frames have no pitch: a line between their voiced neighbours is what the vocoder would want.
    ln_f0 = np.interp(frame, frame[voiced], np.log(f0_hz[voiced]))
    targets = np.concatenate((mel, ln_f0[:, None], voiced[:, None]), axis=1).astype(np.float32)
    examples = []
    first = 0
    for clause in clauses:
        edges = np.round(np.array([clause.phones[0].begin, *(phone.end for phone in clause.phones)]) / HOP).astype(
            np.intp
        )
        examples.append(_Example(clause, np.diff(edges), targets[edges[0] : edges[-1]], first))
        first += len(clause.phones)
    return examples


def _fit(examples: list[_Example], recipe: Recipe) -> Arrays:
    phones = [phone for example in examples for phone in example.clause.phones]
    inventory = Inventory(
        tuple(sorted({PAUSE, *(phone.sound for phone in phones)})),
        tuple(sorted({"", *(phone.accent for phone in phones)})),
    )
    context = np.concatenate([inventory.duration_features(example.clause) for example in examples])
    ln_frames = np.log(np.maximum(np.concatenate([example.durations for example in examples]), 1)).astype(np.float32)
    duration = _ridge(context.T @ context, context.T @ ln_frames, recipe.ridge)

    features = np.concatenate([inventory.frame_features(example.clause, example.durations) for example in examples])
    targets = np.concatenate([example.targets for example in examples])
    outputs = _ridge(features.T @ features, features.T @ targets, recipe.ridge)
    mel = targets[:, :N_MELS]
    predicted = features @ outputs[:, :N_MELS]
    return {
        "sounds": np.array(inventory.sounds),
        "accents": np.array(inventory.accents),
        "duration": duration,
        "positions": _positions(examples, ln_frames - context @ duration, recipe.n_positions),
        "outputs": outputs.reshape(-1, N_OUTPUTS),
        "mean": mel.mean(axis=0),
        # Source: Toda and Tokuda, IEICE E90-D(5), 2007 (global variance), in its simplest form: one factor per band.
        "spread": np.clip(mel.std(axis=0) / np.maximum(predicted.std(axis=0), 1e-6), 1, 1.2),
        "mel_rmse": np.sqrt(((predicted - mel) ** 2).mean(keepdims=True)).reshape(1),
    }


def _ridge(gram: Floats, moments: Floats, penalty: float) -> Floats:
    """Source: Hoerl and Kennard, Technometrics 12(1), 1970. Solved in double precision, kept in single."""
    solved = np.linalg.solve(gram.astype(np.float64) + penalty * np.eye(len(gram)), moments.astype(np.float64))
    return solved.astype(np.float32)


def _positions(examples: list[_Example], left: Floats, n_positions: int) -> Floats:
    """(n_positions) mean of what the duration map leaves over (`left`, one per phone) at the k-th phone of a text."""
    place = np.concatenate([example.first + np.arange(len(example.durations)) for example in examples])
    inside = place < n_positions  # texts are cut to the table's size
    total = np.bincount(place[inside], left[inside], n_positions)
    count = np.bincount(place[inside], minlength=n_positions)
    return (total / (count + _POSITION_PRIOR)).astype(np.float32)
