import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import UsageError
from penstock.mirror.shelf import BODY_LIMIT_BYTES, Shelf


def put(shelf: Shelf, service: str, path: str, n_bytes: int = 0) -> None:
    shelf.put(service, "POST", path, (), b"x" * n_bytes)


def paths(shelf: Shelf, service: str) -> list[str]:
    return [request.path for request in shelf.recorded(service)]


def test_nothing_is_kept_of_a_service_nobody_asked_for() -> None:
    shelf = Shelf()
    put(shelf, "tts", "/tts")
    assert shelf.recorded("tts") == ()


def test_a_body_at_the_limit_is_kept_and_a_larger_one_is_not() -> None:
    shelf = Shelf()
    shelf.allow("tts", ("POST /*",))
    put(shelf, "tts", "/at", BODY_LIMIT_BYTES)
    put(shelf, "tts", "/over", BODY_LIMIT_BYTES + 1)
    assert paths(shelf, "tts") == ["/at"]


def test_the_total_is_bounded_over_all_services_and_the_oldest_goes_first() -> None:
    shelf = Shelf(total_limit_bytes=1000)
    for service in ("a", "b"):
        shelf.allow(service, ("POST /*",))
    put(shelf, "a", "/1", 400)
    put(shelf, "b", "/2", 400)
    put(shelf, "b", "/3", 400)
    assert (paths(shelf, "a"), paths(shelf, "b")) == ([], ["/2", "/3"])


def test_headers_count_too() -> None:
    shelf = Shelf(total_limit_bytes=1000)
    shelf.allow("a", ("GET /*",))
    for i in range(3):
        shelf.put("a", "GET", f"/{i}", (("cookie", "x" * 600),), b"")
    assert paths(shelf, "a") == ["/2"]


def test_other_patterns_make_it_forget_what_no_longer_matches() -> None:
    shelf = Shelf(total_limit_bytes=1000)
    shelf.allow("tts", ("POST /*",))
    put(shelf, "tts", "/tts", 300)
    put(shelf, "tts", "/buy", 300)
    shelf.allow("tts", ("POST /tts",))
    assert paths(shelf, "tts") == ["/tts"]
    put(shelf, "tts", "/buy", 300)
    put(shelf, "tts", "/tts", 600)  # fits only if what was forgotten no longer counts
    assert paths(shelf, "tts") == ["/tts", "/tts"]


def test_a_malformed_pattern_changes_nothing() -> None:
    shelf = Shelf()
    shelf.allow("tts", ("POST /tts",))
    with pytest.raises(UsageError, match="POST tts"):
        shelf.allow("tts", ("POST tts",))
    assert shelf.allows("tts", "POST", "/tts?x=1")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400))))
def test_it_never_holds_more_than_it_may(requests: list[tuple[str, int]]) -> None:
    shelf = Shelf(limit=5, total_limit_bytes=1000)
    for service in "ab":
        shelf.allow(service, ("POST /*",))
    for service, n_bytes in requests:
        put(shelf, service, "/", n_bytes)
        kept = [*shelf.recorded("a"), *shelf.recorded("b")]
        assert sum(len(r.body) + len(r.path) for r in kept) <= 1000
        assert len(shelf.recorded("a")) <= 5
        assert len(shelf.recorded("b")) <= 5
        assert kept == sorted(shelf.recorded("a"), key=lambda r: r.key) + sorted(
            shelf.recorded("b"), key=lambda r: r.key
        )
        assert any(len(r.body) == n_bytes for r in shelf.recorded(service))
    shelf.clear()
    assert shelf.recorded("a") == shelf.recorded("b") == ()
