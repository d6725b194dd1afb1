"""From a route table to routes and to the runtime values that hold the canary's share. Pure.

One route per way of knowing the user, in this order: overrides, header, cookie, stranger; each first for requests that may
be repeated (with more retries), then for the rest. The split itself is the table's: weights of a constant total, canary
first, chosen by `xxHash64(salt + user) % total`, as `routing.bucket` predicts it.
Source: measured on Envoy 1.40, tests/gateways/test_prediction.py; Envoy docs, `WeightedCluster.use_hash_policy`.
"""

from collections.abc import Iterator
from typing import Any

from penstock.gateways.envoy.names import (
    CALL_HEADER,
    METADATA,
    MINT_HEADER,
    RECORDER,
    SERVICE_HEADER,
    cluster_of,
    mirror_key,
    override_key,
    weights_key,
)
from penstock.gateways.envoy.wire import Resource, typed
from penstock.registry.release import Release
from penstock.routing.bucket import TOTAL
from penstock.routing.repeatable import as_regex
from penstock.routing.table import OVERRIDE_COOKIE, OVERRIDE_HEADER, RELEASE_HEADER, ArmName, RouteTable

_YEAR_S = 365 * 24 * 3600
_OURS = [MINT_HEADER, CALL_HEADER]
#: Nothing of the request has reached a server yet: always safe.
_SAFE_RETRIES = "connect-failure,refused-stream,reset-before-request"
#: The server may have begun to work on it: only where repeating does no harm.
_REPEATS = f"{_SAFE_RETRIES},reset,retriable-status-codes"


def built_routes(table: RouteTable) -> dict[str, Resource]:
    host = {
        "name": table.service,
        "domains": ["*"],
        "routes": list(_routes(table)),
        # The endpoint knows whose it is, so that the name is right after a failover too.
        "response_headers_to_add": [_overwrite(RELEASE_HEADER, f"%UPSTREAM_METADATA({METADATA}:release)%")],
    }
    return {table.service: {"name": table.service, "virtual_hosts": [host], "validate_clusters": True}}


def built_runtime(table: RouteTable) -> dict[str, Any]:
    """Return what is held on the lease: without it the routes' own weights are in force, 0 for the canary."""
    if table.canary is None:
        return {}
    weights = weights_key(table)
    return {
        f"{weights}.{cluster_of(table.canary)}": table.weight,
        f"{weights}.{cluster_of(table.stable)}": TOTAL - table.weight,
        override_key(table): 100 if table.overrides else 0,
    }


def mirror_share(share: float) -> Resource:
    """Return a share (0..1) as a runtime value, in steps of 1/10,000; what is not zero never becomes zero."""
    numerator = round(min(max(share, 0.0), 1.0) * TOTAL)
    return {"numerator": max(numerator, 1) if share > 0 else 0, "denominator": "TEN_THOUSAND"}


def _routes(table: RouteTable) -> Iterator[Resource]:
    repeatable = as_regex(table.repeatable)
    for route in _ways(table):
        if repeatable is not None:
            yield _with_retries(route, _REPEATS, [_matches(CALL_HEADER, repeatable)])
        yield _with_retries(route, _SAFE_RETRIES, [])


def _ways(table: RouteTable) -> Iterator[Resource]:
    identity, header, cookie = table.identity, table.identity.header, table.identity.cookie_pattern
    whole = "^(.*)$"
    yield _override(table, "override-stable", table.stable, _equals(OVERRIDE_HEADER, ArmName.STABLE))
    if table.canary and table.overrides:
        name, value = OVERRIDE_COOKIE
        by_cookie = _matches("cookie", rf"(?:.*;[ \t]*)?{name}={value}[ \t]*(?:;.*)?")
        for sign in (_equals(OVERRIDE_HEADER, ArmName.CANARY), by_cookie):
            yield _override(table, "override-canary", table.canary, sign)
    yield _split(table, "header", _hash(table, header, whole), [_matches(header, ".+")])
    yield _split(table, "cookie", _hash(table, "cookie", f"^{cookie}$"), [_matches("cookie", cookie)])
    stranger = "address" if identity.use_address else "minted"
    route = _split(table, stranger, _hash(table, MINT_HEADER, whole), [])
    if not identity.use_address:
        # The id is read when the answer goes out, so it stays on the request: the server sees it as the user's cookie to be.
        minted = f"{identity.cookie}=%REQ({MINT_HEADER})%; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax"
        route["response_headers_to_add"] = [{"header": {"key": "set-cookie", "value": minted}}]
        route["request_headers_to_remove"].remove(MINT_HEADER)
    yield route


