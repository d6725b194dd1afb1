"""How the control plane itself is: a cheap sign of life, and the doctor's checks."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Request

from penstock.api.asking import Plane
from penstock.api.schemas import Check, Health, ServiceHealth
from penstock.control.plane import ControlPlane
from penstock.kernel.errors import BrokenError, TelemetryUnavailable

router = APIRouter(tags=["health"])


@router.get("/health", summary="Show signs of life")
async def show_health(plane: Plane, request: Request) -> Health:
    services = [_summary(status) for status in plane.services()]
    well = all(s.trouble is None and s.nodes_live > 0 for s in services)
    word: Literal["ok", "trouble", "stopping"] = "ok" if well else "trouble"
    if request.app.state.stopped.is_set():
        word = "stopping"
    return Health(status=word, version=version("penstock"), services=services)


@router.get("/doctor", summary="Check journal, gateways, counters and services")
async def run_checks(plane: Plane) -> list[Check]:
    checks = [await _journal(plane)]
    for status in plane.services():
        checks.extend(_service_checks(status))
    return checks


def _summary(status: dict[str, Any]) -> ServiceHealth:
    return ServiceHealth(
        service=status["service"],
        phase=status["phase"],
        nodes_live=sum(node["live"] for node in status["nodes"]),
        nodes=len(status["nodes"]),
        trouble=status["trouble"],
    )


async def _journal(plane: ControlPlane) -> Check:
    try:
        n_entries = await plane.verify()
    except BrokenError as error:
        return Check(name="journal", ok=False, detail=error.message, remedy=error.remedy)
    return Check(name="journal", ok=True, detail=f"{n_entries} entries, every hash adds up", remedy="")


def _service_checks(status: dict[str, Any]) -> Iterator[Check]:
    name = status["service"]
    yield _nodes(name, status)
    trouble = status["trouble"]
    yield Check(
        name=f"{name} in force",
        ok=trouble is None,
        detail=trouble or f"generation {status['generation']} is decided, {status['applied_generation']} is in force",
        remedy="" if trouble is None else "Penstock goes on trying; see the control plane's log.",
    )
    blind = status["verdict"] == "blind"
    unread = TelemetryUnavailable(why="the judge is blind")
    detail = unread.message if blind else f"{status['n_requests']} requests counted since the start"
    yield Check(name=f"{name} counters", ok=not blind, detail=detail, remedy=unread.remedy if blind else "")
    lost = ", ".join(status["unhealthy"])
    detail = f"no endpoint of {lost} answers" if lost else f"{status['stable']['release']} serves"
    yield Check(name=f"{name} servers", ok=not lost, detail=detail, remedy="start its servers again" if lost else "")


def _nodes(name: str, status: dict[str, Any]) -> Check:
    live = [node for node in status["nodes"] if node["live"]]
    behind = [node["id"] for node in live if node["generation"] < status["generation"]]
    ok = bool(live) and not behind
    late = f"; behind: {', '.join(behind)}" if behind else ""
    return Check(
        name=f"{name} gateways",
        ok=ok,
        detail=f"{len(live)} of {len(status['nodes'])} gateways are connected{late}",
        remedy="" if ok else "Penstock starts its gateway again by itself; if it stays away, see its log in --state.",
    )
