"""A swap says before the load that it does not fit: RAM by measure, GPU memory by what the user's callable says."""

from pathlib import Path

import pytest

from penstock.kernel.errors import DoesNotFit, SwapRefused
from penstock.runtime import Pipeline, Slot
from penstock.runtime.memory import free_ram_bytes, in_words, resident_bytes
from tests.runtime.conftest import Maker

MIB = 2**20


class Device:
    """A GPU with room for so many units; every version takes ten of them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self.maker = Maker()

    def free(self) -> int:
        return (self.total - self.used) * MIB

    def load(self, version: str) -> object:
        assert self.used + 10 <= self.total, "out of memory: the swap should have said so"
        self.used += 10
        return self.maker.load(version)

    def unload(self, model: object) -> None:
        self.used -= 10

    def slot(self, name: str = "vocoder", keep: int = 1) -> Slot[object]:
        return Slot(name, self.load, unload=self.unload, keep=keep, free_gpu_bytes=self.free)


def test_two_versions_that_do_not_fit_are_refused_before_the_load() -> None:
    device = Device(15)
    slot = device.slot()
    assert slot.swap("1").gpu_bytes == 10 * MIB
    with pytest.raises(DoesNotFit) as refused:
        slot.swap("2")
    assert isinstance(refused.value, SwapRefused)
    assert refused.value.message == (
        "Version 2 does not fit into GPU memory beside what slot 'vocoder' holds: the last load took 10 MiB, 5 MiB are free. "
        "1 still serves."
    )
    assert "drain_first=True" in refused.value.remedy
    assert (slot.version, device.maker.loads) == ("1", ["1"])
    assert slot.swap("2", drain_first=True).version == "2"
    assert device.maker.loads == ["1", "2"]


def test_kept_versions_make_room_for_a_load() -> None:
    device = Device(25)
    slot = device.slot(keep=3)
    for version in ("1", "2", "3"):
        slot.swap(version)
    assert (slot.version, slot.warm, device.used) == ("3", ("2",), 20)


def test_a_kept_version_that_still_has_leases_makes_no_room() -> None:
    device = Device(25)
    slot = device.slot()
    slot.swap("1")
    with slot.lease():
        slot.swap("2")
        with pytest.raises(DoesNotFit):
            slot.swap("3")
        assert slot.warm == ("1",)
    assert device.maker.loads == ["1", "2"]


def test_a_warm_version_needs_no_room() -> None:
    device = Device(20)
    slot = device.slot()
    slot.swap("1")
    slot.swap("2")
    assert slot.swap("1").version == "1"


def test_a_pipeline_asks_for_room_for_all_its_parts_together() -> None:
    device = Device(35)
    acoustic, vocoder = device.slot("acoustic"), device.slot("vocoder")
    pipeline = Pipeline({"acoustic": acoustic, "vocoder": vocoder})
    pipeline.swap({"acoustic": "1", "vocoder": "1"})
    with pytest.raises(DoesNotFit):
        pipeline.swap({"acoustic": "2", "vocoder": "2"})
    assert device.maker.loads == ["1", "1"]
    pipeline.swap({"acoustic": "2"})
    assert pipeline.versions == {"acoustic": "2", "vocoder": "1"}


def test_ram_is_measured_by_the_load() -> None:
    free = [1024 * MIB]

    def load(_: str) -> bytearray:
        return bytearray(b"x") * (64 * MIB)

    slot = Slot("big", load, keep=0, free_ram_bytes=lambda: free[0])
    assert slot.swap("1").ram_bytes == pytest.approx(64 * MIB, rel=0.1)
    free[0] = 32 * MIB
    with pytest.raises(DoesNotFit, match=r"into memory .* 32 MiB are free"):
        slot.swap("2")
    free[0] = 128 * MIB
    assert slot.swap("2").version == "2"


def test_nobody_is_refused_where_memory_cannot_be_read() -> None:
    slot = Slot("big", lambda _: bytearray(b"x") * (8 * MIB), free_ram_bytes=lambda: None)
    slot.swap("1")
    assert slot.swap("2").version == "2"


def test_what_linux_says_of_this_process_is_plausible() -> None:
    free = free_ram_bytes()
    assert free is not None
    assert free > MIB
    assert 10 * MIB < resident_bytes() < 100_000 * MIB


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return folder


MEMINFO = "MemTotal: 8192 kB\nMemAvailable: 4096 kB\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "free"),
    [
        pytest.param("0::/\n", {}, 4096 * 1024, id="no limit"),
        pytest.param("0::/\n", {"memory_dot_max": "max", "memory_dot_current": "5"}, 4096 * 1024, id="unlimited"),
        pytest.param(
            "0::/pod/app\n",
            {
                "pod__memory_dot_max": "1000",
                "pod__memory_dot_current": "700",
                "pod__memory_dot_stat": "anon 1\ninactive_file 100\n",
                "pod__app__memory_dot_max": "9000",
                "pod__app__memory_dot_current": "700",
            },
            400,
            id="the parent's limit, less what is only cached",
        ),
        pytest.param(
            "3:memory:/\n",
            {"memory__memory_dot_limit_in_bytes": str(2**63 - 4096), "memory__memory_dot_usage_in_bytes": "5"},
            4096 * 1024,
            id="version 1, unlimited",
        ),
        pytest.param(
            "4:cpu:/\n3:memory:/host/path\n",
            {"memory__memory_dot_limit_in_bytes": "1000", "memory__memory_dot_usage_in_bytes": "1200"},
            0,
            id="version 1, and more than the limit",
        ),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, cgroup: str, files: dict[str, str], free: int) -> None:
    proc = written(tmp_path / "proc", meminfo=MEMINFO, self__cgroup=cgroup)
    assert free_ram_bytes(proc, written(tmp_path / "cgroup", **files)) == free


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert free_ram_bytes(tmp_path, tmp_path) is None
    assert resident_bytes(tmp_path) == 0


@pytest.mark.parametrize(("n_bytes", "words"), [(0, "0 MiB"), (734 * MIB, "734 MiB"), (1536 * MIB, "1.5 GiB")])
def test_bytes_in_words(n_bytes: int, words: str) -> None:
    assert in_words(n_bytes) == words
