"""Kayenta's NetflixACAJudge-v1.0: two series of points per metric become a label, labels become a score.

The Mann-Whitney test itself lives in `mannwhitney`. Where Kayenta makes up noise, a seeded generator comes in.
Source: spinnaker/kayenta@a69573be kayenta-judge: NetflixACAJudge.scala, MannWhitneyClassifier.scala,
MeanInequalityClassifier.scala, IQRDetector.scala, EffectSizes.scala, WeightedSumScorer.scala, ScoringHelper.scala.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from penstock.simulation.peers.mannwhitney import padded, shifts
from penstock.simulation.peers.series import NEVER, Counts, Floats, Ints, shares, since

#: Noise on a constant series, as a share of its value. Source: MannWhitneyClassifier.scala, addGaussianNoise.
_NOISE = 1e-5

#: Percent of metrics without data that fail a canary. Source: WeightedSumScorer.scala, NODATA_THRESHOLD.
_NODATA_PCT = 50.0


class Label(StrEnum):
    """Kayenta's own words for a metric."""

    PASS = "Pass"  # noqa: S105 - not a password
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"
    ERROR = "Error"


class Direction(StrEnum):
    """Which deviation is bad."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class EffectSize(StrEnum):
    """How the magnitude of a change is measured."""

    MEAN_RATIO = "meanRatio"
    CLES = "cles"


class Thresholds(NamedTuple):
    """Effect sizes: a decrease counts at or below the first, an increase at or above the second."""

    decrease: float
    increase: float


@dataclass(frozen=True, slots=True)
class Settings:
    """`analysisConfigurations.canary` of a metric, with Kayenta's defaults.

    Attributes:
        direction: which deviation is bad.
        replace_nans: nanStrategy: NaN becomes 0 instead of being removed.
        remove_outliers: outliers.strategy.
        outlier_factor: times the interquartile range, > 0.
        critical: whether this metric alone can fail the canary.
        must_have_data: whether missing data fails the metric.
        effect_size: measure of the magnitude.
        allowed: effects up to which a difference is tolerated; None: any (1.0, or 0.5 for CLES).
        critical_at: effects from which a critical metric fails the canary; None as above.
        tolerance: share of the estimated shift that the interval must clear.
        confidence: of the interval, 0..1.
    """

    direction: Direction = Direction.EITHER
    replace_nans: bool = False
    remove_outliers: bool = False
    outlier_factor: float = 3.0
    critical: bool = False
    must_have_data: bool = False
    effect_size: EffectSize = EffectSize.MEAN_RATIO
    allowed: Thresholds | None = None
    critical_at: Thresholds | None = None
    tolerance: float = 0.25
    confidence: float = 0.98

    def effects(self, given: Thresholds | None) -> Thresholds:
        """Return thresholds, those of no effect where none are given. Source: NetflixACAJudge.scala."""
        no_effect = 0.5 if self.effect_size is EffectSize.CLES else 1.0
        return Thresholds(no_effect, no_effect) if given is None else given


class Classification(NamedTuple):
    """What is said of one metric. `deviation` is the ratio of the means, canary to baseline; NaN where one is 0."""

    label: Label
    critical: bool = False
    deviation: float = 1.0


class Pair(NamedTuple):
    """Points of one metric, shapes (n,) and (m,), each may be empty."""

    control: Floats
    experiment: Floats


def prepared(values: Floats, settings: Settings) -> Floats:
    """Return the points that are judged: without NaN, and without outliers where these are to be removed.

    Outliers lie beyond the quartiles by more than `outlier_factor` interquartile ranges, and beyond the 1st and 99th
    percentile (R-7). Source: NetflixACAJudge.scala, transformMetric; IQRDetector.scala with reduceSensitivity.
    """
    missing = np.isnan(values)
    values = np.where(missing, 0.0, values) if settings.replace_nans else values[~missing]
    if not (settings.remove_outliers and values.size):
        return values
    p01, p25, p75, p99 = np.percentile(values, [1, 25, 75, 99])
    reach = settings.outlier_factor * (p75 - p25)
    kept: Floats = values[(values >= min(p01, p25 - reach)) & (values <= max(p99, p75 + reach))]
    return kept


def classify(pair: Pair, settings: Settings, rng: np.random.Generator) -> Classification:
    """Return what Kayenta says of one metric's prepared points. Source: MannWhitneyClassifier.scala, classify."""
    return classify_all([pair], settings, rng)[0]


