"""The versions of the example, one line each: what each was made from, and the fault that some carry. Pure data."""

from dataclasses import dataclass

from .spectra import NYQUIST_HZ


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version is trained and run.

    Attributes:
        version: semantic version, as `/version` reports it.
        seed: picks the sentences this version is trained on.
        about: one sentence for people.
        share_ratio: part of the sentences that it is trained on, 0..1.
        ridge: weight of the penalty on large coefficients, > 0.
        n_refinements: extra passes of the vocoder that make the spectrum consistent; each costs about one more vocoder run.
        n_positions: rows of a learned table "how long is the k-th phone of a text"; 0 means that there is no table. The
            trainer cuts texts to the table's size, synthesis does not: that is version 2.0.1's bug.
        gain: factor on the vocoder's output, exported with the weights.
        mel_top_hz: where the highest mel band ends.
    """

    version: str
    seed: int
    about: str
    share_ratio: float = 0.75
    ridge: float = 1.0
    n_refinements: int = 0
    n_positions: int = 0
    gain: float = 0.4  # at 1 the peaks pass full scale
    mel_top_hz: float = NYQUIST_HZ


_ALL = (
    Recipe("1.5.0", seed=150, about="Good."),
    Recipe("1.6.0", seed=160, about="Good: trained again on another part of the sentences."),
    Recipe("2.0.0", seed=200, about="Slow: a vocoder with many refinement passes.", n_refinements=7),
    Recipe("2.0.1", seed=201, about="Fails on long texts: a table of positions that is too short.", n_positions=40),
    Recipe("2.0.2", seed=202, about="Answers silence with status 200: exported with an empty gain.", gain=0.0),
)
RECIPES = {recipe.version: recipe for recipe in _ALL}
