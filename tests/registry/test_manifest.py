"""A manifest names its files in one way only, and none that leads out of the artifact."""

import json
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import InvalidArtifact, InvalidDigest
from penstock.registry.manifest import ArtifactFile, Manifest, checked_digest, hex_of, why_unfit

A, B = "a" * 64, "b" * 64
#: Of the text in the first test, as sha256sum says it.
GOLDEN = "sha256:086dd680bfbd111b608310511d58235c747c00876b5870ea424a90834232dff2"
sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.text("ab.-_é语 ", min_size=1, max_size=6).filter(lambda name: name not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def test_the_text_is_canonical_and_the_digest_is_its_sha256() -> None:
    manifest = Manifest.of([ArtifactFile("b/é", B, 1), ArtifactFile("a.txt", A, 3)])
    assert manifest.text.decode() == (
        f'{{"files":[{{"path":"a.txt","sha256":"{A}","size_bytes":3}},'
        f'{{"path":"b/é","sha256":"{B}","size_bytes":1}}],"layout":"penstock.artifact/1"}}'
    )
    assert manifest.digest == GOLDEN
    assert hex_of(manifest.digest) == GOLDEN[7:]
    assert manifest.size_bytes == 4
    assert Manifest.of([ArtifactFile("x", A, 3), ArtifactFile("y", A, 3)]).blobs == {A: 3}


def fits(path: str, others: Iterable[str]) -> bool:
    return not any(other.startswith(path + "/") for other in others)


@given(
    st.dictionaries(paths, st.tuples(sha256s, st.integers(0, 2**50)), min_size=1, max_size=6).filter(
        lambda entries: all(fits(path, entries) for path in entries)
    ),
    st.randoms(),
)
def test_what_was_written_is_read_and_the_order_given_does_not_count(
    entries: dict[str, tuple[str, int]], order: Random
) -> None:
    files = [ArtifactFile(path, sha256, size) for path, (sha256, size) in entries.items()]
    manifest = Manifest.of(files)
    order.shuffle(files)
    assert Manifest.of(files) == manifest
    assert Manifest.parse(manifest.text, digest=manifest.digest) == manifest


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../x", "'..'"),
        ("a/../../x", "'..'"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("./a", "'.'"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("..\\x", "backslash"),
        ("C:\\x", "backslash"),
        ("\udc80", "UTF-8"),
        ("x" * 256, "too long"),
        ("/".join(["x" * 200] * 6), "too long"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str, why: str) -> None:
    assert why in (why_unfit(path) or "")
    with pytest.raises(InvalidArtifact, match="cannot be stored"):
        ArtifactFile(path, A, 1)


@pytest.mark.parametrize("path", ["a", "...", "a/..b/c", " ", "x" * 255, "语音/声码器.safetensors", "-rf"])
def test_a_plain_path_is_fine(path: str) -> None:
    assert why_unfit(path) is None


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "no file"),
        ([ArtifactFile("a", A, 1), ArtifactFile("a", B, 1)], "there twice"),
        ([ArtifactFile("a", A, 1), ArtifactFile("a/b", B, 1)], "'a' is a file already"),
        ([ArtifactFile("a", A, 1), ArtifactFile("a.b", A, 1), ArtifactFile("a/b/c", B, 1)], "'a' is a file already"),
    ],
)
def test_files_that_cannot_lie_in_one_folder_are_refused(files: list[ArtifactFile], why: str) -> None:
    with pytest.raises(InvalidArtifact) as caught:
        Manifest.of(files)
    assert why in caught.value.message


@pytest.mark.parametrize(("sha256", "size"), [("A" * 64, 1), ("a" * 63, 1), ("", 1), (A, -1)])
def test_a_file_without_a_sha256_or_a_size_is_refused(sha256: str, size: int) -> None:
    with pytest.raises(InvalidArtifact):
        ArtifactFile("a", sha256, size)


GOOD = {"layout": "penstock.artifact/1", "files": [{"path": "a", "sha256": A, "size_bytes": 1}]}


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {},
        {**GOOD, "layout": "penstock.artifact/2"},
        {**GOOD, "files": {}},
        {**GOOD, "files": [1]},
        {**GOOD, "files": [{"path": "a", "sha256": A}]},
        {**GOOD, "files": [{"path": "a", "sha256": A, "size_bytes": 1, "mode": 7}]},
        {**GOOD, "files": [{"path": "a", "sha256": A, "size_bytes": True}]},
        {**GOOD, "files": [{"path": 1, "sha256": A, "size_bytes": 1}]},
        {**GOOD, "files": [{"path": "../a", "sha256": A, "size_bytes": 1}]},
        {**GOOD, "more": 1},
    ],
)
def test_what_is_no_manifest_is_refused(fields: object) -> None:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InvalidArtifact):
        Manifest.parse(text)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", json.dumps(GOOD).encode(), b"[" * 100_000])
def test_a_text_that_is_not_canonical_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArtifact):
        Manifest.parse(text)


def test_a_manifest_of_another_digest_is_refused() -> None:
    manifest = Manifest.of([ArtifactFile("a", A, 1)])
    with pytest.raises(InvalidArtifact, match=manifest.digest):
        Manifest.parse(manifest.text, digest=GOLDEN)


@pytest.mark.parametrize(
    "digest", ["", A, "sha256:", "sha256:" + "A" * 64, "md5:" + A, f"sha256:{A}\n", f"sha256:{A}0"]
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(InvalidDigest):
        checked_digest(digest)
