"""A plan: how a canary is metered in, and what it is held to."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

from penstock.judge.limits import Limits
from penstock.judge.presets import generic, limits_for
from penstock.kernel.errors import InvalidPlan
from penstock.routing.repeatable import DEFAULT_REPEATABLE, as_regex

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_EVERYBODY_PCT = 100.0

#: A first step above this, or a step of more than twice the one before, is steep. Source: PRODUCT G3.
_FIRST_PCT = 10.0


class OnFailure(StrEnum):
    """What a verdict of HARMFUL leads to."""

    #: Back to stable, the version quarantined.
    ROLLBACK = "rollback"
    #: The canary's traffic goes to 0 % and a person decides.
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a ramp.

    Attributes:
        weight_pct: the canary's share, above 0, at most 100.
        dwell_s: how long the canary must hold it at least, seconds.
    """

    weight_pct: float
    dwell_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How one rollout goes.

    Attributes:
        steps: growing weights, the last one 100 %; that one is the bake, watched with stable kept warm.
        min_requests: what the canary must have answered on a step before it may leave it.
        on_failure: what happens when the canary is condemned.
        longest_stall_s: the longest stall of a healthy machine that must not condemn a version. Block lengths and the
            patience with gross faults follow from it. Source: JUDGE section 10.
        max_withdrawals: after more of these within an hour a person decides.
        max_withdrawn_s: after longer than this in one withdrawal a person decides.
        request_timeout_s: a whole answer must have been given by then.
        repeatable: `METHOD /path` patterns that may be sent twice.
        limits: margins and absolute limits of the judge.
        budget_ratio: at most this share of all requests may fail because of the canary, with 95 %: a step whose weight
            times the bound on the canary's failures is above it waits. None: no such rule. Source: JUDGE section 5.
        require_proof: whether the canary must be proven not worse before it is promoted.
        prove_within_s: a canary that bakes longer than this without that proof is left to a person.
    """

    steps: tuple[Step, ...]
    min_requests: int = 50
    on_failure: OnFailure = OnFailure.ROLLBACK
    max_withdrawals: int = 12
    max_withdrawn_s: float = 1800.0
    request_timeout_s: float = 300.0
    repeatable: tuple[str, ...] = DEFAULT_REPEATABLE
    limits: Limits = field(default_factory=limits_for)
    budget_ratio: float | None = None
    require_proof: bool = False
    prove_within_s: float = 86_400.0

    def __post_init__(self) -> None:
        weights = [step.weight_pct for step in self.steps]
        if not weights or weights[-1] != _EVERYBODY_PCT:
            raise InvalidPlan(why="its last step must be 100")
        if any(not 0 < weight <= _EVERYBODY_PCT for weight in weights):
            raise InvalidPlan(why=f"a step must be above 0 and at most 100, not {_listed(weights)}")
        if any(b <= a for a, b in pairwise(weights)):
            raise InvalidPlan(why=f"its steps must grow, not go {_listed(weights)}")
        times_s = (*(step.dwell_s for step in self.steps), self.max_withdrawn_s, self.prove_within_s)
        if any(time_s < 0 for time_s in times_s) or min(self.min_requests, self.max_withdrawals) < 0:
            raise InvalidPlan(why="times and counts cannot be negative")
        if self.request_timeout_s <= 0:
            raise InvalidPlan(why="request_timeout must be above zero")
        if self.budget_ratio is not None and not 0 < self.budget_ratio <= 1:
            raise InvalidPlan(why="budget_pct must be above 0 and at most 100, e.g. 1")

    @property
    def steep(self) -> str | None:
        """What is bold about the steps, one clause; None where they start at 10 % at most and never more than double.

        Source: PRODUCT G3.
        """
        weights = [step.weight_pct for step in self.steps]
        if weights[0] > _FIRST_PCT:
            return f"it starts at {weights[0]:g} %, above {_FIRST_PCT:g} %"
        jumps = (f"it goes from {a:g} to {b:g} %, more than double" for a, b in pairwise(weights) if b > 2 * a)
        return next(jumps, None)

    @property
    def longest_stall_s(self) -> float:
        return self.limits.longest_stall_s

    def _absolute(self, name: str) -> float | None:
        """Return the canary's own limit that is called `name`, where the plan has one."""
        return next((metric.limit for metric in self.limits.metrics if metric.name == name), None)

    @classmethod
    def ramp(cls, weights_pct: Iterable[float], dwell_s: float, *, bake_s: float | None = None, **others: Any) -> Self:
        """Build a plan whose steps all dwell equally long; `bake_s` is the last one's time, else the same."""
        weights = tuple(weights_pct)
        dwells = [dwell_s] * (len(weights) - 1) + [dwell_s if bake_s is None else bake_s]
        return cls(steps=tuple(Step(w, d) for w, d in zip(weights, dwells, strict=True)), **others)

    def as_json(self) -> dict[str, Any]:
        """The plan as people write it and the journal keeps it; `plan_from` reads it back to an equal plan."""
        return {
            "steps": [{"weight": step.weight_pct, "dwell": step.dwell_s} for step in self.steps],
            "min_requests": self.min_requests,
            "on_failure": self.on_failure.value,
            "longest_stall": self.limits.longest_stall_s,
            "max_withdrawals": self.max_withdrawals,
            "max_withdrawn": self.max_withdrawn_s,
            "request_timeout": self.request_timeout_s,
            "repeatable": list(self.repeatable),
            "false_rollback_pct": self.limits.alpha * 100,
            "false_promotion_pct": self.limits.beta * 100,
            "budget_pct": None if self.budget_ratio is None else self.budget_ratio * 100,
            "require_proof": self.require_proof,
            "prove_within": self.prove_within_s,
            "limits": {
                "errors_pct": None if (ratio := self._absolute("errors_limit")) is None else ratio * 100,
                "p95_ms": self._absolute("latency_limit"),
            },
        }


