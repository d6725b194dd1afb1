"""Who may administer a server: whoever knows its token, or else whoever is on its machine."""

import hmac
import ipaddress
from collections.abc import Mapping

from penstock.kernel.errors import AdminRefused

#: Where the secret is looked for that the server and its control plane share.
TOKEN_VARIABLE = "PENSTOCK_ADMIN_TOKEN"  # noqa: S105 - the variable's name

#: Whoever passes a request on says so with one of these; a proxy's own address says nothing of who asked.
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "via", "x-penstock-arm", "x-envoy-attempt-count")


def check_admission(headers: Mapping[str, str], peer: str | None, token: str | None) -> None:
    """Let a caller pass, or raise AdminRefused.

    `headers` by lower-case name; `peer` is the address that the connection comes from, None where that is not known. A proxy on
    this machine that does not say that it passes requests on looks like this machine: behind one, set a token.
    """
    why = _no_local_caller(headers, peer) if token is None else _wrong_token(headers, token)
    if why is not None:
        raise AdminRefused(why=why)


def _wrong_token(headers: Mapping[str, str], token: str) -> str | None:
    scheme, _, said = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return "it wants a bearer token"
    if not hmac.compare_digest(said.strip().encode(errors="replace"), token.encode(errors="replace")):
        return "the bearer token is another one"
    return None


def _no_local_caller(headers: Mapping[str, str], peer: str | None) -> str | None:
    if peer is None or not _is_loopback(peer):
        return "no token is set, so that only this machine may"
    if any(name in headers for name in _PASSED_ON):
        return "no token is set, and the request was passed on by a proxy"
    # A page can make a browser on this machine ask, and a name of its own may lead here. Browsers say both.
    if "origin" in headers or not _names_loopback(headers.get("host", "")):
        return "no token is set, and the request comes from a page or names another host"
    return None


def _names_loopback(host: str) -> bool:
    name = host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (inner or parsed).is_loopback
