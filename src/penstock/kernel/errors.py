"""Every error that Penstock raises on purpose.

PenstockError
├── UsageError               what was asked for cannot be meant
│   ├── InvalidArtifact
│   ├── InvalidArtifactStore
│   ├── InvalidDigest
│   ├── InvalidName
│   │   └── InvalidComponent
│   ├── InvalidVersion
│   │   └── InvalidSemVer
│   ├── InvalidRange
│   ├── InvalidReference
│   ├── InvalidMetadata
│   ├── InvalidMlflowUri
│   ├── MlflowNotNamed
│   ├── InvalidRetention
│   ├── ReasonMissing
│   ├── InvalidUrl
│   ├── InvalidAddress
│   ├── InvalidPlan
│   ├── InvalidLimits
│   ├── InvalidRecord
│   ├── UnreadableFile
│   ├── UnreadableLines
│   ├── DuplicateEndpoint
│   └── StatePathTooLong
├── NotFoundError            it is meant, but it is not there
│   ├── UnknownArtifact
│   ├── ExampleMissing
│   ├── ExtraMissing
│   ├── UnknownComponent
│   ├── UnknownLoader
│   ├── UnknownName


│   ├── UnknownMlflowModel
│   ├── UnknownPart
│   ├── UnknownService
│   ├── UnknownRelease
│   ├── UnknownVersion
│   ├── NothingSelected
│   └── NoRollout
├── ConflictError            it is there, but in another state
│   ├── ArtifactChanged
│   ├── AlreadyRunning
│   ├── FencedOff
│   ├── IllegalStage
│   ├── IllegalTransition
│   ├── LeaseSpent
│   ├── NameTaken
│   ├── NothingToRollBack
│   ├── NothingWarm
│   ├── PortTaken
│   ├── RolloutInProgress
│   ├── SlotEmpty
│   ├── SlotSwapping
│   ├── SlotTaken
│   ├── StaleGeneration
│   ├── VersionInUse
│   ├── StillServing
│   ├── VersionMismatch
│   └── VersionTaken
│       └── PrecedenceTaken
├── RefusedError             it could be done, but must not
│   ├── AddressNotLocal
│   ├── Incompatible
│   ├── NotSwappable
│   ├── AdminRefused
│   ├── CacheTooSmall
│   ├── Quarantined
│   ├── Removed
│   ├── SignatureRefused
│   ├── SwapRefused
│   │   └── DoesNotFit
│   ├── UnhealthyTarget
│   └── UnsafeArtifact
├── UnreachableError         somebody does not answer
│   ├── ArtifactsUnreachable
│   ├── ControlPlaneUnreachable
│   ├── EndpointUnreachable
│   ├── MlflowUnreachable
│   └── TelemetryUnavailable
└── BrokenError              a part of ours, or of the machine, failed
    ├── ArtifactDamaged
    ├── ArtifactsUnwritable
    ├── DemoFailed
    ├── GatewayFailed
    ├── GatewayRefused
    ├── GatewaySilent
    ├── JournalDamaged
    ├── JournalTooNew
    ├── JournalUnwritable
    ├── RegistryDamaged
    ├── RegistryTooNew
    └── RegistryUnwritable

The first paragraph of a class docstring is the message (its facts are filled in), the paragraph after `Remedy:` is what
the user can do. `code` is stable: scripts and the HTTP API carry it. No HTTP status and no exit code lives here.
"""

import inspect
from typing import ClassVar


class PenstockError(Exception):
    """Something went wrong that Penstock has no better word for: {detail}

    Remedy: run `penstock doctor`.
    """

    code: ClassVar[str] = "error"

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        message, _, remedy = inspect.cleandoc(type(self).__doc__ or type(self).__name__).partition("\n\nRemedy:")
        self.message = " ".join(message.split()).format(**facts)
        self.remedy = " ".join(remedy.split()).format(**facts)
        super().__init__(self.message)


class UsageError(PenstockError):
    """The request cannot be meant as written: {detail}

    Remedy: see `penstock --help`.
    """

    code = "usage"


class InvalidName(UsageError):
    """{name!r} cannot name a service.

    Remedy: use up to 63 lower-case letters, digits and dashes, starting with a letter.
    """

    code = "invalid-name"


class InvalidComponent(InvalidName):
    """{name!r} cannot name a component.

    Remedy: use up to 63 lower-case letters, digits, dashes and underscores, starting with a letter.
    """

    code = "invalid-component"


class InvalidVersion(UsageError):
    """{version!r} cannot name a version.

    Remedy: use up to 64 letters, digits, dots, dashes, underscores and plus signs, e.g. 2.0.1.
    """

    code = "invalid-version"


class InvalidSemVer(InvalidVersion):
    """{version!r} is not a semantic version.

    Remedy: write it as 1.2.3, 1.2.3-rc.1 or a bare number N, which is N.0.0; see https://semver.org.
    """

    code = "invalid-semver"


