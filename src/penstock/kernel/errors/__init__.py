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

One file a branch; all are imported from here.
"""

from penstock.kernel.errors.branches import *  # noqa: F403 - the tree above is the list
from penstock.kernel.errors.broken import *  # noqa: F403 - as above
from penstock.kernel.errors.conflict import *  # noqa: F403 - as above
from penstock.kernel.errors.not_found import *  # noqa: F403 - as above
from penstock.kernel.errors.refused import *  # noqa: F403 - as above
from penstock.kernel.errors.unreachable import *  # noqa: F403 - as above
from penstock.kernel.errors.usage import *  # noqa: F403 - as above
