"""It could be done, but must not."""

from penstock.kernel.errors.branches import RefusedError


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

    Remedy: save the weights as safetensors; where a pickle must be, allow it with --allow-pickles,
    and a name that it uses with --allow-name MODULE.NAME.
    """

    code = "unsafe-artifact"
