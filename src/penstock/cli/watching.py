"""Watching one rollout until it ends, a person is needed, or the time is over."""

from collections.abc import Mapping
from typing import Any

from penstock.cli.client import Api, service_path
from penstock.cli.follow import Event, Follower, monotonic_s
from penstock.cli.views import View
from penstock.kernel.errors import ConflictError

#: An ending is told once the gateways acknowledged it, but no later than this, seconds.
_ACKNOWLEDGED_WITHIN_S = 5.0
_OUTCOME_FIELDS = ("outcome", "reason", "generation", "decided_at", "applied_at", "n_canary_requests")


class Watch:
    """Follows one rollout of one service.

    Attributes:
        status: the newest one seen.
    """

    def __init__(self, api: Api, started: Mapping[str, Any], view: View) -> None:
        self.status: Mapping[str, Any] = started
        self._api = api
        self._service = str(started["service"])
        self._rollout = int(started["rollout"])
        self._view = view
        self._applied: list[Mapping[str, Any]] = []

    def until_over(self, timeout_s: float) -> dict[str, Any]:
        """Return the outcome: `promoted`, `rolled_back`, `aborted`, `paused`, or `timeout` when it goes on without us."""
        deadline_s = monotonic_s() + timeout_s
        self._view.status(self.status)
        follower = Follower(self._api, self._service, seen=self._before(), say=self._view.note)
        over_s: float | None = None
        for event in follower.events():
            self._show(event)
            ended = self._ended()
            if ended and over_s is None:
                over_s = monotonic_s()
            if ended and event.kind == "status" and self._settled(over_s or 0.0):
                return self._outcome(ended)
            if monotonic_s() > deadline_s:
                break
        return _timed_out(self.status)

    def _show(self, event: Event) -> None:
        if event.kind == "entry":
            self._view.entry(event.value)
            if event.value["kind"] == "applied":
                self._applied.append(event.value)
        elif event.kind == "status":
            self.status = event.value
            self._view.status(event.value)

    def _ended(self) -> Mapping[str, Any] | None:
        if self.status["rollout"] != self._rollout:
            raise ConflictError(
                detail=f"another rollout of {self._service} has begun; see penstock history {self._service}."
            )
        outcome = self.status["outcome"]
        return outcome if outcome is not None and outcome["final"] else None

    def _settled(self, over_s: float) -> bool:
        in_force = self.status["applied_generation"] == self.status["generation"]
        return bool(in_force) or monotonic_s() - over_s > _ACKNOWLEDGED_WITHIN_S

    def _outcome(self, ended: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outcome from what was seen: who ended it may be on the way out, and answer no more."""
        acknowledged = (e["at"] for e in self._applied if e["applied"] >= ended["generation"])
        told = {**ended, "applied_at": next(acknowledged, None)}
        return {name: told[name] for name in _OUTCOME_FIELDS}

    def _before(self) -> int:
        """Return the seq before this rollout's first entry."""
        entries = self._api.fetch(f"{service_path(self._service)}/history")
        return max((entry["seq"] for entry in entries if entry["kind"] == "started"), default=1) - 1


def not_awaited(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status of a rollout that nobody waits for, with the fields of an outcome that is still open."""
    return {**status, **dict.fromkeys(_OUTCOME_FIELDS), "generation": status["generation"], "reason": status["reason"]}


def _timed_out(status: Mapping[str, Any]) -> dict[str, Any]:
    waiting = status["waiting_for"] or status["reason"]
    seen = status["evidence"]
    return {
        "outcome": "timeout",
        "reason": f"still {status['phase']} at {status['weight_pct']:g} %: {waiting}",
        "generation": status["generation"],
        "decided_at": None,
        "applied_at": None,
        "n_canary_requests": seen["n_canary"] if seen else 0,
    }
