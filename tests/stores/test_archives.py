"""Unpacking never writes outside its folder, and is whole or not at all."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from penstock.kernel.errors import ArtifactsUnwritable, InvalidArtifact, UnsafeArtifact
from penstock.stores.archives import unpack
from penstock.testing.contracts.artifacts import contents_of
from tests.stores.artifacts.test_contract import no_file_larger_than

FILES = {"a.txt": b"a", "deep/er/b.bin": b"b" * 100_000, "语音": b""}


def tar_of(path: Path, *entries: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"])
def test_what_was_packed_is_unpacked(name: str, tmp_path: Path) -> None:
    packed = tmp_path / name
    if name == "x.zip":
        zip_of(packed, ("deep/", b""), *FILES.items())
    else:
        ending = name.rpartition(".")[2].removeprefix("t") if name != "x.tar" else ""
        with tarfile.open(packed, f"w:{ending}") as archive:  # type: ignore[call-overload]
            archive.addfile(entry("./", tarfile.DIRTYPE))
            for path, content in FILES.items():
                archive.addfile(entry(f"./{path}", size=len(content)), io.BytesIO(content))
    unpack(packed, tmp_path / "into")
    assert contents_of(tmp_path / "into") == FILES
    assert {path.name for path in tmp_path.iterdir()} == {name, "into"}


LINK = zipfile.ZipInfo("link")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (entry("../up"), "'../up': it has a part '..'"),
        (entry("a/../../up"), "it has a part '..'"),
        (entry("/up"), "it is absolute"),
        (entry("..", tarfile.DIRTYPE), "it has a part '..'"),
        (entry("link", tarfile.SYMTYPE, "../.."), "'link': it is a link or a device"),
        (entry("hard", tarfile.LNKTYPE, "/etc/passwd"), "it is a link or a device"),
        (entry("null", tarfile.CHRTYPE), "it is a link or a device"),
        (entry("pipe", tarfile.FIFOTYPE), "it is a link or a device"),
        (entry("a\nb"), "control character"),
        ("../up", "'../up': it has a part '..'"),
        ("/up", "it is absolute"),
        ("../", "it has a part '..'"),
        ("a\\..\\b", "backslash"),
        (LINK, "'link': it is a link or a device"),
    ],
)
def test_a_member_that_leads_elsewhere_is_refused_by_name(
    member: tarfile.TarInfo | str | zipfile.ZipInfo, why: str, tmp_path: Path
) -> None:
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    if isinstance(member, tarfile.TarInfo):
        packed = tar_of(folder / "x.tar.gz", entry("fine", size=3), member, entry("link/x"))
    else:
        packed = zip_of(folder / "x.zip", ("fine", b"abc"), (member, b"../.."))
    with pytest.raises(UnsafeArtifact) as caught:
        unpack(packed, folder / "into")
    assert why in caught.value.message
    assert "\n" not in caught.value.message
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [packed]
    assert list(folder.iterdir()) == [packed]


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_bomb_is_bounded(name: str, tmp_path: Path) -> None:
    size = 64 << 20
    if name == "x.zip":
        packed = zip_of(tmp_path / name, *((str(i), bytes(size)) for i in range(2)))
    else:
        packed = tar_of(tmp_path / name, *(entry(str(i), size=size) for i in range(2)))
    with pytest.raises(UnsafeArtifact, match="unpacks to more than"):
        unpack(packed, tmp_path / "into")
    assert list(tmp_path.iterdir()) == [packed]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.zip", b""),
        ("x.zip", b"PK\x03\x04" + bytes(40)),
        ("x.tar.gz", b"\x1f\x8b"),
        ("x.tar", b"x" * 1000),
        ("x", b"x"),
    ],
)
def test_what_is_no_archive_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArtifact, match="no archive that can be read"):
        unpack(tmp_path / name, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_damaged_member_leaves_nothing(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "x.zip", ("a", b"a" * 50), ("b", bytes(range(256)) * 50))
    content = bytearray(packed.read_bytes())
    content[120:130] = bytes(10)
    packed.write_bytes(content)
    with pytest.raises(InvalidArtifact, match="no archive that can be read"):
        unpack(packed, tmp_path / "into")
    assert list(tmp_path.iterdir()) == [packed]


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "x.tar", entry("a", size=1), entry("a", size=2), mode="w")
    with pytest.raises(InvalidArtifact, match="'a' is in it twice"):
        unpack(packed, tmp_path / "into")
    packed = tar_of(tmp_path / "x.tar", entry("a", size=1), entry("a/b", size=2), mode="w")
    with pytest.raises(InvalidArtifact, match="'a/b' is in it twice"):
        unpack(packed, tmp_path / "into")


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "x.zip", ("a", b"a"))
    (tmp_path / "into").mkdir()
    with pytest.raises(InvalidArtifact, match="is there already"):
        unpack(packed, tmp_path / "into")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "x.zip", ("a", b"a"), ("b", b"b" * 100_000))
    with no_file_larger_than(50_000), pytest.raises(ArtifactsUnwritable, match="File too large"):
        unpack(packed, tmp_path / "into")
    assert list(tmp_path.iterdir()) == [packed]
