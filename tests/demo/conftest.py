"""A run of the demo as it would have been recorded: 2.0.1 is withdrawn, tested, rolled back; then 1.6.0 is promoted."""

import io
import wave
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from penstock.cli.demo.recording import Recording, Request, Sample, Utterance

#: When the recorded run began, seconds since 1970.
BEGIN_S = 1_700_000_000.0
_NODES = ["gateway-1"]


def entry(seq: int, at_s: float, kind: str, generation: int, **facts: Any) -> dict[str, Any]:
    """A journal entry as the API gives it, `at_s` seconds into the run."""
    at = datetime.fromtimestamp(BEGIN_S + at_s, UTC).isoformat().replace("+00:00", "Z")
    own = {"seq": seq, "at": at, "service": "tts", "actor": "judge", "kind": kind, "generation": generation}
    return {"reason": f"because of <{kind}>", "hash": f"{seq:064x}", **facts, **own}


def request(
    at_s: float, release: str, *, status: int = 200, user: str = "user-0001", duration_s: float = 0.02
) -> Request:
    return Request(BEGIN_S + at_s, duration_s, status, release, release, "", user)


def verdict(word: str, evidence: float, reason: str) -> dict[str, Any]:
    errors = {"request_evidence": evidence / 2, "block_evidence": evidence / 8, "metric": "errors"}
    return {
        "word": word,
        "evidence": evidence,
        "evidence_needed": 125.0,
        "reasons": [reason],
        "metrics": {"errors": errors},
        "n_canary": 20,
        "n_probes": 30,
    }


def journal() -> list[dict[str, Any]]:
    bad, good = {"name": "2.0.1", "number": 2}, {"name": "1.6.0", "number": 3}
    condemned = verdict("harmful", 212.0, 'errors 47 % against <0.2 %> on stable & "more"')
    return [
        entry(1, 0.0, "adopted", 1),
        entry(2, 2.0, "started", 2, release=bad),
        entry(3, 2.1, "applied", 2, applied=2, nodes=_NODES),
        entry(4, 3.0, "stepped", 3, step=0, weight_pct=10.0),
        entry(5, 3.01, "applied", 3, applied=3, nodes=_NODES),
        entry(6, 8.0, "withdrawn", 4, verdict=verdict("undecided", 3.0, "errors 44 %")),
        entry(7, 8.005, "applied", 4, applied=4, nodes=_NODES),
        entry(8, 14.0, "rolling-back", 5, ending="rolled_back", verdict=condemned),
        entry(9, 14.004, "applied", 5, applied=5, nodes=_NODES),
        entry(10, 14.1, "rolled-back", 6),
        entry(11, 14.2, "applied", 6, applied=6, nodes=_NODES),
        entry(12, 20.0, "started", 7, release=good),
        entry(13, 21.0, "stepped", 8, step=0, weight_pct=10.0),
        entry(14, 26.0, "stepped", 9, step=1, weight_pct=50.0),
        entry(15, 31.0, "baking", 10, step=2, weight_pct=100.0),
        entry(16, 36.0, "promoted", 11, verdict=verdict("undecided", 1.1, "no harm proven"), n_canary_requests=90),
        entry(17, 36.01, "applied", 11, applied=11, nodes=_NODES),
    ]


def requests() -> Iterator[Request]:
    """20 a second; 10 % to 2.0.1 from 3 s to 8 s, every other of those fails; later 1.6.0 takes over."""
    for number in range(760):
        at_s, user = number / 20, f"user-{number % 50:04d}"
        if 3 <= at_s < 8 and number % 10 == 0:
            yield request(at_s, "2.0.1", status=500 if number % 20 else 200, user=user)
        elif (21 <= at_s < 26 and number % 10 == 0) or (26 <= at_s < 31 and number % 2) or at_s >= 31:
            yield request(at_s, "1.6.0", user=user)
        else:
            yield request(at_s, "1.5.0", user=user)


def samples() -> Iterator[Sample]:
    phases = [(2, "preflight"), (3, "stepping"), (8, "withdrawn"), (14, "rolling_back"), (14.2, "idle")]
    phases += [(20, "preflight"), (21, "stepping"), (31, "baking"), (36, "idle")]
    for at_s in np.arange(0.0, 38.0, 0.25):
        phase = [name for begin_s, name in [(0, "idle"), *phases] if begin_s <= at_s][-1]
        seen = (
            None if phase == "idle" else verdict("undecided", 1.0 + 10 ** min(at_s / 6, 2.3) if at_s < 15 else 0.8, "x")
        )
        if phase == "preflight" and seen:
            seen["metrics"] = {}  # nothing has been counted yet
        yield Sample(BEGIN_S + float(at_s), {"phase": phase, "evidence": seen})


def tone() -> bytes:
    """A WAV file with a third of a second of 440 Hz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes((8000 * np.sin(2 * np.pi * 440 * np.arange(7350) / 22050)).astype("<i2").tobytes())
    return out.getvalue()


def utterances() -> Iterator[Utterance]:
    for kind, text in (("short", "Hello <you> & me"), ("long", "你好。" * 30)):
        for version in ("1.5.0", "2.0.1", "1.6.0"):
            if (kind, version) == ("long", "2.0.1"):
                yield Utterance(version, kind, text, error='HTTP 500: <b>"IndexError"</b>')
            else:
                yield Utterance(version, kind, text, wav=tone())


@pytest.fixture
def recording() -> Recording:
    commands = ("penstock up tts=http://127.0.0.1:1 --state <temp>",)
    return Recording(
        "tts", "1.5.0", tuple(requests()), tuple(samples()), tuple(journal()), tuple(utterances()), commands
    )
