"""Routes: overrides first, then the sticky split by header, cookie or minted cookie."""

import re
from collections.abc import Iterator
from typing import Any

from penstock.gateways.envoy.names import (
    METADATA,
    MINT_HEADER,
    RECORDER,
    SERVICE_HEADER,
    cluster_name,
    mirror_key,
    override_key,
    weight_prefix,
)
from penstock.registry.release import Release
from penstock.routing.bucket import TOTAL
from penstock.routing.repeatable import paths_by_method
from penstock.routing.table import OVERRIDE_COOKIE, OVERRIDE_HEADER, RELEASE_HEADER, ArmName, RouteTable

_TYPE = "type.googleapis.com/envoy."
#: A failed attempt goes to another pod, then to the other arm. Source: measured, ENVOY section 6.
_AGAIN_ALWAYS = "connect-failure,refused-stream,reset-before-request"
_AGAIN_IF_REPEATABLE = f"{_AGAIN_ALWAYS},reset,retriable-status-codes"
#: A dead pod has the fewest requests, so the balancer likes it: until it is out, a quarter of the picks is another one.
_N_PICKS = 50
_ANY_PATH = "/.*"
_COOKIE_AGE_S = 31_536_000


def route_name(service: str) -> str:
    return service


def routes(table: RouteTable) -> dict[str, Any]:
    """Return the route configuration of a service. Counters tell the routes apart by name."""
    host: dict[str, Any] = {"name": table.service, "domains": ["*"], "routes": list(_routes(table))}
    if table.split_inside:  # a process that is asked again after it failed as the canary answers as stable
        host["include_request_attempt_count"] = True
    return {"name": route_name(table.service), "validate_clusters": True, "virtual_hosts": [host]}


def _routes(table: RouteTable) -> Iterator[dict[str, Any]]:
    if table.canary is not None:
        yield from _overrides(table, table.canary)
    for name, headers, hashed, extras in _identities(table):
        action = _split(table, hashed)
        for match, again in _retry_tiers(table):
            yield {
                "name": name,
                "match": {**match, "headers": [*headers, *match.get("headers", [])]},
                "route": {**action, "retry_policy": _retry(again, _n_own_tries(table))},
                **_answers(extras),
            }


def _overrides(table: RouteTable, canary: Release) -> Iterator[dict[str, Any]]:
    """Testers choose an arm. The way to the canary is under the lease, like its weight."""
    fraction = {
        "default_value": {"numerator": 0, "denominator": "HUNDRED"},
        "runtime_key": override_key(canary),
    }
    name, value = OVERRIDE_COOKIE
    cookie = rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}\s*(;.*)?"
    to_stable = {"prefix": "/", "headers": [_exactly(OVERRIDE_HEADER, "stable")]}
    by_header = {"prefix": "/", "headers": [_exactly(OVERRIDE_HEADER, "canary")], "runtime_fraction": fraction}
    by_cookie = {"prefix": "/", "headers": [_matches("cookie", cookie)], "runtime_fraction": fraction}
    for kind, match, release in (
        ("override-stable", to_stable, table.stable),
        ("override-canary", by_header, canary),
        ("override-canary", by_cookie, canary),
    ):
        action = {
            "cluster": cluster_name(release),
            **_common(table),
            "retry_policy": _retry(_AGAIN_ALWAYS, _n_own_tries(table)),
        }
        marked = _marked(table, release)
        yield {"name": kind, "match": match, "route": action, **_answers([]), **marked}


