"""Sentences that quote the numbers behind a verdict. Nothing is decided here."""

from collections import Counter
from collections.abc import Iterator

from penstock.judge.gross import GrossRule
from penstock.judge.latency import QUANTILE, LatencyScale
from penstock.judge.limits import Limits
from penstock.judge.metric import Metric
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


def metric_words(metric: Metric, limits: Limits, scale: LatencyScale, faults: Counter[str]) -> str:
    """Return one sentence on a metric, with the last ten minutes' numbers."""
    shown = metric.recent
    after = after_words(shown.n_users, shown.n_probes)
    if shown != metric.total:
        after += " in the last ten minutes"
    if metric.name in {"latency", "latency_limit"}:
        return f"{_latency_words(metric, limits, scale)}, {after}"
    what = _WHAT.get(metric.name, metric.name)
    if metric.name == "faults" and faults:
        what = f"{faults.most_common(1)[0][0]} (marked by the server)"
    alone = metric.name == "errors_limit" or shown.stable_ratio is None
    against = "" if alone else f" against {percent(shown.stable_ratio or 0.0)} on stable"
    return f"{what} {percent(shown.canary_ratio or 0.0)}{against} (limit {metric.limit_words}), {after}"


def _latency_words(metric: Metric, limits: Limits, scale: LatencyScale) -> str:
    canary_ms = scale.canary.quantile_ms(QUANTILE) or 0.0  # what speaks against the canary has been timed
    if metric.name == "latency_limit":
        return f"p95 {canary_ms:.0f} ms, limit {limits.max_p95_ms:g} ms"
    margin = 1.0 + limits.latency_margin
    stable_ms = scale.stable.quantile_ms(QUANTILE) or canary_ms
    return f"p95 {canary_ms / stable_ms:.2f}x stable ({canary_ms:.0f} against {stable_ms:.0f} ms), limit {margin:.2f}x"


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
