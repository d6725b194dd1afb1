"""A part of ours, or of the machine, failed."""

from penstock.kernel.errors.branches import BrokenError


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
