"""What may be sent twice is; what may not is only when no server can have seen it."""

import pytest

from tests.gateways.lab import Lab

_REPEATABLE = [("POST", "/synthesize"), ("POST", "/synthesize?voice=a"), ("GET", "/anything")]
_ONCE_ONLY = [("POST", "/synthesize/other"), ("POST", "/other"), ("PUT", "/tts")]


@pytest.mark.parametrize("fault", ["503", "reset"])
async def test_only_repeatable_requests_are_sent_again(lab: Lab, fault: str) -> None:
    await lab.apply(lab.split(10_000))
    (stable,), (canary,) = lab.pods[1], lab.pods[2]
    canary.mode = fault
    for method, path in (*_REPEATABLE, *_ONCE_ONLY):
        stable.heads.clear()
        canary.heads.clear()
        answer = await lab.ask(path, method=method, body=b"" if method == "GET" else b"text")
        assert canary.n_attempts == 1
        if (method, path) in _REPEATABLE:
            assert (answer.status, answer.release) == (200, "1.0.0")
        else:
            assert answer.status == 503
            assert stable.n_attempts == 0


async def test_a_request_that_no_server_took_is_sent_to_another(lab: Lab) -> None:
    await lab.apply(lab.split(10_000))
    lab.pods[2][0].die()
    answer = await lab.ask("/other", method="POST", body=b"text")
    assert (answer.status, answer.release) == (200, "1.0.0")
