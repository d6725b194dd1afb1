"""The timeline in words, for the terminal and the report. Nothing is computed or decided here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from penstock.cli.demo.recording import Recording
from penstock.cli.demo.timeline import Removal, Story, n_failed_elsewhere
from penstock.cli.wording import evidence
from penstock.rollout.entry import Kind


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (seconds since 1970), what, and what else there is to say about it."""

    at_s: float
    what: str
    details: tuple[str, ...] = ()


def lines(recording: Recording, told: Sequence[Story]) -> Iterator[str]:
    """Yield the end of the demo: what happened when, and to whom."""
    yield "TIMELINE  seconds since the first request"
    for event in (event for story in told for event in events(story)):
        yield f"{event.at_s - recording.start_s:9.2f}  {event.what}"
        yield from (f"{'':11}{detail}" for detail in event.details)
    yield "WHAT IT COST"
    yield from (f"  {line}" for story in told for line in cost(story))
    yield f"  {unblamed(recording, told)}"


def events(story: Story) -> list[Event]:
    """Return what happened, oldest first."""
    found = [Event(story.start_s, f"{story.version} is released against {story.stable}")]
    removed_s = {removal.at_s for removal in story.removals}
    for at_s, weight_pct in story.weights:
        if at_s not in removed_s and at_s != story.decided_s and weight_pct > 0:
            found.append(Event(at_s, f"{story.version} gets {weight_pct:g} % of the users"))
    found += [removed(story, removal) for removal in story.removals]
    if story.outcome == "promoted" and story.decided_s is not None:
        promoted = f"PROMOTED: {story.version} is the stable release now"
        found.append(Event(story.decided_s, promoted, (story.reason,)))
    return sorted(found, key=lambda event: event.at_s)


def removed(story: Story, removal: Removal) -> Event:
    """Return what a removal was, who obeyed, and what still slipped through."""
    if removal.kind == Kind.WITHDRAWN:
        what = (
            f"WITHDRAWN: {story.version} goes from {removal.from_pct:g} % to 0 %, and is tested with replayed requests"
        )
        details: tuple[str, ...] = ()
    else:
        what = f"ROLLED BACK: {story.version} is condemned{judged(story)}"
        details = (story.reason,)
    details += (acknowledged(removal), slipped(removal) if removal.from_pct else "it had no traffic any more")
    return Event(removal.at_s, what, details)


def judged(story: Story) -> str:
    """Return ` on evidence 212 of 125`; empty where nothing was judged."""
    if story.verdict is None:
        return ""
    return f" on evidence {evidence(story.verdict['evidence'])} of {story.verdict['evidence_needed']:.0f}"


def acknowledged(removal: Removal) -> str:
    """Return who said that it obeys, and when."""
    if removal.acknowledged_ms is None:
        return "no gateway acknowledged it"
    return f"acknowledged by {', '.join(removal.nodes)} after {removal.acknowledged_ms:.0f} ms"


def slipped(removal: Removal) -> str:
    """Return how long after the decision a request still reached the canary, and a bad answer a user."""
    if removal.last_start_ms is None:
        last = "no request reached it after the decision"
    else:
        last = f"the last request that reached it was sent {removal.last_start_ms:.0f} ms after the decision"
    if removal.last_bad_ms is None:
        return f"{last}, no bad answer came after it"
    return f"{last}, the last bad answer came {removal.last_bad_ms:.0f} ms after it"


def cost(story: Story) -> Iterator[str]:
    """Yield whom the canary met."""
    yield (
        f"{story.version}: {story.n_users} users met it, {story.n_users_failed} of them a failure "
        f"({story.n_canary_failed} of {story.n_canary} requests failed)"
    )
    yield f"{story.stable} meanwhile: {story.n_other_failed} of {story.n_other} requests failed"


def unblamed(recording: Recording, told: Sequence[Story]) -> str:
    """Return how many requests failed that no faulty release answered."""
    blamed = [story.version for story in told if story.outcome == "rolled_back"]
    n_failed = n_failed_elsewhere(recording, *blamed)
    return f"{n_failed} of {len(recording.requests)} requests failed for another reason than {' and '.join(blamed) or 'a bad version'}"
