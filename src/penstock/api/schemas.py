"""What goes over the wire, as the OpenAPI document tells it. Answers may carry more fields than are named here."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Reason = Annotated[str, Field(max_length=1000, description="Why, in one sentence; it stands in the journal")]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReleaseView(_Answer):
    """A release and where it is served."""

    release: str
    number: int
    versions: dict[str, str] = Field(description="Component -> version")
    endpoints: list[str]
    digest: str | None


class NodeView(_Answer):
    """One gateway process."""

    id: str
    generation: int = Field(description="The newest it acknowledged, -1 before the first")
    live: bool


class ServerView(_Answer):
    """A server that switches versions in place."""

    url: str
    in_memory: dict[str, list[str]] | None = Field(
        description="Component -> versions that could serve at once; null while it does not answer"
    )


class OutcomeView(_Answer):
    """How a rollout ended or stopped."""

    outcome: Literal["promoted", "rolled_back", "aborted", "paused"]
    rollout: int
    reason: str
    generation: int
    decided_at: str
    n_canary_requests: int
    final: bool = Field(description="Whether nothing more happens by itself")
    applied_at: str | None = Field(default=None, description="When every live gateway had acknowledged it")


class QuarantineView(_Answer):
    """A version that may not be released."""

    version: str
    why: str


class StatusView(_Answer):
    """A service as it is now."""

    service: str
    phase: Literal["idle", "preflight", "shadow", "stepping", "held", "withdrawn", "baking", "rolling_back", "fallback"]
    generation: int
    applied_generation: int
    gateway_url: str
    stable: ReleaseView
    canary: ReleaseView | None
    warm: ReleaseView | None = Field(description="The stable release before this one, while its servers stand by")
    weight_pct: float
    verdict: str | None = Field(description="healthy, harmful, undecided or blind; null while nothing is judged")
    nodes: list[NodeView]
    servers: list[ServerView] = Field(description="Those that switch versions in place")
    rollout: int = Field(description="How many rollouts there have been")
    step: int = Field(description="Index into steps, -1 before the first")
    steps: list[float] = Field(description="Weights, percent")
    reason: str
    waiting_for: str
    unhealthy: list[str]
    trouble: str | None
    warnings: list[str]
    evidence: dict[str, Any] | None
    n_requests: int
    n_overridden: int
    outcome: OutcomeView | None
    quarantined: list[QuarantineView]


class EntryView(_Answer):
    """A fact in the journal; the facts of its kind stand beside these fields."""

    seq: int
    at: str
    service: str
    actor: str
    kind: str
    reason: str
    generation: int
    hash: str


class ExplanationView(_Answer):
    """Why the service is where it is."""

    service: str
    phase: str
    what: EntryView | None
    why: str
    waiting_for: str
    verdict: dict[str, Any] | None
    verdict_at: str | None
    assumptions: list[str]
    rollback_budget_pct: float | None


class RolledBack(_Answer):
    """A rollback that is in force."""

    generation: int
    decided_at: str | None
    applied_at: str | None
    acknowledged: int = Field(description="How many live gateways acknowledged it")
    nodes: int = Field(description="How many gateways live")
    release: str = Field(description="What serves now")
    versions: dict[str, str] = Field(description="Component -> version")
    confirmed: bool = Field(description="Whether every server in rotation said that it serves them")
    changed: bool = Field(description="Whether anything had to change; else it was so already")


class Candidate(_Answer):
    """An earlier release a rollback could go to."""

    release: str
    against: str | None = Field(description="What speaks against it")
    versions: dict[str, str] = Field(description="Component -> version")


class RollbackPlan(_Answer):
    """Where a rollback would go."""

    target: str | None
    why: str
    candidates: list[Candidate]


class Quarantined(_Answer):
    """Whether a version may be released."""

    service: str
    version: str
    quarantined: bool


class ServiceHealth(_Answer):
    """A service in a word."""

    service: str
    phase: str
    nodes_live: int
    nodes: int
    trouble: str | None


class Health(_Answer):
    """That the control plane lives, and how its services are."""

    status: Literal["ok", "trouble", "stopping"]
    version: str
    services: list[ServiceHealth]


class Check(_Answer):
    """One thing the doctor looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = Field(description="What to do; empty when it is well")


class ReleaseRequest(_Request):
    """A canary to meter in."""

    urls: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="Where its servers answer: http://HOST:PORT; with a component: which of stable's servers switch, "
        "else half of them",
    )
    version: str | None = Field(default=None, description="Else what the servers' /version says", examples=["2.0.1"])
    component: str | None = Field(
        default=None, description="Release only this component's version, in servers that switch in place"
    )
    also: dict[str, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Component -> version of what is released with it",
        examples=[{"acoustic": "2.0.0"}],
    )
    unverified: bool = Field(default=False, description="Allow a version that is in the registry, but not verified")
    plan: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="As in a plan file; every field may be left out",
        examples=[{"steps": "5,25,100", "dwell": "30s"}],
    )
    reason: Reason = ""


class ReasonRequest(_Request):
    """Why something is asked for."""

    reason: Reason = ""


class PromoteRequest(ReasonRequest):
    """How far to go."""

    full: bool = Field(default=False, description="To 100 % instead of the next step")


class RollbackRequest(ReasonRequest):
    """Where to go back to."""

    component: str | None = Field(default=None, description="Only this component; else the whole release")
    to: str | None = Field(
        default=None, description="A release, or with a component a version of it; else the last healthy one before"
    )
    quarantine: bool = Field(default=True, description="Whether the version that is left may never be released again")


class QuarantineRequest(_Request):
    """A version that must not be released."""

    # The pattern is documented, not checked, here: kernel.names has the better sentence.
    version: str = Field(json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"})
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
