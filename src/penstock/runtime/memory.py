"""How much memory a version takes, and how much is left: asked before a load, so that a swap never runs the process out.

RAM is read from Linux; where it cannot be read, nothing is refused. GPU memory is whatever the user's callable says.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
#: Version 1 says "no limit" with the largest multiple of a page. Source: Linux, mm/page_counter, PAGE_COUNTER_MAX.
_NO_LIMIT_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one or more versions take, in bytes."""

    ram_bytes: int = 0
    gpu_bytes: int = 0

    def __add__(self, other: "Footprint") -> "Footprint":
        return Footprint(self.ram_bytes + other.ram_bytes, self.gpu_bytes + other.gpu_bytes)

    def __sub__(self, other: "Footprint") -> "Footprint":
        """Subtract, never below zero: a load that frees memory takes none."""
        return Footprint(max(0, self.ram_bytes - other.ram_bytes), max(0, self.gpu_bytes - other.gpu_bytes))


@dataclass(frozen=True, slots=True)
class Shortage:
    """The kind of memory that is short, what is needed of it and what is free, in bytes."""

    what: str
    need_bytes: int
    free_bytes: int


class Memory:
    """Measures this process and what it may still take.

    `free_ram_bytes` and `free_gpu_bytes` return bytes, or None where nobody knows.
    """

    def __init__(
        self, free_ram_bytes: Callable[[], int | None], free_gpu_bytes: Callable[[], int | None] | None
    ) -> None:
        self._free_ram_bytes = free_ram_bytes
        self._free_gpu_bytes = free_gpu_bytes or (lambda: None)

    def mark(self) -> Callable[[], Footprint]:
        """Remember the present; return what tells how much was taken since."""
        ram_bytes, gpu_bytes = resident_bytes(), self._free_gpu_bytes() or 0

        def taken() -> Footprint:
            return Footprint(max(0, resident_bytes() - ram_bytes), max(0, gpu_bytes - (self._free_gpu_bytes() or 0)))

        return taken

    def shortages(self, need: Footprint) -> Callable[[Footprint], Shortage | None]:
        """Ask once what is free; return what tells which kind of memory would not hold `need` if so much were given up.

        None means that it fits, or that nobody knows.
        """
        free_ram = self._free_ram_bytes() if need.ram_bytes else None
        free_gpu = self._free_gpu_bytes() if need.gpu_bytes else None

        def shortage(given_up: Footprint) -> Shortage | None:
            less = need - given_up
            for what, need_bytes, free in (
                ("memory", less.ram_bytes, free_ram),
                ("GPU memory", less.gpu_bytes, free_gpu),
            ):
                if free is not None and need_bytes > free:
                    return Shortage(what, need_bytes, free)
            return None

        return shortage


def resident_bytes(proc: Path = _PROC) -> int:
    """Return how much RAM this process holds; 0 where that cannot be read."""
    text = _text(proc / "self" / "statm")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") if text else 0


def free_ram_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Return how much RAM can still be taken: the machine's, or what the container's limits leave, whichever is less."""
    machine = [
        int(line.split()[1]) * 1024 for line in _text(proc / "meminfo").splitlines() if line.startswith("MemAvailable:")
    ]
    return min([*machine, *_headrooms(proc, cgroups)], default=None)


def _headrooms(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield what each group around this process leaves. Source: cgroups(7), kernel's cgroup-v1/memory and cgroup-v2."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, used, cached = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, cached = cgroups / "memory", "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        # Inside a container the path may be the host's: its own limits then lie at the root.
        for folder in (group, *group.parents):
            limit_bytes = _number(folder / limit)
            if limit_bytes < _NO_LIMIT_BYTES:
                used_bytes = _number(folder / used) - _stat_bytes(folder / "memory.stat", cached)
                yield max(0, limit_bytes - used_bytes)
            if folder == root:
                break


def _stat_bytes(path: Path, name: str) -> int:
    """Return one figure of `memory.stat`: file cache that the kernel gives back when it is asked to."""
    found = [line.split()[1] for line in _text(path).splitlines() if line.split()[:1] == [name]]
    return int(found[0]) if found else 0


def _number(path: Path) -> int:
    """Return the figure that a group's file holds; no limit where it says `max`, or is not there."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else _NO_LIMIT_BYTES


def _text(path: Path) -> str:
    # Less work for the interpreter than Path.read_text: requests run meanwhile, and they need it too.
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, 1 << 16).decode("ascii")
        finally:
            os.close(descriptor)
    except OSError:
        return ""


def in_words(n_bytes: int) -> str:
    """Return bytes as people say them: `734 MiB`, `1.5 GiB`."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
