"""It is there, but in another state."""

from penstock.kernel.errors.branches import ConflictError


class ArtifactChanged(ConflictError):
    """{path} changed while it was being stored; nothing was published.

    Remedy: push again when nothing writes to it any more.
    """

    code = "artifact-changed"


class AlreadyRunning(ConflictError):
    """Another control plane (process {pid}) already works in {path}.

    Remedy: use it, stop it with `penstock down`, or choose another folder with --state.
    """

    code = "already-running"


class FencedOff(ConflictError):
    """Another control plane took over this journal (term {term}, ours was {ours}).

    Remedy: this process stops deciding; look at the other one.
    """

    code = "fenced-off"


class IllegalStage(ConflictError):
    """{name} is {stage} and cannot become {wanted}.

    Remedy: it may become {allowed}; docs/reference/registry.md draws what may follow what.
    """

    code = "illegal-stage"


class IllegalTransition(ConflictError):
    """A rollout that is {phase} cannot be {wanted}.

    Remedy: see `penstock status` for what it is doing.
    """

    code = "illegal-transition"


class LeaseSpent(ConflictError):
    """A lease on {slot!r} is not held: {why}.

    Remedy: take a lease per request, use it in one `with`, and use the model inside only; a stream that outlives the `with`
    is kept by `lease.stream(chunks)`.
    """

    code = "lease-spent"


class NameTaken(ConflictError):
    """{name} already means other files in the store: {taken}, not {digest}.

    Remedy: push under a higher version; a name is never given twice, and a store belongs to one registry.
    """

    code = "name-taken"


class NothingToRollBack(ConflictError):
    """Service {service!r} has no earlier healthy release to go back to: {why}.

    Remedy: see `penstock history {service}`.
    """

    code = "nothing-to-roll-back"


class NothingWarm(ConflictError):
    """{slot!r} has no earlier version in memory to roll back to: {serving} serves on.

    Remedy: load one with `swap(version)`; `keep` says how many earlier versions stay warm.
    """

    code = "nothing-warm"


class PortTaken(ConflictError):
    """{address} is already in use by another program.

    Remedy: {remedy}.
    """

    code = "port-taken"


class RolloutInProgress(ConflictError):
    """Service {service!r} is still rolling out {release}.

    Remedy: wait for it, or end it with `penstock abort {service}`.
    """

    code = "rollout-in-progress"


class SlotEmpty(ConflictError):
    """Nothing serves in {slot!r}: no version of {parts} is in memory.

    Remedy: call `swap` with a version before requests are let in.
    """

    code = "slot-empty"


class SlotSwapping(ConflictError):
    """{slot!r} takes no requests for now: one version is unloaded before the next is loaded.

    Remedy: ask again later (503 with Retry-After), or wait for it with `lease(wait_s=...)`.
    """

    code = "slot-swapping"


class SlotTaken(ConflictError):
    """Slot {slot!r} is part of a pipeline already.

    Remedy: build one pipeline, and give each of its parts a slot of its own.
    """

    code = "slot-taken"


class StaleGeneration(ConflictError):
    """Service {service!r} moved on meanwhile (generation {actual}, expected {expected}).

    Remedy: look again with `penstock status {service}` and repeat the command if it still applies.
    """

    code = "stale-generation"


class VersionInUse(ConflictError):
    """{name} cannot be {wanted}: {why}.

    Remedy: leave it, or end its use first.
    """

    code = "version-in-use"


class StillServing(ConflictError):
    """Version {version} of {slot!r} cannot be let go of: {why}.

    Remedy: switch to another version first, or end the canary's split.
    """

    code = "still-serving"


class VersionMismatch(ConflictError):
    """{url} says that it serves version {found}, not {wanted}.

    Remedy: release the version that the server reports, or start the right server there.
    """

    code = "version-mismatch"


class VersionTaken(ConflictError):
    """Version {version} of {service!r} is {what} already.

    Remedy: release another version, or see `penstock status {service}`.
    """

    code = "version-taken"


class PrecedenceTaken(VersionTaken):
    """{wanted} cannot be registered: {taken} {why}.

    Remedy: give it a higher version.
    """

    code = "precedence-taken"