class InvalidRange(UsageError):
    """{range!r} is not a range of versions: {part!r} cannot be read.

    Remedy: join comparisons by commas, e.g. >=1.1,<2 or ~=1.2.
    """

    code = "invalid-range"


class InvalidReference(UsageError):
    """{reference!r} names no version: {why}.

    Remedy: write it as SERVICE/COMPONENT@SELECTOR, where SELECTOR is a version, latest, previous, champion or an alias.
    """

    code = "invalid-reference"


class InvalidMetadata(UsageError):
    """The metadata cannot be used: {field}: {why}.

    Remedy: complete it, beside the weights or with `--meta FILE`; docs/reference/registry.md lists the fields, and which of
    them may be null.
    """

    code = "invalid-metadata"


class InvalidMlflowUri(UsageError):
    """{uri!r} names no version of a model in MLflow: {why}.

    Remedy: write it as models:/NAME/VERSION or models:/NAME@ALIAS.
    """

    code = "invalid-mlflow-uri"


class MlflowNotNamed(UsageError):
    """Nobody said which MLflow server has {uri}.

    Remedy: set MLFLOW_TRACKING_URI, e.g. to http://127.0.0.1:5000.
    """

    code = "mlflow-not-named"


class InvalidRetention(UsageError):
    """The rules of retention cannot be used: {why}.

    Remedy: name how many of the last versions stay, for how long, or within which size.
    """

    code = "invalid-retention"


class ReasonMissing(UsageError):
    """The {what} needs a reason.

    Remedy: say why, in one sentence, with --reason TEXT.
    """

    code = "reason-missing"


class InvalidArtifact(UsageError):
    """{source} cannot be stored as an artifact: {why}.

    Remedy: an artifact is a folder, or one file, of plain files with plain names; copy what is meant into a folder of its own.
    """

    code = "invalid-artifact"


class InvalidArtifactStore(UsageError):
    """{url!r} is not a place for artifacts: {why}.

    Remedy: name a folder, or s3://BUCKET/PREFIX with credentials and end point in the usual AWS_ variables.
    """

    code = "invalid-artifact-store"


class InvalidDigest(UsageError):
    """{digest!r} is not the digest of an artifact.

    Remedy: write sha256: and 64 hexadecimal digits, as `penstock push` prints them.
    """

    code = "invalid-digest"


class InvalidUrl(UsageError):
    """{url!r} is not an address Penstock can send requests to: {why}.

    Remedy: write it as http://HOST:PORT or https://HOST:PORT.
    """

    code = "invalid-url"


class InvalidAddress(UsageError):
    """{address!r} is not an address to listen on.

    Remedy: write it as HOST:PORT, e.g. 127.0.0.1:8600; port 0 takes a free one.
    """

    code = "invalid-address"


class InvalidPlan(UsageError):
    """The plan cannot be used: {why}.

    Remedy: steps are growing percentages up to 100, e.g. 5,25,100; times are written 30s, 10m or 2h.
    """

    code = "invalid-plan"


class InvalidLimits(UsageError):
    """The limits cannot be used: {why}.

    Remedy: mend them; docs/howto/replay.md lists the fields of a limits file.
    """

    code = "invalid-limits"


class InvalidRecord(UsageError):
    """{file} cannot be judged: {why}.

    Remedy: `penstock replay --schema` prints what a recording holds; metrics of your own are declared with --limits FILE.
    """

    code = "invalid-record"


class UnreadableFile(UsageError):
    """{file} cannot be read: {why}.

    Remedy: name a recording that is there, whole, and yours to read; `-` reads stdin.
    """

    code = "unreadable-file"


class UnreadableLines(UsageError):
    """{file}: {n} of {total} lines cannot be used, so nothing was judged; {lines}.

    Remedy: mend those lines; `penstock replay --schema` prints what a line may hold.
    """

    code = "unreadable-lines"


class DuplicateEndpoint(UsageError):
    """{url} is already used by {owner}.

    Remedy: give each release endpoints of its own.
    """

    code = "duplicate-endpoint"


class StatePathTooLong(UsageError):
    """The state folder {path} is too long for the sockets in it ({length} of at most {limit} bytes).

    Remedy: choose a shorter one with --state.
    """

    code = "state-path-too-long"


class NotFoundError(PenstockError):
    """There is no such thing: {detail}

    Remedy: see `penstock list`.
    """

    code = "not-found"


class ExampleMissing(NotFoundError):
    """The speech example is not where it should be: {places}.

    Remedy: run the demo from a checkout, or install Penstock again with: pip install --force-reinstall 'penstock[espeak,report]'
    """

    code = "example-missing"


class ExtraMissing(NotFoundError):
    """{what} needs {package}, which is not installed.

    Remedy: install it with: pip install 'penstock[{extra}]'
    """

    code = "extra-missing"


