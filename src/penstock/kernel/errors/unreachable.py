"""Somebody does not answer."""

from penstock.kernel.errors.branches import UnreachableError


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
