"""A simulation's answer in words, as a table."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.cli.terminal import columns

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0
#: From here on two units say less than one with a digit.
_FINE_BELOW = 10.0

_HEAD = (
    "",
    "withdrawn",
    "after",
    "requests",
    "rolled back",
    "after",
    "at 100 %",
    "promoted",
    "after",
    "failed",
    "users",
)


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the answer for a person."""
    yield headline(answer)
    yield plan_words(answer)
    yield ""
    yield from columns([_HEAD, *(_row(row) for row in answer["faults"])])
    yield ""
    yield "Times, and requests until the first withdrawal: median (p95); time to 100 %: median."
    yield "Failed requests, and users who met the canary: mean (p95) of a release."
    fine_s, calm_s = answer["tick_s"]
    yield (
        f"{answer['releases']} releases of a healthy version, a quarter as many of each fault; seed {answer['seed']}; "
        f"a tick is {fine_s:g} s after a change, then {calm_s:g} s."
    )
    for row in answer["faults"]:
        if row["false_rollback"] is not None:
            yield f"False rollback: {false_words(row['false_rollback'])}."
        if row["unfinished_ratio"] > 0.0:
            yield f"{row['words']}: {_percent(row['unfinished_ratio'])} were not over after {time_words(answer['longest_s'])}."
        if row["paused_ratio"] > 0.0:
            yield f"{row['words']}: {_percent(row['paused_ratio'])} ended paused, for a person to decide."


def headline(answer: Mapping[str, Any]) -> str:
    """Return what the traffic is like."""
    traffic = answer["traffic"]
    stalls = "no stalls" if traffic["stalls"] == "none" else f"stalls {traffic['stalls']}"
    words = [
        f"{traffic['rate_hz']:g} requests/s",
        f"{traffic['n_canary_pods']}+{traffic['n_stable_pods']} pods",
        f"{traffic['n_users']} users",
        f"errors {100 * traffic['errors_ratio']:.3g} %",
        f"p95 {traffic['p95_ms']:g} ms",
        stalls,
        *traffic["conditions"],
    ]
    return ", ".join(words)


def plan_words(answer: Mapping[str, Any]) -> str:
    """Return what the plan is."""
    plan = answer["plan"]
    steps = " ".join(f"{step['weight']:g}" for step in plan["steps"])
    return (
        f"steps {steps} %, {time_words(answer['planned_s'])} in all, longest stall {time_words(plan['longest_stall'])}, "
        f"at least {plan['min_requests']} requests on each step"
    )


def false_words(counted: Mapping[str, Any]) -> str:
    """Return `<= 0.8 % (0 of 400)`: with 95 % it is no more than that."""
    return f"<= {100 * counted['upper_95']:.2g} % ({counted['n']} of {counted['of']})"


def time_words(seconds: float) -> str:
    """Return `4 s`, `2.5 min`, `3 h` or `1.5 d`."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            value = seconds / unit_s
            return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < _FINE_BELOW else f"{value:.0f} {unit}"
    return f"{seconds:.0f} s"


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["words"],
        _percent(row["detected_ratio"]),
        _times(row["withdrawn_s"]),
        _counts(row["n_canary"]),
        _percent(row["rolled_back_ratio"]),
        _times(row["rolled_back_s"]),
        "-" if (full_s := row["full_s"]["median"]) is None else time_words(full_s),
        _percent(row["promoted_ratio"]),
        _times(row["promoted_s"]),
        _means(row["failed_requests"]),
        _means(row["users_exposed"]),
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g} %"


def _times(spread: Mapping[str, float | None]) -> str:
    """Return `2 (3) min`, or with both units where they differ."""
    median, p95 = spread["median"], spread["p95"]
    if median is None or p95 is None:
        return "-"
    (value, _, unit), (high, _, high_unit) = (time_words(one).partition(" ") for one in (median, p95))
    return f"{value} ({high}) {unit}" if unit == high_unit else f"{value} {unit} ({high} {high_unit})"


def _counts(spread: Mapping[str, float | None]) -> str:
    median, p95 = spread["median"], spread["p95"]
    return "-" if median is None or p95 is None else f"{median:.0f} ({p95:.0f})"


def _means(mean: Mapping[str, float]) -> str:
    return f"{mean['mean']:.0f} ({mean['p95']:.0f})"
