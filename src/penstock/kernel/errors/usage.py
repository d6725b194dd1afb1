"""What was asked for cannot be meant."""

from penstock.kernel.errors.branches import UsageError


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
