"""What another tool's rule would have done with the same record. The rules are in `peers`; here they are fed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from penstock.judge.counts import Measure
from penstock.judge.latency import n_slower
from penstock.kernel.errors import InvalidRecord, UsageError
from penstock.simulation.lines import Shape
from penstock.simulation.peers.rules import ArgoWatch, FlaggerWatch, Rule, Watch, parse_argo, parse_flagger
from penstock.simulation.recorded import Record
from penstock.simulation.replaying import Outcome

_TOOLS: Mapping[str, tuple[Callable[[str], Rule], Callable[[Rule], Watch]]] = {
    "argo": (parse_argo, ArgoWatch),
    "flagger": (parse_flagger, FlaggerWatch),
}


class Rival(NamedTuple):
    """A tool and its rule as written, e.g. `argo`, `errors_pct<=1,interval=60s,failure-limit=3`."""

    tool: str
    text: str

    @property
    def rule(self) -> Rule:
        """The rule. Raises UsageError with a sentence."""
        try:
            return _TOOLS[self.tool][0](self.text)
        except ValueError as error:
            raise UsageError(detail=f"--{self.tool}: {error}.") from None


def rivals_as_json(rivals: tuple[Rival, ...], record: Record, *, file: str) -> dict[str, dict[str, Any]]:
    """Return what each would have done; a tool's second rule is called e.g. `argo-2`. Raises InvalidRecord."""
    found: dict[str, dict[str, Any]] = {}
    for rival in rivals:
        n = 1 + sum(1 for name in found if name.partition("-")[0] == rival.tool)
        found[rival.tool if n == 1 else f"{rival.tool}-{n}"] = _judged(rival, record, file)
    return found


def _judged(rival: Rival, record: Record, file: str) -> dict[str, Any]:
    rule = rival.rule
    watch = _TOOLS[rival.tool][1](rule)
    n_canary, began_s, at_s = 0, None, 0.0
    for at_s, n, bad in _counts(rule, record, rival, file):
        if began_s is None and n:
            began_s = at_s
        if began_s is None:
            continue
        n_canary += n
        if watch.observe(at_s - began_s, n, bad):
            return _answer(rival, Outcome.ROLLBACK, at_s, n_canary, "the rule failed as often as it may")
    reason = "the canary has no traffic" if began_s is None else "the rule held to the end"
    return _answer(rival, Outcome.UNDECIDED if began_s is None else Outcome.PROMOTE, at_s, n_canary, reason)


def _answer(rival: Rival, outcome: Outcome, at_s: float, n_canary: int, reason: str) -> dict[str, Any]:
    return {"rule": rival.text, "outcome": outcome.value, "t": at_s, "n_canary": n_canary, "reason": reason}


def _counts(rule: Rule, record: Record, rival: Rival, file: str) -> Iterator[tuple[float, int, int]]:
    """Yield (time, canary's answers, bad ones) for every moment with users' requests, 0 where the canary had none."""
    errors = rule.slower_than_ms is None
    metric = "errors" if errors else "latency"
    fits = (Shape.SHARE,) if errors else (Shape.SAMPLES, Shape.HISTOGRAM)
    if record.shapes.get(metric) not in fits:
        raise InvalidRecord(file=file, why=f"--{rival.tool} {rival.text!r} needs {metric}, which it has not counted")
    edge_ms = 0.0 if rule.slower_than_ms is None else record.edges[metric].at_least(rule.slower_than_ms)
    for tick in record.ticks:
        if tick.probes:
            continue
        own = [measure for measure in tick.measures if measure.canary and measure.metric == metric]
        counted = [(one.n, one.bad) if errors else _slow(one, edge_ms) for one in own]
        yield tick.at_s, sum(n for n, _ in counted), sum(bad for _, bad in counted)


def _slow(measure: Measure, edge_ms: float) -> tuple[int, int]:
    """Answers in the bin that holds the limit count as fast: where they lie in it is not known."""
    return sum(measure.bins.values()), n_slower(measure.bins, edge_ms)
