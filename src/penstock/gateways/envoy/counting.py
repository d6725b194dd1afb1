"""What Envoy counts, per arm, pod and route: cumulative, inside Envoy, so that no request is logged or streamed.

The stat names and tags below are the contract with `telemetry.envoy`:

- `penstock.rq`: answers to users; `penstock.ttfb`: their time to the first byte, milliseconds;
- `penstock.fault`: answers that the server itself marked as bad;
- `attempt.failed`: attempts on a pod that failed by themselves, also when a retry hid them.

Source: Envoy docs, `envoy.access_loggers.stats` (Envoy 1.40).
"""

from penstock.gateways.envoy.names import METADATA
from penstock.gateways.envoy.wire import Resource, typed
from penstock.routing.table import FAULT_HEADER, OVERRIDE_HEADER

_ARM = {"name": "arm", "value_format": "%UPSTREAM_CLUSTER%"}
_ROUTE = {"name": "route", "value_format": "%ROUTE_NAME%"}
_POD = {"name": "pod", "value_format": f"%UPSTREAM_METADATA({METADATA}:pod)%"}
_CODE = {"name": "code", "value_format": "%RESPONSE_CODE%"}
_FLAGS = {"name": "flags", "value_format": "%RESPONSE_FLAGS%"}
_ATTEMPT = {"name": "att", "value_format": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}

#: Faults with a counter of their own; a server may invent others, and they must not invent counters.
KNOWN_FAULTS = ("silence", "pops", "clipping", "truncated", "empty", "wrong-words")
_FAULT_NAME = (
    f"response.headers['{FAULT_HEADER}'] in {list(KNOWN_FAULTS)} ? response.headers['{FAULT_HEADER}'] : 'other'"
)
_FAULT = {"name": "fault", "value_format": f"%CEL({_FAULT_NAME})%"}

#: What can go wrong between Envoy and a pod. Not DC, a user who left, nor DPE, a user who does not speak HTTP.
#: Source: Envoy docs, "Response flags".
_POD_FLAGS = ["UF", "UC", "UT", "LR", "UR", "UPE", "UO", "UMSDR"]


def answer_logs() -> list[Resource]:
    """Return the loggers of answers to users."""
    # Overridden requests still carry the override's header here, all others lost it (see routes). Local answers and 5xx
    # have no latency worth keeping, and Envoy writes an error line where the value is missing.
    judged = {"name": OVERRIDE_HEADER, "present_match": True, "invert_match": True}
    timed = {"and_filter": {"filters": [{"header_filter": {"header": judged}}, _code("GE", 100), _code("LE", 499)]}}
    latency = {
        "stat": {"name": "ttfb", "tags": [_ARM, _POD]},
        "unit": "Milliseconds",
        "value_format": "%RESPONSE_DURATION%",
    }
    return [
        _logger("penstock", counters=[_counter("rq", _ARM, _ROUTE, _POD, _CODE, _FLAGS, _ATTEMPT)]),
        _logger("penstock", histograms=[latency], only=timed),
        _logger("penstock", counters=[_counter("fault", _ARM, _POD, _ROUTE, _FAULT)], only=_marked()),
    ]


def attempt_logs() -> list[Resource]:
    """Return the logger of attempts: only failed ones cost anything."""
    failed = {"or_filter": {"filters": [_code("GE", 500), {"response_flag_filter": {"flags": _POD_FLAGS}}]}}
    return [_logger("attempt", counters=[_counter("failed", _ARM, _POD, _CODE, _FLAGS, _ROUTE)], only=failed)]


def _logger(prefix: str, *, only: Resource | None = None, **stats: list[Resource]) -> Resource:
    config = typed("extensions.access_loggers.stats.v3.Config", stat_prefix=prefix, **stats)
    logger: Resource = {"name": "envoy.access_loggers.stats", "typed_config": config}
    return logger | ({"filter": only} if only else {})


def _counter(name: str, *tags: Resource) -> Resource:
    return {"stat": {"name": name, "tags": list(tags)}, "value_fixed": 1}


def _code(op: str, status: int) -> Resource:
    value = {"default_value": status, "runtime_key": "penstock.never_set"}
    return {"status_code_filter": {"comparison": {"op": op, "value": value}}}


def _marked() -> Resource:
    expression = f"'{FAULT_HEADER}' in response.headers"
    config = typed("extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=expression)
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}}
