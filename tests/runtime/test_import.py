"""What importing costs: the top of the package nothing, the runtime no more than the kernel and the standard library."""

import subprocess
import sys

import pytest

import penstock


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_the_package_alone_imports_nothing() -> None:
    assert {name for name in loaded_by("import penstock") if name.startswith("penstock")} == {"penstock"}


def test_the_runtime_needs_only_the_kernel() -> None:
    loaded = loaded_by("from penstock import Pipeline, Slot")
    ours = {name.split(".")[1] for name in loaded if name.startswith("penstock.")}
    assert ours == {"kernel", "runtime"}
    assert not foreign(loaded)


def test_weights_need_neither_a_server_nor_a_database() -> None:
    assert not foreign(loaded_by("from penstock import Weights"))


def foreign(loaded: set[str]) -> set[str]:
    """Return the packages that are neither ours nor Python's."""
    extra = {
        name.partition(".")[0] for name in loaded - loaded_by("import asyncio, concurrent.futures, logging, queue")
    }
    return extra - {*sys.stdlib_module_names, "penstock"}


def test_the_package_knows_its_names() -> None:
    assert penstock.Slot.__module__ == "penstock.runtime.slot"
    with pytest.raises(AttributeError, match="no attribute 'Slots'"):
        _ = penstock.Slots  # type: ignore[attr-defined]
