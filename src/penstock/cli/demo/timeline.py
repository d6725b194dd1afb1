"""What happened, when, and to whom: arithmetic on a recording. Pure.

The journal says when something was decided and acknowledged; the load's requests say what users met. Both clocks are this
machine's. A request counts as sent to a release after a decision when its client began to send it after the decision.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.cli.demo.recording import Recording, Request
from penstock.rollout.entry import Kind

Entry = Mapping[str, Any]

_REMOVES = frozenset({Kind.WITHDRAWN, Kind.ROLLING_BACK})
_GIVES = frozenset({Kind.STEPPED, Kind.RESTORED, Kind.BAKING, Kind.RESUMED})
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Removal:
    """A decision that took the canary's traffic away.

    Attributes:
        kind: `withdrawn` or `rolling-back`.
        at_s: when it was journalled.
        from_pct: the canary's share until then.
        acknowledged_ms: until every live gateway had said that it obeys; None where that is not in the journal.
        nodes: the gateways that said so.
        last_start_ms: how long after the decision the last request was sent that the canary still answered; None when
            no such request was sent after it.
        last_bad_ms: how long after the decision the last failed answer of the canary came in, also to a request that
            was already on its way; None when none came.
    """

    kind: str
    at_s: float
    from_pct: float
    acknowledged_ms: float | None
    nodes: tuple[str, ...]
    last_start_ms: float | None
    last_bad_ms: float | None


@dataclass(frozen=True, slots=True)
class Story:
    """One rollout, from its first entry to its last.

    Attributes:
        version: the canary.
        stable: what it was compared with.
        outcome: `promoted`, `rolled_back`, `aborted`, or empty while it is open.
        start_s: when it was started.
        end_s: when it was over, acknowledged.
        weights: (moment, share in percent) at each change, oldest first.
        removals: oldest first.
        decided_s: when its outcome was decided, None while it is open.
        reason: why it was decided so.
        verdict: the judge's last word that the journal carries, as JSON; None without one.
        n_canary, n_canary_failed: users' requests that the canary answered, and those among them that failed.
        n_other, n_other_failed: the same for all other requests while the rollout ran: stable's, and unanswered ones.
        n_users, n_users_failed: users whom the canary answered, and those whom it failed.
    """

    version: str
    stable: str
    outcome: str
    start_s: float
    end_s: float
    weights: tuple[tuple[float, float], ...]
    removals: tuple[Removal, ...]
    decided_s: float | None
    reason: str
    verdict: Mapping[str, Any] | None
    n_canary: int
    n_canary_failed: int
    n_other: int
    n_other_failed: int
    n_users: int
    n_users_failed: int

    @property
    def first_weight_s(self) -> float | None:
        """When the first users met the canary."""
        return next((at_s for at_s, weight_pct in self.weights if weight_pct > 0), None)

    @property
    def rollback(self) -> Removal | None:
        """The decision that ended it, where it was rolled back."""
        return next((r for r in reversed(self.removals) if r.kind == Kind.ROLLING_BACK), None)


def seconds(at: str) -> float:
    """Return a journal time as seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


def stories(recording: Recording) -> list[Story]:
    """Return every rollout of a recording, oldest first."""
    stable = recording.stable
    told = []
    for entries in _rollouts(recording.journal):
        story = _story(stable, entries, recording)
        told.append(story)
        stable = story.version if story.outcome == "promoted" else stable
    return told


def n_failed_elsewhere(recording: Recording, *blamed: str) -> int:
    """Return how many requests failed that none of these releases answered: what switching, or anything else, broke."""
    return sum(request.failed and request.release not in blamed for request in recording.requests)


def _rollouts(journal: Sequence[Entry]) -> Iterator[list[Entry]]:
    found: list[Entry] = []
    for entry in journal:
        if entry["kind"] == Kind.STARTED:
            if found:
                yield found
            found = [entry]
        elif found:
            found.append(entry)
    if found:
        yield found