class UnknownComponent(NotFoundError):
    """Service {service!r} has no component {component!r}; it has: {known}.

    Remedy: name one of those; components are what the servers of the service report at /version.
    """

    code = "unknown-component"


class UnknownLoader(NotFoundError):
    """There is no loader {name!r}; known loaders: {known}.

    Remedy: name one of those, or install the package that brings it (entry point group `penstock.loaders`).
    """

    code = "unknown-loader"


class UnknownName(NotFoundError):
    """{store} has no files of {name}: {why}.

    Remedy: choose another version, push it with `penstock push`, or check that PENSTOCK_ARTIFACTS names the right store.
    """

    code = "unknown-name"


class UnknownMlflowModel(NotFoundError):
    """{uri} is not in the MLflow registry {server}: {why}.

    Remedy: look there for its name, its versions and its aliases.
    """

    code = "unknown-mlflow-model"


class UnknownArtifact(NotFoundError):
    """There is no artifact {digest} in {store}.

    Remedy: push it again, or check that PENSTOCK_ARTIFACTS names the right store.
    """

    code = "unknown-artifact"


class UnknownPart(NotFoundError):
    """The pipeline has no part {part!r}; its parts: {known}.

    Remedy: name one of those, or build the pipeline with a slot for it.
    """

    code = "unknown-part"


class UnknownService(NotFoundError):
    """There is no service {service!r}; known services: {known}.

    Remedy: check the name with `penstock list`, or adopt it with `penstock up {service}=URL`.
    """

    code = "unknown-service"


class UnknownRelease(NotFoundError):
    """Service {service!r} never ran a release {release!r}; it knows: {known}.

    Remedy: choose one of those.
    """

    code = "unknown-release"


class UnknownVersion(NotFoundError):
    """There is no version {version!r} of {name}; the highest are: {known}.

    Remedy: choose one of those, or register it with `penstock push {name} DIR --version V`.
    """

    code = "unknown-version"


class NothingSelected(NotFoundError):
    """{reference} is no version: {why}.

    Remedy: name a version.
    """

    code = "nothing-selected"


class NoRollout(NotFoundError):
    """Service {service!r} has no rollout that could be {wanted}.

    Remedy: see `penstock status {service}`; start one with `penstock release {service} URL --version V`.
    """

    code = "no-rollout"


class ConflictError(PenstockError):
    """That does not fit the present state: {detail}

    Remedy: see `penstock status`.
    """

    code = "conflict"


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
    """{wanted} cannot be registered: {taken} {why}, and no two versions may have equal precedence.

    Remedy: give it a higher version.
    """

    code = "precedence-taken"


class RefusedError(PenstockError):
    """That is refused: {detail}

    Remedy: see `penstock explain`.
    """

    code = "refused"


class AddressNotLocal(RefusedError):
    """{address} can be reached from other machines, and there is no access control yet.

    Remedy: listen on 127.0.0.1, and reach it through ssh -L or a proxy that checks who comes.
    """

    code = "address-not-local"


class Incompatible(RefusedError):
    """Service {service!r} cannot serve these versions together: {why}.

    Remedy: {remedy}.
    """

    code = "incompatible"


class AdminRefused(RefusedError):
    """The server may not be administered from here: {why}.

    Remedy: set PENSTOCK_ADMIN_TOKEN to the same secret at the server and where you come from; it is sent as a bearer token.
    """

    code = "admin-refused"


class CacheTooSmall(RefusedError):
    """The cache {path} cannot take {need_bytes} bytes more: it may hold {limit_bytes}, of which {used_bytes} are in use.

    Remedy: give it more room, or let go of versions that this machine no longer serves.
    """

    code = "cache-too-small"


class Quarantined(RefusedError):
    """Version {version} of {service!r} is quarantined: {why}.

    Remedy: release another version, or lift it with `penstock unquarantine {service} {version} --reason TEXT`.
    """

    code = "quarantined"


class Removed(RefusedError):
    """{name} was removed from the registry on {at}.

    Remedy: choose another version, or register what you want under a higher one.
    """

    code = "removed"


class SignatureRefused(RefusedError):
    """{source} is not what its owner signed: {why}.

    Remedy: fetch it again from its owner; sign it again if the change was meant.
    """

    code = "signature-refused"


class SwapRefused(RefusedError):
    """Slot {slot!r} did not take version {version}: {why}. {now}.

    Remedy: mend that version, or swap to another one.
    """

    code = "swap-refused"


class DoesNotFit(SwapRefused):
    """Version {version} does not fit into {what} beside what slot {slot!r} holds: the last load took {need}, {free} are free.
    {now}.

    Remedy: free memory, or swap with `drain_first=True`: the version that serves is then unloaded before the other one is
    loaded, and requests wait or are refused meanwhile.
    """

    code = "does-not-fit"


