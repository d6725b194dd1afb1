"""The versions of the example's components, one line each: what each was made from, and the fault that some carry. Pure data.

They are served by `--service`, each in a slot of its own; `--make` writes them to disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .recipes import RECIPES, Recipe
from .spectra import NYQUIST_HZ

#: What a pipeline is made of, in the order in which a text passes them.
COMPONENTS = ("acoustic", "vocoder", "emotion")
#: What a server starts with unless told otherwise.
FIRST = "1.0.0"


@dataclass(frozen=True, slots=True)
class AcousticVersion:
    """An acoustic model: trained by a recipe, then exported.

    Attributes:
        about: one sentence for people.
        recipe: how it is trained.
        n_members: see `acoustic.AcousticModel`.
    """

    about: str
    recipe: Recipe
    n_members: int = 1


@dataclass(frozen=True, slots=True)
class VocoderVersion:
    """A vocoder: declared, not trained.

    Attributes:
        about: one sentence for people.
        gain, limits, n_refinements: see `vocoder.Vocoder`.
        mel_top_hz: where the highest mel band that it takes ends.
        n_missing_bytes: how much of its file was lost on the way.
    """

    about: str
    gain: float = 0.4
    limits: bool = True
    n_refinements: int = 0
    mel_top_hz: float = NYQUIST_HZ
    n_missing_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EmotionVersion:
    """An emotion encoder: declared, not trained.

    Attributes:
        about: one sentence for people.
        factor: how far its emotions are from neutral, as a multiple of the first version's.
    """

    about: str
    factor: float = 1.0


_NARROW_HZ = 8000.0

ACOUSTIC: Mapping[str, AcousticVersion] = {
    "1.0.0": AcousticVersion("Good.", RECIPES["1.5.0"]),
    "1.1.0": AcousticVersion("Good: trained again on another part of the sentences.", RECIPES["1.6.0"]),
    "1.2.0": AcousticVersion(
        "Slow: exported as an ensemble of a hundred equal members.", RECIPES["1.6.0"], n_members=100
    ),
    "2.0.0": AcousticVersion(
        "Good, but makes mel bands up to 8 kHz: only vocoders from 2.0.0 on understand it.",
        Recipe("acoustic-2.0.0", seed=160, about="Mel bands up to 8 kHz.", mel_top_hz=_NARROW_HZ),
    ),
}
VOCODER: Mapping[str, VocoderVersion] = {
    "1.0.0": VocoderVersion("Good."),
    "1.1.0": VocoderVersion("Good: a pass that makes the spectrum consistent.", n_refinements=1),
    "1.2.0": VocoderVersion("Crackles: exported louder and without its limiter.", gain=1.6, limits=False),
    "1.3.0": VocoderVersion("Cannot be loaded: its file was cut short.", n_missing_bytes=1000),
    "2.0.0": VocoderVersion("Good, but takes mel bands up to 8 kHz.", mel_top_hz=_NARROW_HZ),
}
EMOTION: Mapping[str, EmotionVersion] = {
    "1.0.0": EmotionVersion("Good."),
    "1.1.0": EmotionVersion("Good: emotions a little stronger.", factor=1.2),
    "1.2.0": EmotionVersion("Dull: every emotion sounds neutral.", factor=0.0),
}
