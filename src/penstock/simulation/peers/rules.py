"""A peer's rule in one line of text, and that rule applied to traffic as it comes.

The syntax is a limit, then settings, separated by commas:

    errors_pct<=1,interval=60s,failure-limit=3          for Argo Rollouts
    p95_ms<=800,interval=1m,threshold=5,window=2m       for Flagger

Metrics: `errors_pct` (percent of answers, 0..100), `p95_ms` and `p99_ms` (milliseconds, > 0), each at most its limit.
Settings: `interval` between two checks (60s unless given) and `window`, the time that a check looks back (one interval
for Argo, 1m for Flagger, unless given), as a number with `s`, `m` or `h`; for Argo `failure-limit` (0 unless given), for
Flagger `threshold` (1 unless given), whole numbers: the peers' own defaults.

The rules themselves live in `argo` and `flagger`; only their text, and cutting windows out of a stream, live here.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.simulation.peers import argo, flagger

#: Metric -> the share of answers that may be worse: "p95 <= 800 ms" is "at most 5 % slower than 800 ms".
_METRICS: Mapping[str, float | None] = {"errors_pct": None, "p95_ms": 0.05, "p99_ms": 0.01}

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DEFAULT_INTERVAL_S = 60.0
_FLAGGER_WINDOW_S = 60.0

#: Clocks are sums of floating-point numbers: this close to a moment is at it.
_SLACK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit, and when it is checked.

    Attributes:
        slower_than_ms: an answer is bad when it took longer, milliseconds > 0; None: when it is an error.
        max_ratio: share of bad answers up to which a check passes, 0..1.
        interval_s: seconds from check to check, > 0.
        window_s: seconds that a check looks back, > 0.
        tolerance: Argo's failure limit (>= 0), Flagger's threshold (>= 1).
    """

    slower_than_ms: float | None
    max_ratio: float
    interval_s: float
    window_s: float
    tolerance: int


class Watch(ABC):
    """A rule at work on one canary, from second 0. Says once and for all when the canary loses its traffic."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._recent: deque[tuple[float, int, int]] = deque()
        #: Whether the peer has taken the canary's traffic away.
        self.rolled_back = False

    def observe(self, at_s: float, n: int, bad: int) -> bool:
        """Take in the n answers since the last call, of which `bad` were bad; return whether it is rolled back.

        `at_s` is seconds since the canary got traffic and must increase; a check that fell due since the last call is
        made now. What "bad" means is the rule's `slower_than_ms`.
        """
        self._recent.append((at_s, n, bad))
        while self._recent[0][0] <= at_s - self._rule.window_s + _SLACK_S:
            self._recent.popleft()
        if not self.rolled_back and self._is_due(at_s):
            n_recent = sum(n for _, n, _ in self._recent)
            n_bad = sum(bad for _, _, bad in self._recent)
            self.rolled_back = self._check(at_s, n_bad / n_recent if n_recent else None)
        return self.rolled_back

    @abstractmethod
    def _is_due(self, at_s: float) -> bool: ...

    @abstractmethod
    def _check(self, at_s: float, ratio: float | None) -> bool: ...


class ArgoWatch(Watch):
    """Argo's rule. The first measurement comes after one interval, when the first window is full."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self._analysis = argo.Analysis(
            argo.Metric(failure_limit=rule.tolerance, interval_s=rule.interval_s),
            success=lambda ratio: ratio <= rule.max_ratio,
            initial_delay_s=rule.interval_s,
        )

    def _is_due(self, at_s: float) -> bool:
        return at_s >= self._analysis.due_s - _SLACK_S

    def _check(self, at_s: float, ratio: float | None) -> bool:
        return self._analysis.measure(at_s, ratio) in argo.ABORTING


class FlaggerWatch(Watch):
    """Flagger's rule. Its ticker fires once an interval, whatever happens; shorter ones than 10 s are raised to 10 s."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self._analysis = flagger.Analysis([flagger.Range(high=rule.max_ratio)], threshold=rule.tolerance)
        self._every_s = max(rule.interval_s, flagger.SHORTEST_INTERVAL_S)
        self._n_ticks = 0

    def _is_due(self, at_s: float) -> bool:
        return at_s >= (self._n_ticks + 1) * self._every_s - _SLACK_S

    def _check(self, at_s: float, ratio: float | None) -> bool:
        self._n_ticks = int((at_s + _SLACK_S) // self._every_s)
        return self._analysis.tick([ratio])


def parse_argo(text: str) -> Rule:
    """Return Argo's rule, e.g. `errors_pct<=1,interval=60s,failure-limit=3`; ValueError says in a sentence why not."""
    return _parsed(text, tolerance="failure-limit", least=0, window_s=None)


def parse_flagger(text: str) -> Rule:
    """Return Flagger's rule, e.g. `p95_ms<=800,threshold=5`; ValueError says in a sentence why not."""
    return _parsed(text, tolerance="threshold", least=1, window_s=_FLAGGER_WINDOW_S)


def _parsed(text: str, *, tolerance: str, least: int, window_s: float | None) -> Rule:
    limit, *settings = (part.strip() for part in text.split(","))
    slower_than_ms, max_ratio = _limit(limit)
    given = _settings(settings, known=("interval", tolerance, "window"))
    interval_s = _seconds("interval", given["interval"]) if "interval" in given else _DEFAULT_INTERVAL_S
    if "window" in given:
        window_s = _seconds("window", given["window"])
    return Rule(
        slower_than_ms=slower_than_ms,
        max_ratio=max_ratio,
        interval_s=interval_s,
        window_s=window_s or interval_s,
        tolerance=_whole(tolerance, given.get(tolerance, str(least)), least),
    )


def _limit(text: str) -> tuple[float | None, float]:
    """Return the threshold in milliseconds, None for errors, and the share of answers that may be worse."""
    metric, sign, number = (part.strip() for part in text.partition("<="))
    if not sign:
        raise ValueError(f"{text!r} is not a limit: a rule begins like errors_pct<=1")
    if metric not in _METRICS:
        raise ValueError(f"there is no metric {metric!r}: the known ones are {', '.join(_METRICS)}")
    share = _METRICS[metric]
    limit = _number(metric, number)
    if share is None:
        if limit > 100.0:  # noqa: PLR2004 - percent
            raise ValueError(f"errors_pct is at most 100, not {number}")
        return None, limit / 100.0
    if limit == 0.0:
        raise ValueError(f"{metric} must be above 0")
    return limit, share


def _settings(parts: list[str], known: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in parts:
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or key not in known:
            raise ValueError(
                f"there is no setting {part!r}: the known ones are {', '.join(f'{key}=' for key in known)}"
            )
        if key in given:
            raise ValueError(f"{key} is given twice")
        given[key] = value
    return given


def _number(name: str, text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise ValueError(f"{name} must be a number such as 1 or 0.5, not {text!r}")
    return float(text)


def _whole(name: str, text: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text, re.ASCII)
    if not match or not float(match[1]):
        raise ValueError(f"{name} must be a time such as 60s, 5m or 1h, not {text!r}")
    return float(match[1]) * _UNITS_S[match[2]]