def seconds_of(value: object, what: str) -> float:
    """Read `30s`, `10m`, `2h`, `1d`, `250ms` or plain seconds; anything else raises InvalidPlan naming `what`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    match = _DURATION.fullmatch(str(value).strip())
    if not match:
        raise InvalidPlan(why=f"{what} {value!r} is not a time")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


#: What people may write, with the defaults. Source of steps and dwell: the command line's interface.
_DEFAULTS: dict[str, Any] = {
    "steps": "5,10,20,40,75,100",
    "dwell": "30s",
    "bake": None,
    "min_requests": 50,
    "on_failure": "rollback",
    "longest_stall": "60s",
    "max_withdrawals": 12,
    "max_withdrawn": "30m",
    "request_timeout": "300s",
    "repeatable": DEFAULT_REPEATABLE,
    "false_rollback_pct": 1.0,
    "false_promotion_pct": 5.0,
    "budget_pct": None,
    "require_proof": False,
    "prove_within": "24h",
    "limits": {},
}
_LIMITS = ("errors_pct", "p95_ms")

#: Steps that evidence alone decides: doubling, each as soon as the budget allows. Source: JUDGE section 5 (ladder, b = 1 %).
_AUTO = "auto"
_AUTO_STEPS = "1,2,4,8,16,32,64,100"
_AUTO_BUDGET_RATIO = 0.01


def plan_from(written: Mapping[str, Any]) -> Plan:
    """Read a plan as people write it (a YAML or JSON mapping; every field may be left out). Raises InvalidPlan."""
    _refuse_unknown(written, _DEFAULTS, "field")
    fields = {**_DEFAULTS, **{name: value for name, value in written.items() if value is not None}}
    if not isinstance(fields["limits"], Mapping):
        raise InvalidPlan(why="limits must be a mapping, e.g. {errors_pct: 0.5, p95_ms: 800}")
    _refuse_unknown(fields["limits"], _LIMITS, "limit")
    try:
        on_failure = OnFailure(fields["on_failure"])
    except ValueError:
        raise InvalidPlan(why=f"on_failure is rollback or hold, not {fields['on_failure']!r}") from None
    if not isinstance(fields["require_proof"], bool):
        raise InvalidPlan(why=f"require_proof is true or false, not {fields['require_proof']!r}")
    return Plan(
        steps=_steps(fields),
        min_requests=_count(fields["min_requests"], "min_requests"),
        on_failure=on_failure,
        max_withdrawals=_count(fields["max_withdrawals"], "max_withdrawals"),
        max_withdrawn_s=seconds_of(fields["max_withdrawn"], "max_withdrawn"),
        request_timeout_s=seconds_of(fields["request_timeout"], "request_timeout"),
        repeatable=_patterns(fields["repeatable"]),
        limits=_limits(fields),
        budget_ratio=_budget(fields),
        require_proof=fields["require_proof"],
        prove_within_s=seconds_of(fields["prove_within"], "prove_within"),
    )


def _budget(fields: Mapping[str, Any]) -> float | None:
    if fields["budget_pct"] is not None:
        return _number(fields["budget_pct"], "budget_pct") / 100
    return _AUTO_BUDGET_RATIO if fields["steps"] == _AUTO else None


def _limits(fields: Mapping[str, Any]) -> Limits:
    errors_pct, p95_ms = (fields["limits"].get(name) for name in _LIMITS)
    try:
        return Limits(
            generic(
                max_errors_ratio=None if errors_pct is None else _number(errors_pct, "errors_pct") / 100,
                max_p95_ms=None if p95_ms is None else _number(p95_ms, "p95_ms"),
            ),
            alpha=_number(fields["false_rollback_pct"], "false_rollback_pct") / 100,
            beta=_number(fields["false_promotion_pct"], "false_promotion_pct") / 100,
            longest_stall_s=seconds_of(fields["longest_stall"], "longest_stall"),
        )
    except ValueError as error:
        raise InvalidPlan(why=str(error)) from None


def _steps(fields: Mapping[str, Any]) -> tuple[Step, ...]:
    written = _AUTO_STEPS if fields["steps"] == _AUTO else fields["steps"]
    if isinstance(written, str):
        written = [part.strip().removesuffix("%") for part in written.split(",")]
    elif not isinstance(written, (list, tuple)):
        written = [written]
    dwell_s = seconds_of(fields["dwell"], "dwell")
    bake_s = dwell_s if fields["bake"] is None else seconds_of(fields["bake"], "bake")
    return tuple(_step(step, default_s=bake_s if i == len(written) - 1 else dwell_s) for i, step in enumerate(written))


def _step(written: object, *, default_s: float) -> Step:
    if not isinstance(written, Mapping):
        return Step(_number(written, "step"), default_s)
    _refuse_unknown(written, ("weight", "dwell"), "field of a step")
    if "weight" not in written:
        raise InvalidPlan(why="a step has no weight")
    return Step(_number(written["weight"], "weight"), seconds_of(written.get("dwell", default_s), "dwell"))


def _number(value: object, what: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidPlan(why=f"{what} {value!r} is not a number")
    return number


def _count(value: object, what: str) -> int:
    number = _number(value, what)
    if not number.is_integer():
        raise InvalidPlan(why=f"{what} {value!r} is not a whole number")
    return int(number)


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(pattern, str) for pattern in value):
        raise InvalidPlan(why="repeatable must be a list of patterns, e.g. [GET /*, POST /synthesize]")
    as_regex(value)  # raises UsageError for a pattern that no gateway could match
    return tuple(value)


def _refuse_unknown(written: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for name in written:
        if name not in known:
            close = get_close_matches(str(name), list(known), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            raise InvalidPlan(why=f"unknown {what} {name!r}{hint}")


def _listed(weights: Iterable[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
