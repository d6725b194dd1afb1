"""Latency of replayed requests: the same request on both releases, one beside the other.

Among replays that reach idle pods, what is slow depends on the text more than on the version; within a pair it does not.
H0: the canary takes more than (1 + margin) x stable's time in at most half of the pairs, as for versions of which neither
is slower by the margin. Source: the sign test on ratios (Conover, Practical Nonparametric Statistics, ch. 3), bet on one
pair at a time. A stalled pod is slower in every pair, so this may withdraw at once, and condemn by pod blocks only.
"""

from penstock.judge.answers import Answers
from penstock.judge.edges import edge_at_least


def slower_in_pair(answers: tuple[Answers, ...], margin: float) -> tuple[str, bool] | None:
    """Return (canary pod, whether it was slower by the margin), or None where the answers are not one timed pair.

    Bins are compared by the edges that favour the canary.
    """
    timed = [pod for pod in answers if sum(pod.latency_ms.values()) == 1]
    canary = [pod for pod in timed if pod.canary]
    stable = [pod for pod in timed if not pod.canary]
    if len(answers) != 2 or len(canary) != 1 or len(stable) != 1:  # noqa: PLR2004 - a pair
        return None
    (canary_ms,), (stable_ms,) = canary[0].latency_ms, stable[0].latency_ms
    slow_from_ms = edge_at_least(edge_at_least(stable_ms + 1) * (1.0 + margin))
    return canary[0].pod, canary_ms >= slow_from_ms
