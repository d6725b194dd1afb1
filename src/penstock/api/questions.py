"""Routes that change nothing: status, history, explanation, outcome, where a rollback would go."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from penstock.api.asking import Plane, Service
from penstock.api.schemas import EntryView, ExplanationView, OutcomeView, RollbackPlan, StatusView

router = APIRouter(prefix="/v1/services", tags=["questions"])


@router.get("", response_model=list[StatusView], summary="List services")
async def list_services(plane: Plane) -> list[dict[str, Any]]:
    return plane.services()


@router.get("/{service}", response_model=StatusView, summary="Show a service")
async def show_service(service: Service, plane: Plane) -> dict[str, Any]:
    return plane.status(service)


@router.get("/{service}/history", response_model=list[EntryView], summary="Read the journal, oldest entry first")
async def show_history(
    service: Service,
    plane: Plane,
    after: Annotated[int, Query(ge=0, description="Only entries with a larger seq")] = 0,
) -> list[dict[str, Any]]:
    return [entry for entry in await plane.history(service) if entry["seq"] > after]


@router.get("/{service}/explain", response_model=ExplanationView, summary="Explain the last decision")
async def explain(service: Service, plane: Plane) -> dict[str, Any]:
    return await plane.explain(service)


@router.get("/{service}/outcome", response_model=OutcomeView | None, summary="Show how the last rollout ended")
async def show_outcome(service: Service, plane: Plane) -> dict[str, Any] | None:
    """Null while a rollout is under way, or when there was none."""
    return await plane.outcome(service)


@router.get("/{service}/rollback-plan", response_model=RollbackPlan, summary="Show where a rollback would go")
async def show_rollback_plan(
    service: Service,
    plane: Plane,
    component: Annotated[str | None, Query(description="Only this component would go back")] = None,
) -> dict[str, Any]:
    return await plane.rollback_plan(service, component)
