"""What was asked for is meant, but it is not there."""

from penstock.kernel.errors.branches import NotFoundError


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