def _override(table: RouteTable, name: str, release: Release, sign: Resource) -> Resource:
    match: Resource = {"prefix": "/", "headers": [sign]}
    if name == "override-canary":
        never = {"numerator": 0, "denominator": "HUNDRED"}
        match["runtime_fraction"] = {"default_value": never, "runtime_key": override_key(table)}
    arm = name.removeprefix("override-")
    return {
        "name": name,
        "match": match,
        "route": _action(table, {"cluster": cluster_of(release)}),
        # However it was asked for, the request says so from here on: counters tell it apart by this header.
        "request_headers_to_add": [_overwrite(OVERRIDE_HEADER, arm)],
        "request_headers_to_remove": _OURS,
    }


def _split(table: RouteTable, name: str, hashed: Resource, signs: list[Resource]) -> Resource:
    target: Resource = {"cluster": cluster_of(table.stable)}
    if table.canary is not None:
        weighted = {
            "clusters": [
                {"name": cluster_of(table.canary), "weight": 0},
                {"name": cluster_of(table.stable), "weight": TOTAL},
            ],
            "runtime_key_prefix": weights_key(table),
            "use_hash_policy": True,
        }
        target = {"weighted_clusters": weighted, "hash_policy": [hashed]}
    return {
        "name": name,
        "match": {"prefix": "/", "headers": signs},
        "route": _action(table, target),
        "request_headers_to_remove": [*_OURS, OVERRIDE_HEADER],
    }


def _action(table: RouteTable, target: Resource) -> Resource:
    releases = [r for r in (table.stable, table.canary) if r is not None]
    is_local = all(e.is_ip and e.scheme == "http" for r in releases for e in r.endpoints)
    return {
        **target,
        "timeout": f"{table.request_timeout_s:.3f}s",
        "request_mirror_policies": [_mirror(table.service)],
        # A server behind a name may serve many names; one behind a bare address is shown what the client asked for.
        **({} if is_local else {"auto_host_rewrite": True}),
    }


def _mirror(service: str) -> Resource:
    remove = [{"remove": header} for header in (*_OURS, OVERRIDE_HEADER)]
    return {
        "cluster": RECORDER,
        "runtime_fraction": {
            "default_value": {"numerator": 0, "denominator": "TEN_THOUSAND"},
            "runtime_key": mirror_key(service),
        },
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [*remove, {"append": _overwrite(SERVICE_HEADER, service)}],
    }


def _with_retries(route: Resource, retry_on: str, signs: list[Resource]) -> Resource:
    match = {**route["match"], "headers": [*route["match"].get("headers", []), *signs]}
    return {**route, "match": match, "route": {**route["route"], "retry_policy": _retries(retry_on)}}


def _retries(retry_on: str) -> Resource:
    """Try at once on another endpoint, and on the other arm's where there is one. Source: measured, a killed canary."""
    hosts = typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
    priorities = typed("extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=1)
    return {
        "retry_on": retry_on,
        "retriable_status_codes": [503],
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
        "host_selection_retry_max_attempts": 3,
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": hosts}],
        "retry_priority": {"name": "envoy.retry_priorities.previous_priorities", "typed_config": priorities},
    }


def _hash(table: RouteTable, header: str, pattern: str) -> Resource:
    # A backslash begins a group in RE2's replacements.
    replacement = table.salt.replace("\\", "\\\\") + r"\1"
    rewrite = {"pattern": {"regex": pattern}, "substitution": replacement}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}, "terminal": True}


def _equals(header: str, value: str) -> Resource:
    return {"name": header, "string_match": {"exact": str(value)}}


def _matches(header: str, pattern: str) -> Resource:
    return {"name": header, "string_match": {"safe_regex": {"regex": pattern}}}


def _overwrite(key: str, value: str) -> Resource:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
