"""Watching over a real connection."""

import json
import threading
from typing import Any

import httpx2

from tests.api.served import Served
from tests.control.conftest import PLAN


def test_a_watcher_sees_entries_with_their_seq_and_statuses(served: Served) -> None:
    seen: list[httpx2.ServerSentEvent] = []
    with httpx2.Client(timeout=20) as client, client.stream("GET", f"{served.url}/v1/services/tts/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for event in httpx2.EventSource(answer):
            if not seen:
                served.call(served.world.release())
            seen.append(event)
            if event.event == "entry" and json.loads(event.data)["kind"] == "stepped":
                break
    assert seen[0].event == "status"
    entries: list[dict[str, Any]] = [json.loads(e.data) for e in seen if e.event == "entry"]
    assert [e["kind"] for e in entries][:2] == ["started", "applied"]
    assert [e.id for e in seen if e.event == "entry"] == [str(e["seq"]) for e in entries]


def test_an_unknown_service_is_a_problem_not_a_stream(served: Served) -> None:
    answer = httpx2.get(f"{served.url}/v1/services/sts/events", timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-service")


def test_streams_end_when_the_control_plane_stops(served: Served) -> None:
    served.call(served.world.release({**PLAN, "dwell": "1h"}))  # it must not be over before it is seen
    with httpx2.Client(timeout=20) as client, client.stream("GET", f"{served.url}/v1/services/tts/events") as answer:
        events = iter(httpx2.EventSource(answer))
        next(e for e in events if e.event == "status" and json.loads(e.data)["weight_pct"] > 0)
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        rest = list(events)  # ends by itself, after what the stop itself wrote
        stopping.join()
    assert any(e.event == "entry" and "was stopped" in e.data for e in rest)
