"""The arithmetic of the timeline, on a recorded run."""

from dataclasses import replace

import pytest

from penstock.cli.demo.recording import Recording, Request
from penstock.cli.demo.timeline import n_failed_elsewhere, stories
from penstock.cli.demo.words import lines

from .conftest import BEGIN_S, request


def test_two_rollouts_with_their_endings(recording: Recording) -> None:
    bad, good = stories(recording)
    assert (bad.version, bad.stable, bad.outcome) == ("2.0.1", "1.5.0", "rolled_back")
    assert (good.version, good.stable, good.outcome) == ("1.6.0", "1.5.0", "promoted")
    assert (bad.first_weight_s, bad.decided_s) == (BEGIN_S + 3, BEGIN_S + 14)
    assert bad.end_s == BEGIN_S + 14.2
    assert bad.verdict is not None
    assert bad.verdict["evidence"] == 212.0
    assert [weight for _, weight in good.weights] == [10.0, 50.0, 100.0, 100.0]


def test_who_met_the_canary(recording: Recording) -> None:
    bad, good = stories(recording)
    assert (bad.n_canary, bad.n_canary_failed) == (10, 5)
    assert (bad.n_users, bad.n_users_failed) == (5, 5)
    assert (bad.n_other_failed, good.n_other_failed, good.n_canary_failed) == (0, 0, 0)
    assert good.n_users == 50


def test_no_request_after_the_decision(recording: Recording) -> None:
    withdrawn, rolled_back = stories(recording)[0].removals
    assert (withdrawn.from_pct, rolled_back.from_pct) == (10.0, 0.0)
    assert withdrawn.acknowledged_ms == pytest.approx(5, abs=0.01)
    assert withdrawn.nodes == ("gateway-1",)
    assert withdrawn.last_start_ms is None
    assert withdrawn.last_bad_ms is None


def with_requests(recording: Recording, *more: Request) -> Recording:
    return replace(recording, requests=(*recording.requests, *more))


def test_requests_that_slipped_through(recording: Recording) -> None:
    slipped = with_requests(
        recording,
        request(7.99, "2.0.1", status=500, duration_s=0.5),  # was on its way when it was decided
        request(8.012, "2.0.1", duration_s=0.01),
        request(8.003, "2.0.1", duration_s=0.01),
    )
    withdrawn, _ = stories(slipped)[0].removals
    assert withdrawn.last_start_ms == pytest.approx(12, abs=0.01)
    assert withdrawn.last_bad_ms == pytest.approx(490, abs=0.01)


def test_traffic_that_the_canary_got_back_did_not_slip_through(recording: Recording) -> None:
    restored = [e | {"kind": "restored", "weight_pct": 10.0} if e["seq"] == 7 else e for e in recording.journal]
    later = with_requests(replace(recording, journal=tuple(restored)), request(9.0, "2.0.1"))
    withdrawn, rolled_back = stories(later)[0].removals
    assert withdrawn.last_start_ms is None
    assert rolled_back.from_pct == 10.0


def test_failures_that_no_bad_version_explains(recording: Recording) -> None:
    assert n_failed_elsewhere(recording, "2.0.1") == 0
    assert n_failed_elsewhere(recording) == 5
    broken = with_requests(recording, request(8.1, "", status=0), request(8.2, "1.5.0", status=503))
    assert n_failed_elsewhere(broken, "2.0.1") == 2


def test_a_rollout_that_is_still_open(recording: Recording) -> None:
    open_ended = replace(recording, journal=recording.journal[:5])
    (story,) = stories(open_ended)
    assert (story.outcome, story.decided_s, story.verdict) == ("", None, None)
    assert story.end_s == max(request.end_s for request in recording.requests)


def test_the_words(recording: Recording) -> None:
    said = "\n".join(lines(recording, stories(recording)))
    assert "WITHDRAWN: 2.0.1 goes from 10 % to 0 %" in said
    assert "acknowledged by gateway-1 after 5 ms" in said
    assert "no request reached it after the decision" in said
    assert "ROLLED BACK: 2.0.1 is condemned on evidence 212 of 125" in said
    assert "because of <promoted>" in said
    assert "PROMOTED: 1.6.0 is the stable release now" in said
    assert "2.0.1: 5 users met it, 5 of them a failure (5 of 10 requests failed)" in said
    assert "0 of 760 requests failed for another reason than 2.0.1" in said