class NotSwappable(RefusedError):
    """The servers of {service!r} cannot switch one component in place.

    Remedy: mount penstock.runtime.asgi in them (docs/howto/hot-swap.md), or start servers with the new version and release
    those: penstock release {service} http://HOST:PORT
    """

    code = "not-swappable"


class UnhealthyTarget(RefusedError):
    """Release {release} of {service!r} cannot take the traffic: {why}.

    Remedy: start its servers again, or choose another release with --to.
    """

    code = "unhealthy-target"


class UnsafeArtifact(RefusedError):
    """{source} is not safe to load: {findings}.

    Remedy: save the weights as safetensors; where a pickle must be, allow it, and the names it uses, for that component.
    """

    code = "unsafe-artifact"


class UnreachableError(PenstockError):
    """Somebody does not answer: {detail}

    Remedy: see `penstock doctor`.
    """

    code = "unreachable"


class ArtifactsUnreachable(UnreachableError):
    """The artifact store {store} does not answer as it should: {why}.

    Remedy: check the address, the credentials and the network; what was sent already is not sent again.
    """

    code = "artifacts-unreachable"


class ControlPlaneUnreachable(UnreachableError):
    """No control plane answers at {url}.

    Remedy: start one with `penstock up NAME=URL`, or name it with --api or PENSTOCK_URL.
    """

    code = "control-plane-unreachable"


class EndpointUnreachable(UnreachableError):
    """{url} does not answer: {why}.

    Remedy: start the server there, or check the address.
    """

    code = "endpoint-unreachable"


class MlflowUnreachable(UnreachableError):
    """{uri} could not be had from the MLflow server {server}: {why}.

    Remedy: check MLFLOW_TRACKING_URI, MLflow's credentials and the network; nothing was registered.
    """

    code = "mlflow-unreachable"


class TelemetryUnavailable(UnreachableError):
    """The gateway's counters cannot be read: {why}.

    Remedy: the rollout waits and nothing is judged meanwhile; see `penstock doctor`.
    """

    code = "telemetry-unavailable"


class BrokenError(PenstockError):
    """A part of Penstock failed: {detail}

    Remedy: see `penstock doctor`.
    """

    code = "broken"


class ArtifactDamaged(BrokenError):
    """{what} in {store} is damaged: {why}.

    Remedy: push the same files again with a check; a node's cache repairs itself from the store.
    """

    code = "artifact-damaged"


class ArtifactsUnwritable(BrokenError):
    """{store} cannot be written: {why}.

    Remedy: free disk space or mend its permissions, then do it again: what was stored already is kept.
    """

    code = "artifacts-unwritable"


class DemoFailed(BrokenError):
    """The demo did not go as it must: {why}.

    Remedy: read what was said above it; where the machine was too busy, stop other heavy programs and run it again.
    """

    code = "demo-failed"


class GatewayFailed(BrokenError):
    """The gateway could not be started: {why}.

    Remedy: see {log}.
    """

    code = "gateway-failed"


class GatewayRefused(BrokenError):
    """The gateway refused generation {generation}: {why}. What it served before stays in force.

    Remedy: this is a fault of Penstock or of the gateway's version; see `penstock doctor`.
    """

    code = "gateway-refused"


class GatewaySilent(BrokenError):
    """These gateways did not acknowledge generation {generation} in time: {nodes}.

    Remedy: Penstock goes on trying; a gateway that stays silent loses the canary when its lease ends.
    """

    code = "gateway-silent"


class JournalDamaged(BrokenError):
    """The journal {path} does not add up at entry {seq}: {why}.

    Remedy: restore it from a copy; `penstock history` shows what is still sound.
    """

    code = "journal-damaged"


class JournalTooNew(BrokenError):
    """The journal {path} was written by a newer Penstock (layout {found}; this one knows {known}).

    Remedy: install that version again, or choose another folder with --state.
    """

    code = "journal-too-new"


class JournalUnwritable(BrokenError):
    """The journal {path} cannot be written: {why}.

    Remedy: free disk space or mend its permissions; no canary gets traffic until then, stable serves on.
    """

    code = "journal-unwritable"


class RegistryDamaged(BrokenError):
    """The registry {path} does not add up at change {seq}: {why}.

    Remedy: restore it from a copy, or import an export of it into an empty one.
    """

    code = "registry-damaged"


class RegistryTooNew(BrokenError):
    """The registry {path} was written by a newer Penstock (layout {found}; this one knows {known}).

    Remedy: install that version again, or choose another folder with --state.
    """

    code = "registry-too-new"


class RegistryUnwritable(BrokenError):
    """The registry {path} cannot be written: {why}.

    Remedy: free disk space or mend its permissions; nothing was changed, and what serves is not touched.
    """

    code = "registry-unwritable"
