import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import UsageError
from penstock.routing.repeatable import DEFAULT_REPEATABLE, as_regex, is_repeatable, paths_by_method

_PATH = st.text(st.sampled_from("/abc.+()[]{}|^$\\-_~%"), max_size=12).map(lambda rest: f"/{rest}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/anything?x=\n"),
        ("HEAD", "/"),
        ("POST", "/synthesize"),
        ("POST", "/tts?text=a/b"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/models/m:predict"),
        ("POST", "/v2/models/m/infer"),
    ],
)
def test_what_may_be_repeated(method: str, path: str) -> None:
    assert is_repeatable(DEFAULT_REPEATABLE, method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/ttsx"),
        ("POST", "/tts/x"),
        ("POST", "/x?/tts"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v2/repository/models/m/unload"),
        ("PUT", "/tts"),
        ("DELETE", "/v1/models/m"),
        ("get", "/"),
    ],
)
def test_what_may_not(method: str, path: str) -> None:
    assert not is_repeatable(DEFAULT_REPEATABLE, method, path)


def test_no_pattern_allows_nothing() -> None:
    assert as_regex(()) is None
    assert not is_repeatable((), "GET", "/")


@pytest.mark.parametrize("pattern", ["", "GET", "/x", "get /x", "GET x", "GET /a b", "GET /*/x", "GET /x?y", "GET  /x"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="is not a pattern"):
        as_regex((pattern,))


@given(_PATH, _PATH)
def test_a_path_means_itself_and_a_star_any_rest(path: str, rest: str) -> None:
    assert is_repeatable((f"POST {path}",), "POST", path)
    assert is_repeatable((f"POST {path}",), "POST", f"{path}?q")
    assert is_repeatable((f"POST {path}*",), "POST", path + rest)
    assert not is_repeatable((f"POST {path}",), "POST", path + rest)


@pytest.mark.parametrize("patterns", [(), ("GET /*",), DEFAULT_REPEATABLE, ("PUT /a", "POST /a", "POST /b*")])
@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]), path=st.sampled_from(["/", "/a", "/b", "/bc", "/tts"]))
def test_method_and_paths_apart_match_the_same(patterns: tuple[str, ...], method: str, path: str) -> None:
    pairs = paths_by_method(patterns)
    apart = any(known == method and re.fullmatch(paths, path) for known, paths in pairs)
    assert apart is is_repeatable(patterns, method, path)


def test_each_method_has_one_pair() -> None:
    assert [method for method, _ in paths_by_method(DEFAULT_REPEATABLE)] == ["GET", "HEAD", "POST"]
