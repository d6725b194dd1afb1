"""Endpoints and releases."""

import pytest

from penstock.kernel.errors import DuplicateEndpoint, InvalidUrl, InvalidVersion
from penstock.registry.release import Endpoint, Release


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://127.0.0.1:6006", "http://127.0.0.1:6006"),
        ("127.0.0.1:6006", "http://127.0.0.1:6006"),
        ("http://localhost:6006/", "http://127.0.0.1:6006"),
        ("https://Model.Example", "https://model.example:443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_urls_are_read(written: str, url: str) -> None:
    assert Endpoint.parse(written).url == url


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("ftp://h:1", "scheme 'ftp'"),
        ("http://h:1/tts", "more than"),
        ("http://h:1?x=1", "more than"),
        ("http://u:p@h:1", "more than"),
        ("http://h:99999", "port"),
        ("http://h:port", "port"),
        ("http://", "names no host"),
        ("http://a b:1", "names no host"),
    ],
)
def test_wrong_urls_are_one_sentence(written: str, why: str) -> None:
    with pytest.raises(InvalidUrl, match=why):
        Endpoint.parse(written)


def test_a_release_survives_the_journal_and_refuses_one_endpoint_twice() -> None:
    endpoint = Endpoint("http", "127.0.0.1", 6006)
    release = Release("tts", 3, "2.0.1", {"model": "2.0.1"}, (endpoint,), "sha256:abc")
    assert Release.from_json(release.as_json()) == release
    with pytest.raises(DuplicateEndpoint):
        Release("tts", 3, "2.0.1", {}, (endpoint, endpoint))
    with pytest.raises(InvalidVersion):
        Release("tts", 3, "2.0 1", {}, (endpoint,))
