"""Endpoints and releases."""

import pytest

from penstock.kernel.errors import DuplicateEndpoint, InvalidUrl, InvalidVersion
from penstock.registry.release import Endpoint, Release, part_name, set_name


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
        ("http://h!:1", "letters, digits, dots and dashes"),
        ("http://[::1", "Invalid IPv6"),
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


def test_quarantine_remembers_the_digest_where_there_is_one() -> None:
    endpoint = Endpoint("http", "127.0.0.1", 6006)
    assert Release("tts", 3, "2.0.1", {}, (endpoint,), "sha256:abc").quarantine_key == "sha256:abc"
    assert Release("tts", 3, "2.0.1", {}, (endpoint,)).quarantine_key == "version:2.0.1"


@pytest.mark.parametrize(("host", "is_ip"), [("127.0.0.1", True), ("::1", True), ("model.example", False)])
def test_addresses_need_no_name_resolution(host: str, is_ip: bool) -> None:
    assert Endpoint("http", host, 80).is_ip is is_ip


def test_quarantine_knows_a_release_by_its_name_and_by_each_part() -> None:
    endpoint = Endpoint("http", "127.0.0.1", 6006)
    versions = {"vocoder": "1.3.0", "acoustic": "1.2.0"}
    release = Release("tts", 3, set_name(versions), versions, (endpoint,), "sha256:abc")
    assert release.name == "acoustic-1.2.0+vocoder-1.3.0"
    parts = {f"version:{part_name(component, version)}" for component, version in versions.items()}
    assert set(release.quarantine_keys) == {"sha256:abc", f"version:{release.name}", *parts}


def test_releases_share_servers_when_an_endpoint_is_in_both() -> None:
    one, other = Endpoint("http", "10.0.0.1", 80), Endpoint("http", "10.0.0.2", 80)
    release = Release("tts", 1, "1.0", {"model": "1.0"}, (one, other))
    assert release.shares_servers(Release("tts", 2, "2.0", {"model": "2.0"}, (other,)))
    assert not Release("tts", 1, "1.0", {}, (one,)).shares_servers(Release("tts", 2, "2.0", {}, (other,)))