def _story(stable: str, entries: Sequence[Entry], recording: Recording) -> Story:
    version = str(entries[0]["release"]["name"])
    start_s, end_s = seconds(entries[0]["at"]), _end_s(entries, recording)
    during = [request for request in recording.requests if start_s <= request.at_s <= end_s]
    canary = [request for request in during if request.release == version]
    other = [request for request in during if request.release != version]
    decision = next((e for e in entries if e["kind"] in {Kind.PROMOTED, Kind.ROLLING_BACK}), None)
    return Story(
        version=version,
        stable=stable,
        outcome=_outcome(decision),
        start_s=start_s,
        end_s=end_s,
        weights=tuple(_weights(entries)),
        removals=tuple(_removals(entries, version, recording.requests)),
        decided_s=seconds(decision["at"]) if decision else None,
        reason=str(decision["reason"]) if decision else "",
        verdict=next((e["verdict"] for e in reversed(entries) if "verdict" in e), None),
        n_canary=len(canary),
        n_canary_failed=sum(request.failed for request in canary),
        n_other=len(other),
        n_other_failed=sum(request.failed for request in other),
        n_users=len({request.user for request in canary}),
        n_users_failed=len({request.user for request in canary if request.failed}),
    )


def _outcome(decision: Entry | None) -> str:
    if decision is None:
        return ""
    return "promoted" if decision["kind"] == Kind.PROMOTED else str(decision["ending"])


def _end_s(entries: Sequence[Entry], recording: Recording) -> float:
    over = [e for e in entries if e["kind"] in {Kind.PROMOTED, Kind.ROLLED_BACK, Kind.ABORTED}]
    if not over:
        return max(request.end_s for request in recording.requests)
    acknowledged = _acknowledgement(entries, over[-1]["generation"])
    return seconds((acknowledged or over[-1])["at"])


def _weights(entries: Iterable[Entry]) -> Iterator[tuple[float, float]]:
    for entry in entries:
        if entry["kind"] in _REMOVES:
            yield seconds(entry["at"]), 0.0
        elif entry["kind"] == Kind.PROMOTED:
            yield seconds(entry["at"]), 100.0
        elif "weight_pct" in entry:
            yield seconds(entry["at"]), float(entry["weight_pct"])


def _removals(entries: Sequence[Entry], version: str, requests: Iterable[Request]) -> Iterator[Removal]:
    mine = [request for request in requests if request.release == version]
    before_pct = 0.0
    for i, entry in enumerate(entries):
        if entry["kind"] in _REMOVES:
            yield _removal(entry, entries[i + 1 :], before_pct, mine)
            before_pct = 0.0
        elif "weight_pct" in entry:
            before_pct = float(entry["weight_pct"])


def _removal(entry: Entry, later: Sequence[Entry], from_pct: float, canary: Iterable[Request]) -> Removal:
    at_s = seconds(entry["at"])
    # Until the canary gets traffic again, or for good.
    until_s = next((seconds(e["at"]) for e in later if e["kind"] in _GIVES), float("inf"))
    after = [request for request in canary if at_s < request.end_s and request.at_s < until_s]
    acknowledged = _acknowledgement(later, entry["generation"])
    return Removal(
        kind=str(entry["kind"]),
        at_s=at_s,
        from_pct=from_pct,
        acknowledged_ms=_MS * (seconds(acknowledged["at"]) - at_s) if acknowledged else None,
        nodes=tuple(acknowledged["nodes"]) if acknowledged else (),
        last_start_ms=_latest_ms(at_s, [request.at_s for request in after]),
        last_bad_ms=_latest_ms(at_s, [request.end_s for request in after if request.failed]),
    )


def _acknowledgement(entries: Iterable[Entry], generation: int) -> Entry | None:
    return next((e for e in entries if e["kind"] == Kind.APPLIED and e["applied"] >= generation), None)


def _latest_ms(from_s: float, moments_s: Iterable[float]) -> float | None:
    return max((_MS * (moment_s - from_s) for moment_s in moments_s if moment_s > from_s), default=None)
