"""One way to say what was measured: a row with spread and bar, a table, a JSON file, an exit code."""

import argparse
import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True)
class Row:
    """One figure. `spread` is (minimum, maximum) of what `value` sums up; `goal` is like `<= 10`, or "" for none."""

    name: str
    value: float
    unit: str
    goal: str
    holds: bool
    n: int
    spread: tuple[float, float]


def row(name: str, samples: Sequence[float], unit: str, goal: str = "", *, of: str = "median") -> Row:
    """Sum samples up by their `median`, `max` or `sum`, and hold that against the goal."""
    values = np.asarray(samples, dtype=float)
    value = float({"median": np.median, "max": np.max, "sum": np.sum}[of](values))
    relation, _, bound = goal.partition(" ")
    holds = not goal or _COMPARE[relation](value, float(bound))
    return Row(name, value, unit, goal, holds, len(values), (float(values.min()), float(values.max())))


def options(doc: str, **numbers: int) -> argparse.Namespace:
    """Parse what every benchmark understands, and numbers of its own: name -> default."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: a smoke test, not a measurement")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{name} (default {default})")
    return parser.parse_args()


def report(title: str, rows: Sequence[Row], json_file: Path | None) -> int:
    """Print the table, write the file, and return the exit code."""
    width = max(len(r.name) for r in rows)
    print(f"\n{title}")
    for r in rows:
        bar = "" if not r.goal else f"{'holds' if r.holds else 'DOES NOT HOLD'}: {r.goal}"
        spread = f"[{r.spread[0]:.4g} .. {r.spread[1]:.4g}]"
        print(f"  {r.name:<{width}}  {r.value:>10.4g} {r.unit:<10} {spread:<24} n={r.n:<6} {bar}")
    if json_file:
        json_file.write_text(json.dumps([asdict(r) for r in rows], indent=1), encoding="utf-8")
    return 0 if all(r.holds for r in rows) else 1
