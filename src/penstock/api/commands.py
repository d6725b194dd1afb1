"""Routes that change something. Each is journalled under the actor's name."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from penstock.api.asking import Actor, Plane, Service
from penstock.api.schemas import (
    PromoteRequest,
    Quarantined,
    QuarantineRequest,
    ReasonRequest,
    ReleaseRequest,
    RollbackRequest,
    RolledBack,
    StatusView,
)
from penstock.kernel.errors import UsageError
from penstock.rollout.plan import plan_from

router = APIRouter(prefix="/v1/services/{service}", tags=["commands"])


@router.post("/rollouts", status_code=202, response_model=StatusView, summary="Meter a canary in")
async def release(service: Service, asked: ReleaseRequest, plane: Plane, actor: Actor) -> dict[str, Any]:
    """Everything that can be wrong is found before anything changes. Follow it with `events`, or ask for `outcome`."""
    plan = plan_from(asked.plan)
    if asked.component is None:
        if not asked.urls:
            raise UsageError(detail="a release needs the URL of a server that serves it, or a component to switch.")
        return await plane.release(service, asked.urls, asked.version, plan, actor=actor, reason=asked.reason)
    if asked.version is None:
        raise UsageError(detail=f"name the version of {service}/{asked.component} to release.")
    if asked.component in asked.also:
        raise UsageError(detail=f"{asked.component} is named twice.")
    return await plane.release_component(
        service,
        asked.component,
        asked.version,
        plan,
        also=asked.also,
        nodes=asked.urls,
        unverified=asked.unverified,
        actor=actor,
        reason=asked.reason,
    )


@router.post("/pause", response_model=StatusView, summary="Keep the weight where it is")
async def pause(service: Service, plane: Plane, actor: Actor, asked: ReasonRequest | None = None) -> dict[str, Any]:
    return await plane.pause(service, actor=actor, reason=asked.reason if asked else "")


@router.post("/resume", response_model=StatusView, summary="Let a held rollout go on")
async def resume(service: Service, plane: Plane, actor: Actor, asked: ReasonRequest | None = None) -> dict[str, Any]:
    return await plane.resume(service, actor=actor, reason=asked.reason if asked else "")


@router.post("/promote", response_model=StatusView, summary="Go to the next step now")
async def promote(service: Service, plane: Plane, actor: Actor, asked: PromoteRequest | None = None) -> dict[str, Any]:
    wanted = asked or PromoteRequest()
    return await plane.promote(service, full=wanted.full, actor=actor, reason=wanted.reason)


@router.post("/abort", response_model=StatusView, summary="Back to stable, nothing quarantined")
async def abort(service: Service, plane: Plane, actor: Actor, asked: ReasonRequest | None = None) -> dict[str, Any]:
    return await plane.abort(service, actor=actor, reason=asked.reason if asked else "")


@router.post("/rollback", response_model=RolledBack, summary="Roll back, acknowledged by every live gateway")
async def roll_back(
    service: Service, plane: Plane, actor: Actor, asked: RollbackRequest | None = None
) -> dict[str, Any]:
    """Repeating it is safe: what already serves is returned as it is."""
    wanted = asked or RollbackRequest()
    return await plane.roll_back(
        service,
        wanted.component,
        to=wanted.to,
        quarantine=wanted.quarantine,
        actor=actor,
        reason=wanted.reason,
    )


@router.post("/quarantine", response_model=Quarantined, summary="Never release this version again")
async def quarantine(service: Service, asked: QuarantineRequest, plane: Plane, actor: Actor) -> dict[str, Any]:
    return await plane.quarantine(service, asked.version, actor=actor, reason=asked.reason)


@router.delete("/quarantine/{version}", response_model=Quarantined, summary="Allow this version again")
async def unquarantine(
    service: Service,
    version: str,
    plane: Plane,
    actor: Actor,
    reason: Annotated[str, Query(min_length=1, max_length=1000, description="Why; it stands in the journal")],
) -> dict[str, Any]:
    return await plane.unquarantine(service, version, actor=actor, reason=reason)
