"""The registry with 100,000 versions: taking them in, what a reference means, where a rollback goes, lists with filters.

Five services of four components; every component has thousands of versions in all stages and every service a thousand
promotions. Each question is asked by a process that has the file open, of another component each time.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.table import Row, options, report, row
from penstock.kernel.semver import SemVer
from penstock.registry.exchange import HEADER, written
from penstock.registry.going_back import choose_going_back
from penstock.registry.metadata import Metadata
from penstock.registry.promotion import Promotion
from penstock.registry.query import Query
from penstock.registry.reference import Ref
from penstock.registry.stage import Stage
from penstock.registry.version import Version
from penstock.stores.registry import SqlRegistry

_SERVICES = tuple(f"voice-{n}" for n in range(5))
_COMPONENTS = ("acoustic", "vocoder", "emotion", "frontend")
_STAGES = (*[Stage.STABLE] * 6, Stage.REGISTERED, Stage.VERIFIED, Stage.RETIRED, Stage.QUARANTINED)
_OWNERS = tuple(f"team-{n}" for n in range(50))
_LANGUAGES = (("en",), ("en", "zh"), ("de",), ("zh",), None)
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_N_PROMOTIONS = 1000


def _number(n: int) -> str:
    return f"{n // 100}.{n // 10 % 10}.{n % 10}"


def _version(service: str, component: str, n: int) -> Version:
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00Z",
        "author": f"author {n % 97}",
        "owner": _OWNERS[n % len(_OWNERS)],
        "change_note": f"Change {n}: fewer artefacts at the ends of sentences, and a longer context.",
        "training_set": f"studio recordings, revision {n % 13}",
        "metrics": {
            "mos": {"value": 4.0 + n % 10 / 20, "unit": "MOS 1..5"},
            "wer": {"value": 0.03, "unit": "ratio"},
            "rtf": {"value": 0.11, "unit": "ratio"},
        },
        "framework_version": "torch 2.13.0",
        "cuda_version": "13.0",
        "sample_rate_hz": 24000,
        "languages": _LANGUAGES[n % len(_LANGUAGES)],
        "input_signature": {"mel": "float32[batch,frames,80]"},
        "output_signature": {"audio": "float32[batch,samples]"},
        "licence": "Apache-2.0",
        "requires": {"acoustic": ">=0.0.1"} if component == "vocoder" else {},
        "mel": {"n_mels": 80, "hop_length": 256} if component in ("acoustic", "vocoder") else None,
    }
    at = _BEGAN + timedelta(minutes=n)
    digest = f"sha256:{n:064x}"
    return Version(
        service, component, SemVer.parse(_number(n)), digest, 10**8, Metadata.from_json(fields), at,
        stage=_STAGES[n % len(_STAGES)], staged_at=at, staged_by="ci", staged_why="Imported.",
    )  # fmt: skip


def _lines(n_each: int) -> Iterator[dict[str, Any]]:
    """Yield an export of a large registry."""
    yield dict(HEADER)
    for n in range(n_each):
        for service in _SERVICES:
            yield from (written(_version(service, component, n)) for component in _COMPONENTS)
    for service in _SERVICES:
        # One component changes at a time, as rollouts do; what is promoted is stable.
        versions = dict.fromkeys(_COMPONENTS, _number(0))
        for number in range(1, min(_N_PROMOTIONS, n_each // 10) + 1):
            versions[_COMPONENTS[number % len(_COMPONENTS)]] = _number(10 * (number - 1) + 1)
            at = _BEGAN + timedelta(hours=number)
            yield written(Promotion(service, number, dict(versions), at, "ann", "The rollout ended well."))


def _asked_ms(ask: Callable[[str, str], object], n: int) -> list[float]:
    parts = cycle((service, component) for component in _COMPONENTS for service in _SERVICES)
    times_ms = []
    for (service, component), _ in zip(parts, range(n), strict=False):
        began_s = time.perf_counter()
        ask(service, component)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms


def _progress(n_lines: int) -> None:
    print(f"\r  {n_lines} lines", end="", file=sys.stderr, flush=True)


def _took_s(registry: SqlRegistry, lines: Iterable[object]) -> tuple[float, float]:
    """Take lines in; return the time that passed, and the processor's."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    imported = registry.import_(lines, at=_BEGAN, actor="bench", reason="Measuring.", progress=_progress)
    assert not imported.conflicts, imported.conflicts[:3]
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def _filters(service: str, component: str) -> dict[str, Query]:
    return {
        "list a component, 100 of it": Query(service, component, limit=100),
        "list by stage": Query(service, component, stage=Stage.VERIFIED, limit=100),
        "list by owner, of a service": Query(service, owner=_OWNERS[7], limit=100),
        "list by language, of a service": Query(service, language="zh", limit=100),
        "list by text that one version has": Query(service, text="change 4711:", limit=100),
        "list since a day, last page": Query(service, since=_BEGAN + timedelta(days=1), limit=100, offset=2000),
        "list by stage, owner and language": Query(service, None, Stage.STABLE, _OWNERS[5], "en", limit=100),
    }


def _measure(folder: Path, n_each: int, n_asked: int) -> list[Row]:
    lines = list(_lines(n_each))
    registry = SqlRegistry(folder / "registry.db")
    took_s, cpu_s = _took_s(registry, lines)
    again_s, _ = _took_s(registry, lines)
    began_s = time.perf_counter()
    n_exported = sum(1 for _ in registry.export())
    export_s = time.perf_counter() - began_s

    def resolve(word: str) -> Callable[[str, str], object]:
        return lambda service, component: registry.resolve(Ref(service, component, word))

    def go_back(service: str, component: str) -> object:
        return choose_going_back(registry.history(service, component), component)

    rows = [
        row("versions", [len(lines) - 1 - sum(line["kind"] == "promotion" for line in lines)], "versions"),
        row("import", [took_s], "s", "<= 60"),
        row("import, of the processor", [cpu_s], "s"),
        row("import of the same again", [again_s], "s"),
        row(f"export of {n_exported} lines", [export_s], "s"),
        row("resolve latest", _asked_ms(resolve("latest"), n_asked), "ms", "<= 2"),
        row("resolve champion", _asked_ms(resolve("champion"), n_asked), "ms", "<= 2"),
        row("resolve previous", _asked_ms(resolve("previous"), n_asked), "ms", "<= 2"),
        row("rollback target", _asked_ms(go_back, n_asked), "ms", "<= 2"),
    ]
    for name in _filters("", ""):
        times_ms = _asked_ms(lambda s, c, name=name: registry.versions(_filters(s, c)[name]), n_asked)  # type: ignore[misc]
        rows.append(row(name, times_ms, "ms", "<= 50"))
    registry.close()
    return rows


def main() -> int:
    """Run the benchmark from the command line."""
    asked = options(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        return report("registry", _measure(Path(folder), *((100, 40) if asked.quick else (5000, 200))), asked.json)


if __name__ == "__main__":
    sys.exit(main())