def classify_all(pairs: Sequence[Pair], settings: Settings, rng: np.random.Generator) -> list[Classification]:
    """Return what Kayenta says of each pair, the tests being done together."""
    said = [_without_a_test(pair, settings) for pair in pairs]
    open_ones = [_with_noise(pair, rng) for pair, known in zip(pairs, said, strict=True) if known is None]
    tested = shifts(
        padded([pair.experiment for pair in open_ones]),
        padded([pair.control for pair in open_ones]),
        settings.confidence,
    )
    judged = iter([_judged(*one, settings) for one in zip(open_ones, *tested, strict=True)])
    return [next(judged) if known is None else known for known in said]


def classify_by_mean(pair: Pair, settings: Settings) -> Classification:
    """Return the label by the means alone, Kayenta's own yardstick. Source: MeanInequalityClassifier.scala."""
    if not (pair.control.size and pair.experiment.size):
        return _without_data(settings)
    control, experiment = float(pair.control.mean()), float(pair.experiment.mean())
    if experiment > control and settings.direction is not Direction.DECREASE:
        return Classification(Label.HIGH, settings.critical, mean_ratio(pair))
    if experiment < control and settings.direction is not Direction.INCREASE:
        return Classification(Label.LOW, settings.critical, mean_ratio(pair))
    return Classification(Label.PASS)


def mean_ratio(pair: Pair) -> float:
    """Return the canary's mean over the baseline's, NaN where either is 0. Source: EffectSizes.scala, meanRatio."""
    control, experiment = float(pair.control.mean()), float(pair.experiment.mean())
    return experiment / control if control and experiment else float("nan")


def cles(pair: Pair) -> float:
    """Return the chance, 0..1, that a canary's point is above a baseline's, ties half. Source: EffectSizes.scala."""
    above = np.sign(pair.experiment[:, None] - pair.control[None, :])
    return float((above.mean() + 1.0) / 2.0)


def _without_data(settings: Settings) -> Classification:
    if settings.replace_nans:
        return Classification(Label.PASS)
    if settings.must_have_data and not settings.critical:
        return Classification(Label.NODATA_FAIL)
    return Classification(Label.NODATA, settings.critical)


def _without_a_test(pair: Pair, settings: Settings) -> Classification | None:
    """Return what is said where there is nothing to test: a side is empty, or both hold the same points."""
    if not (pair.control.size and pair.experiment.size):
        return _without_data(settings)
    same = np.array_equal(np.sort(pair.control), np.sort(pair.experiment))
    if same or np.unique(np.concatenate(pair)).size == 1:
        return Classification(Label.PASS)
    return None


def _with_noise(pair: Pair, rng: np.random.Generator) -> Pair:
    """Return the pair, with a little noise where both series are constant, since a test needs ranks."""
    if any(np.ptp(points) for points in pair):
        return pair
    return Pair(*(points + rng.normal(0.0, _NOISE * abs(points[0]), points.size) for points in pair))


def _judged(pair: Pair, low: float, high: float, estimate: float, settings: Settings) -> Classification:
    """Return the label that a test's interval and the size of the effect lead to. A NaN effect counts as beyond any."""
    deviation = mean_ratio(pair)
    if np.isnan(estimate):
        return Classification(Label.ERROR)
    effect = cles(pair) if settings.effect_size is EffectSize.CLES else deviation
    band = settings.tolerance * abs(estimate)
    allowed, fatal = settings.effects(settings.allowed), settings.effects(settings.critical_at)
    if settings.direction is not Direction.DECREASE and low > band and not effect < allowed.increase:
        return Classification(Label.HIGH, settings.critical and not effect < fatal.increase, deviation)
    if settings.direction is not Direction.INCREASE and high < -band and not effect > allowed.decrease:
        return Classification(Label.LOW, settings.critical and not effect > fatal.decrease, deviation)
    return Classification(Label.PASS, deviation=deviation)


