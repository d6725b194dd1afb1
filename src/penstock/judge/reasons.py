"""Sentences that quote the numbers behind a verdict. Nothing is decided here."""

from collections import Counter
from collections.abc import Iterator

from penstock.judge.gross import GrossRule
from penstock.judge.kinds import AnyMetric
from penstock.judge.latency import Timing
from penstock.judge.limits import MetricKind, MetricLimit
from penstock.judge.metric import ComparedMetric, Tally
from penstock.judge.rounds import RoundEvidence

#: Percentages from here on are shown without decimals.
_WHOLE_FROM_PCT = 10.0

_WHAT = {
    "latency_pairs": "slower than stable on the same request",
    "errors": "errors",
    "errors_limit": "errors",
    "client_errors": "client errors (4xx)",
}


def percent(ratio: float) -> str:
    """Return a share as `47 %` or `0.2 %`."""
    value = 100.0 * ratio
    return f"{value:.0f} %" if value >= _WHOLE_FROM_PCT else f"{value:.2g} %"


def counted_words(n: int, what: str) -> str:
    """Return `1 probe`, `2 probes`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def after_words(n_users: int, n_probes: int) -> str:
    """Return `after 9 user requests and 90 probes`."""
    parts = [counted_words(n_users, "user request")] if n_users or not n_probes else []
    if n_probes:
        parts.append(counted_words(n_probes, "probe"))
    return "after " + " and ".join(parts)


def metric_words(metric: AnyMetric, timing: Timing | None, faults: Counter[str]) -> str:
    """Return one sentence on a metric; of a compared one with the last ten minutes' numbers."""
    if not isinstance(metric, ComparedMetric):
        return metric.sentence
    shown = metric.recent
    after = after_words(shown.n_users, shown.n_probes)
    if shown != metric.total:
        after += " in the last ten minutes"
    if metric.limit.kind is MetricKind.LATENCY and timing is not None:
        return f"{_latency_words(metric.limit, timing)}, {after}"
    if metric.limit.kind is MetricKind.SCORE:
        return f"{_score_words(metric.limit, shown)}, {after}"
    what = _WHAT.get(metric.limit.name, metric.limit.name)
    if metric.limit.name == "faults" and faults:
        what = f"{faults.most_common(1)[0][0]} (marked by the server)"
    alone = metric.limit.limit is not None or shown.stable_ratio is None
    against = "" if alone else f" against {percent(shown.stable_ratio or 0.0)} on stable"
    return f"{what} {percent(shown.canary_ratio or 0.0)}{against} (limit {metric.tolerance.words}), {after}"


def _latency_words(limit: MetricLimit, timing: Timing) -> str:
    scale = timing.busier
    name = f"p{100 * limit.quantile:g}"
    if limit.read_from != "latency":
        name = f"{limit.read_from} {name}"
    canary_ms = scale.canary.quantile_ms(limit.quantile, scale.edges) or 0.0  # what speaks against it has been timed
    if limit.limit is not None:
        return f"{name} {canary_ms:.0f} ms, limit {limit.limit:g} ms"
    stable_ms = scale.stable.quantile_ms(limit.quantile, scale.edges) or canary_ms
    times = canary_ms / stable_ms if stable_ms else 1.0
    return f"{name} {times:.2f}x stable ({canary_ms:.0f} against {stable_ms:.0f} ms), limit {1 + limit.margin:.2f}x"


def _score_words(limit: MetricLimit, shown: Tally) -> str:
    span = limit.worst - limit.best
    canary, stable = (limit.best + span * (ratio or 0.0) for ratio in (shown.canary_ratio, shown.stable_ratio))
    against = "" if shown.stable_ratio is None else f" against {stable:.3g} on stable"
    return f"{limit.name} {canary:.3g}{against} (limit {limit.gap:g} worse)"


def condemned_words(
    ranked: list[str], *, gross: GrossRule, rounds: RoundEvidence, by_evidence: bool, rounds_lead: bool
) -> Iterator[str]:
    """Yield why the canary is condemned, most important first.

    Args:
        ranked: a sentence for each metric that speaks against the canary, strongest first.
        gross: the gross rule.
        rounds: the rounds.
        by_evidence: whether the pooled evidence of blocks and rounds condemned.
        rounds_lead: whether rounds say more than blocks.
    """
    if gross.condemns:
        against = "" if gross.stable_ratio is None else f", stable {percent(gross.stable_ratio)}"
        share = percent(gross.canary_ratio or 0.0)
        yield f"{share} of answers bad{against}, without a break for {gross.lasted_s:.0f} s (limit {gross.needed_s:.0f} s)"
    if by_evidence and rounds_lead:
        yield rounds_words(rounds)
    yield from ranked
    if rounds.n_clear and not (by_evidence and rounds_lead):
        yield rounds_words(rounds)


def rounds_words(rounds: RoundEvidence) -> str:
    """Return the sentence on rounds."""
    clear = f"{rounds.n_clear} of {counted_words(rounds.n_rounds, 'round')}"
    return f"fails the same recorded requests that stable answers: {clear}"