def _identities(table: RouteTable) -> Iterator[tuple[str, list[Any], list[Any], list[Any]]]:
    """Yield (route name, header matchers, hash policy, headers to add to the answer), in the order they are tried."""
    identity, salt = table.identity, table.salt
    whole = _hash(identity.header, "^(.*)$", salt)
    yield "header", [_not_empty(identity.header)], whole, []
    name = re.escape(identity.cookie)
    # The value's outer blanks do not count, as in `Identity.user_in`.
    value = rf"(?:.*;[ \t]*)?{name}=[ \t]*([^;]*[^; \t])[ \t]*(?:;.*)?"
    yield "cookie", [_matches("cookie", value)], _hash("cookie", f"^{value}$", salt), []
    if identity.use_address:
        yield "address", [], [{"connection_properties": {"source_ip": True}, "terminal": True}], []
        return
    minted = f"{identity.cookie}=%REQ({MINT_HEADER})%; Path=/; Max-Age={_COOKIE_AGE_S}; HttpOnly; SameSite=Lax"
    set_cookie = {"header": {"key": "set-cookie", "value": minted}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    yield "minted", [], _hash(MINT_HEADER, "^(.*)$", salt), [set_cookie]


def _split(table: RouteTable, hashed: list[Any]) -> dict[str, Any]:
    if table.canary is None:
        return {"cluster": cluster_name(table.stable), **_common(table)}
    # The canary stands first: growing it then only adds users. Statically it gets nothing; what it gets is leased.
    arms = [
        {"name": cluster_name(table.canary), "weight": 0, **_marked(table, table.canary)},
        {"name": cluster_name(table.stable), "weight": TOTAL, **_marked(table, table.stable)},
    ]
    weighted = {"clusters": arms, "runtime_key_prefix": weight_prefix(table.canary), "use_hash_policy": True}
    return {"weighted_clusters": weighted, "hash_policy": hashed, **_common(table)}


def _marked(table: RouteTable, release: Release) -> dict[str, Any]:
    """Tell a process that serves both arms which one was chosen; what the client wrote there does not count."""
    if not table.split_inside:
        return {}
    arm = ArmName.CANARY if release is table.canary else ArmName.STABLE
    header = {"header": {"key": OVERRIDE_HEADER, "value": arm.value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {"request_headers_to_add": [header]}


def _common(table: RouteTable) -> dict[str, Any]:
    service = {"header": {"key": SERVICE_HEADER, "value": table.service}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    mirror = {
        "cluster": RECORDER,
        "request_headers_mutations": [{"append": service}, {"remove": MINT_HEADER}],
        "disable_shadow_host_suffix_append": True,
        "runtime_fraction": {
            "default_value": {"numerator": 0, "denominator": "TEN_THOUSAND"},
            "runtime_key": mirror_key(table.service),
        },
    }
    fields: dict[str, Any] = {"timeout": f"{table.request_timeout_s}s"}
    if table.canary is not None:  # only a rollout needs recorded requests
        fields["request_mirror_policies"] = [mirror]
    served = (table.stable, *((table.canary,) if table.canary else ()))
    if any(endpoint.scheme == "https" for release in served for endpoint in release.endpoints):
        fields["auto_host_rewrite"] = True
    return fields


def _retry_tiers(table: RouteTable) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield (match, what is tried again): first what may be repeated, then everything else."""
    for method, paths in paths_by_method(table.repeatable):
        path = {"prefix": "/"} if paths == _ANY_PATH else {"safe_regex": {"regex": paths}}
        yield {**path, "headers": [_exactly(":method", method)]}, _AGAIN_IF_REPEATABLE
    yield {"prefix": "/"}, _AGAIN_ALWAYS


def _n_own_tries(table: RouteTable) -> int:
    """Return after how many attempts the other arm is tried: a second pod of the own one comes first, where one is."""
    served = (table.stable, *((table.canary,) if table.canary else ()))
    return 2 if any(len(release.endpoints) > 1 for release in served) else 1


def _retry(retry_on: str, n_own_tries: int) -> dict[str, Any]:
    priorities = f"{_TYPE}extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    hosts = f"{_TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": retry_on,
        "retriable_status_codes": [503],
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
        "host_selection_retry_max_attempts": _N_PICKS,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": hosts}}
        ],
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": priorities, "update_frequency": n_own_tries},
        },
    }


def _answers(extras: list[Any]) -> dict[str, Any]:
    """Say which release really answered, also when it stood in for the other one."""
    value = f"%UPSTREAM_METADATA({METADATA}:release)%"
    release = {"header": {"key": RELEASE_HEADER, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {"response_headers_to_add": [release, *extras]}


def _hash(header: str, regex: str, salt: str) -> list[Any]:
    rewrite = {"pattern": {"regex": regex}, "substitution": f"{salt}\\1"}
    return [{"header": {"header_name": header, "regex_rewrite": rewrite}, "terminal": True}]


def _exactly(header: str, value: str) -> dict[str, Any]:
    return {"name": header, "string_match": {"exact": value}}


def _not_empty(header: str) -> dict[str, Any]:
    empty = {"name": header, "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}
    return {**empty, "invert_match": True}


def _matches(header: str, regex: str) -> dict[str, Any]:
    return {"name": header, "string_match": {"safe_regex": {"regex": regex}}}