@dataclass(frozen=True, slots=True)
class Result:
    """A metric's classification, with what the configuration says of its weight."""

    label: Label
    groups: tuple[str, ...] = ("all",)
    critical: bool = False
    muted: bool = False


def score(results: Sequence[Result], weights: Mapping[str, float] | None = None) -> float:
    """Return the canary's score, 0..100; `weights` holds percent per group, the rest is shared by the other groups.

    Source: ScoringHelper.scala, WeightedSumScorer.scala.
    """
    counted = [result for result in results if not result.muted]
    if any(result.critical and result.label is not Label.PASS for result in counted):
        return 0.0
    n_without = sum(result.label is Label.NODATA for result in counted)
    if counted and 100.0 * n_without / len(counted) >= _NODATA_PCT:
        return 0.0
    weights = weights or {}
    groups = sorted({group for result in counted for group in result.groups})
    others = [group for group in groups if group not in weights]
    share = (100.0 - sum(weights.values())) / len(others) if others else 0.0
    total = sum(
        _group_score([result.label for result in counted if group in result.groups]) * weights.get(group, share) / 100.0
        for group in groups
    )
    return float(Decimal(repr(float(total))).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _group_score(labels: Sequence[Label]) -> float:
    """Return the percentage of metrics that passed, of those with anything to say; 100 where none has."""
    failed = sum(label in (Label.HIGH, Label.LOW, Label.NODATA_FAIL) for label in labels)
    passed = labels.count(Label.PASS)
    return 100.0 * passed / (passed + failed) if passed + failed else 100.0


def outcome(points: float, *, pass_at: float, marginal_at: float) -> str:
    """Return Pass, Marginal or Fail for a score. Source: ThresholdScoreClassifier.scala."""
    if points >= pass_at:
        return "Pass"
    return "Marginal" if points >= marginal_at else "Fail"


def rollback_ticks(
    counts: Counts,
    *,
    rng: np.random.Generator,
    every_s: float = 300.0,
    step_s: float = 60.0,
    lookback_s: float | None = None,
    marginal: float = 75.0,
    settings: Settings | None = None,
) -> Ints:
    """Return the tick, shape (R,), of the look that ends each canary; NEVER for none.

    A point is the bad share of one step, NaN where it saw no request. Every `every_s` all points so far, or those of
    the last `lookback_s`, are judged; a score of at most `marginal` ends the canary. `settings` default to Kayenta's
    with `increase` as the bad direction. One metric is one group, so its score is 0 or 100.
    Source: kayenta-standalone-canary-analysis, as read in PEERS.md 2.3.
    """
    settings = settings or Settings(direction=Direction.INCREASE)
    steps = counts.looks(step_s)
    window = counts.whole_ticks(step_s)
    control = shares(since(counts.bad_stable, steps, window), since(counts.n_stable, steps, window))
    experiment = shares(since(counts.bad_canary, steps, window), since(counts.n_canary, steps, window))
    ended = np.full(counts.n_releases, NEVER, dtype=np.int64)
    for look in counts.looks(every_s):
        stop = int(np.searchsorted(steps, look, side="right"))
        start = 0 if lookback_s is None else max(0, stop - round(lookback_s / step_s))
        rows = np.flatnonzero(ended == NEVER)
        pairs = [
            Pair(prepared(control[row, start:stop], settings), prepared(experiment[row, start:stop], settings))
            for row in rows
        ]
        said = classify_all(pairs, settings, rng)
        failed = [score([Result(one.label, critical=one.critical)]) <= marginal for one in said]
        ended[rows[np.array(failed, dtype=np.bool_)]] = look
    return ended
