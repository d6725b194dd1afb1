"""The sentences of the command line: statuses, entries, evidence and endings as lines of text. Nothing is asked or decided."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.cli.terminal import columns

#: Percentages from here on are shown without decimals.
_WHOLE_FROM_PCT = 10.0
_BAR_CELLS = 30
_FULL_PCT = 100.0

TIMED_OUT = "the time to wait is over; the rollout goes on, follow it with: penstock status {service}"
INTERRUPTED = "no longer watching; the rollout goes on, follow it with: penstock status {service}"
ONLY_REGISTRY = "no control plane answers at {url}: this is what the registry knows; no server was asked"
NOT_CONFIRMED = "no server said yet that it serves that: see penstock status; or go elsewhere with --to"
NOT_ACKNOWLEDGED = "decided and journalled, but not every live gateway acknowledged it yet; Penstock goes on trying"


def percent(ratio: float | None) -> str:
    """Return a share as `47 %` or `0.2 %`; `-` where nothing was counted."""
    if ratio is None:
        return "-"
    value = 100.0 * ratio
    return f"{value:.0f} %" if value >= _WHOLE_FROM_PCT else f"{value:.2g} %"


def evidence(value: float | None) -> str:
    """Return an e-value; None is what JSON makes of infinity."""
    return "beyond measure" if value is None else f"{value:.3g}"


def ramp(status: Mapping[str, Any]) -> str:
    """Return the steps with the present one in brackets: `5 [10] 20 100 %`."""
    marked = (f"[{w:g}]" if i == status["step"] else f"{w:g}" for i, w in enumerate(status["steps"]))
    return " ".join(marked) + " %"


def bar(weight_pct: float) -> str:
    """Return the canary's share as a bar."""
    full = round(weight_pct / _FULL_PCT * _BAR_CELLS)
    return "#" * full + "." * (_BAR_CELLS - full) + f" {weight_pct:g} %"


def headline(status: Mapping[str, Any]) -> str:
    """Return `tts  1.5.0 -> 2.0.1   steps 5 [10] 100 %`; without a rollout, what serves."""
    if status["canary"] is None:
        return f"{status['service']}  {status['stable']['release']} serves everybody"
    return f"{status['service']}  {status['stable']['release']} -> {status['canary']['release']}   steps {ramp(status)}"


def metrics(status: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric: name, canary, stable, evidence for rolling back and withdrawing, proof, limit."""
    seen = status["evidence"]
    if seen is None:
        return
    for name, metric in seen["metrics"].items():
        yield (
            name,
            f"canary {percent(metric['bad_canary_ratio'])} of {metric['n_canary']}",
            f"stable {percent(metric['bad_stable_ratio'])} of {metric['n_stable']}",
            f"evidence {evidence(metric['block_evidence'])} (requests {evidence(metric['request_evidence'])})",
            f"limit {metric['limit']}",
            f"proof {evidence(metric['proof'])}",
        )


def worst(status: Mapping[str, Any]) -> str:
    """Return the metric that speaks loudest against the canary: `errors 44 % (stable 0.2 %)`; empty without one."""
    seen = status["evidence"]
    rows = [m for m in seen["metrics"].values() if m["bad_canary_ratio"] is not None] if seen else []
    if not rows:
        return ""
    rows.sort(key=lambda m: m["metric"] != "errors")  # where all are silent, errors are what a person asks for
    loudest = max(rows, key=lambda m: (_loud(m["block_evidence"]), _loud(m["request_evidence"])))
    shares = f"{percent(loudest['bad_canary_ratio'])} (stable {percent(loudest['bad_stable_ratio'])})"
    return f"{loudest['metric']} {shares}"


def _loud(value: float | None) -> float:
    """Return evidence for harm; what speaks for the canary is all the same here."""
    return float("inf") if value is None else max(value, 1.0)


def judged(status: Mapping[str, Any]) -> str:
    """Return the verdict with its evidence: `undecided, evidence 3.1 of 125`."""
    seen = status["evidence"]
    if seen is None:
        return ""
    gross = (
        f", bad without a break for {seen['gross_s']:.0f} of {seen['gross_needed_s']:.0f} s" if seen["gross_s"] else ""
    )
    return f"{seen['word']}, evidence {evidence(seen['evidence'])} of {seen['evidence_needed']:.3g}{gross}"


def progress(status: Mapping[str, Any]) -> str:
    """Return a running rollout in one line, for a log."""
    seen = status["evidence"]
    n_probes = seen["n_probes"] if seen else 0
    parts = (
        f"{status['phase']} {status['weight_pct']:g} %",
        f"{seen['n_canary']} req" if seen else "",
        f"{n_probes} probe{'s' * (n_probes > 1)}" if n_probes else "",
        worst(status),
        judged(status),
        status["waiting_for"],
        f"TROUBLE {status['trouble']}" if status["trouble"] else "",
    )
    return "   ".join(part for part in parts if part)


def entry(written: Mapping[str, Any]) -> str:
    """Return a journal entry in one line."""
    weight = f" {written['weight_pct']:g} %" if "weight_pct" in written else ""
    return f"{clock(written['at'])}  {written['kind']}{weight}  {written['reason']}  ({written['actor']})"


def clock(at: str) -> str:
    """Return the time of day of an RFC 3339 time, to the millisecond, UTC."""
    return at.partition("T")[2].rstrip("Z")[:12]


def nodes(status: Mapping[str, Any]) -> str:
    live = [node for node in status["nodes"] if node["live"]]
    current = sum(node["generation"] >= status["generation"] for node in live)
    return f"{current}/{len(live)} gateways acknowledged generation {status['generation']}"


def held(status: Mapping[str, Any]) -> str:
    """Return what to do about a rollout that a person stopped."""
    return f"held: {status['reason']}; go on with: penstock resume {status['service']}"


def accepted(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a rollout has begun, and how to follow it."""
    yield from summary(status)
    yield f"the rollout has begun; follow it with: penstock status {status['service']}"


def ending(status: Mapping[str, Any], outcome: Mapping[str, Any], canary: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the rollout of a canary ended, why, and what to do now."""
    service, word = status["service"], outcome["outcome"]
    if word == "timeout":
        yield outcome["reason"]
        yield TIMED_OUT.format(service=service)
        return
    yield f"{word.replace('_', ' ').upper()}, {nodes(status)}"
    yield f"why: {outcome['reason']}"
    yield f"{outcome['n_canary_requests']} user requests were answered by {canary['release']}"
    if word == "paused":
        yield f"a person decides: penstock resume {service}, penstock promote {service}, or penstock rollback {service}"
    if word == "rolled_back":
        yield f"read the evidence with: penstock explain {service}"
    if any(marked["version"] == canary["release"] for marked in status["quarantined"]):
        lift = f"penstock unquarantine {service} {canary['release']} --reason TEXT"
        yield f"{canary['release']} ({canary['digest'] or 'no digest known'}) is quarantined; lift with: {lift}"


def summary(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield one service on one screen."""
    yield f"{status['service']}   {status['phase']}   generation {status['generation']}"
    yield from columns(_traffic(status), indent="  ")
    yield from columns(metrics(status), indent="    ")
    yield from columns(_remarks(status), indent="  ")


def _traffic(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    live = sum(node["live"] for node in status["nodes"])
    connected = f"{live} of {len(status['nodes'])} connected, {nodes(status)}"
    yield "gateway", f"{status['gateway_url']}   {connected}"
    yield "stable ", _arm(status["stable"])
    if status["canary"]:
        yield "canary", _arm(status["canary"])
        yield "weight", f"{status['weight_pct']:g} %   steps {ramp(status)}"
        yield "verdict", judged(status) or "nothing judged yet"


def _arm(release: Mapping[str, Any]) -> str:
    unknown = "" if release["digest"] else "   no digest known"
    return f"{release['release']}   {' '.join(release['endpoints'])}{unknown}"


def _remarks(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "reason ", status["reason"]
    if status["waiting_for"] not in {"", status["reason"]}:
        yield "waiting", status["waiting_for"]
    if status["trouble"]:
        yield "trouble", status["trouble"]
    if (outcome := status["outcome"]) is not None:
        yield "outcome", f"{outcome['outcome']}: {outcome['reason']}"
    yield from (("warning", warning) for warning in status["warnings"])
    yield from (("banned", f"{marked['version']} is quarantined: {marked['why']}") for marked in status["quarantined"])


def detail(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything that is known of a service."""
    yield from summary(status)
    for arm in ("stable", "canary"):
        if release := status[arm]:
            versions = ", ".join(f"{component} {version}" for component, version in release["versions"].items())
            yield f"  {arm} release {release['number']}: {versions}; {release['digest'] or 'no digest known'}"
    for node in status["nodes"]:
        alive = "connected" if node["live"] else "not connected"
        yield f"  gateway {node['id']}: {alive}, serves generation {node['generation']}"
    yield f"  requests {status['n_requests']}, of these sent by override {status['n_overridden']}"


def listing(statuses: list[dict[str, Any]]) -> Iterator[str]:
    """Yield one line a service."""
    if not statuses:
        yield "no service yet; adopt one with: penstock up NAME=URL"
        return
    head = ("SERVICE", "PHASE", "STABLE", "CANARY", "WEIGHT", "VERDICT", "GATEWAY")
    rows = [
        (
            status["service"],
            status["phase"],
            status["stable"]["release"],
            status["canary"]["release"] if status["canary"] else "-",
            f"{status['weight_pct']:g} %",
            status["verdict"] or "-",
            status["gateway_url"],
        )
        for status in statuses
    ]
    yield from columns([head, *rows])


def history(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the journal, oldest first."""
    head = ("SEQ", "AT", "KIND", "GEN", "ACTOR", "REASON")
    yield from columns(
        [head, *((str(e["seq"]), e["at"], e["kind"], str(e["generation"]), e["actor"], e["reason"]) for e in entries)]
    )


def explanation(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was decided, why, with the numbers, and under which assumptions."""
    yield f"{said['service']} is {said['phase']}"
    if what := said["what"]:
        yield f"decided: {what['kind']} at {what['at']} by {what['actor']} (entry {what['seq']}, {what['hash'][:12]})"
        yield f"because: {what['reason']}"
    if said["waiting_for"]:
        yield f"waits for: {said['waiting_for']}"
    yield from _evidence_of(said)
    if said["assumptions"]:
        yield "assumptions"
        yield from (f"  - {assumption}" for assumption in said["assumptions"])
    if (budget_pct := said["rollback_budget_pct"]) is not None:
        yield f"a version that is not worse is rolled back with a probability of at most {budget_pct:g} % per release"


def _evidence_of(said: Mapping[str, Any]) -> Iterator[str]:
    verdict = said["verdict"]
    if verdict is None:
        yield "nothing has been judged"
        return
    when = "now" if said["verdict_at"] == "now" else f"at {said['verdict_at']}"
    status = {"evidence": verdict}
    yield f"verdict {when}: {judged(status)}"
    yield f"  on {verdict['n_canary']} user requests and {verdict['n_probes']} probes that the canary answered"
    yield from (f"  - {reason}" for reason in verdict["reasons"])
    yield from columns(metrics(status), indent="  ")


def rolled_back(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a rollback did."""
    word = "serves" if said["confirmed"] else "should serve"
    yield f"{said['release']} {word}; {said['acknowledged']}/{said['nodes']} gateways acknowledged generation {said['generation']}"
    if said["decided_at"] and said["applied_at"]:
        yield f"decided {said['decided_at']}, in force {said['applied_at']}"
    if len(said["versions"]) > 1:
        yield _set(said["versions"])
    if not said["changed"]:
        yield "nothing had to change: the last rollout was left already; to go further back name a version with --to"


def rollback_plan(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a rollback would go."""
    yield f"would go to {said['target']}: {said['why']}" if said["target"] else "there is nothing to go back to"
    for candidate in said["candidates"]:
        versions = candidate["versions"]
        name = _set(versions) if len(versions) > 1 else candidate["release"]
        yield f"  {name}: {candidate['against'] or 'could serve'}"


def _set(versions: Mapping[str, str]) -> str:
    return "  ".join(f"{component} {version}" for component, version in versions.items())


def checks(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what the doctor found."""
    for check in found:
        yield f"{'ok  ' if check['ok'] else 'FAIL'}  {check['name']}: {check['detail']}"
        if not check["ok"]:
            yield f"      remedy: {check['remedy']}"


def quarantined(said: Mapping[str, Any]) -> str:
    """Return whether a version may be released."""
    if said["quarantined"]:
        by = "by version, no digest known" if str(said["key"]).startswith("version:") else f"by digest {said['key']}"
        return f"{said['version']} of {said['service']} is quarantined {by}"
    return f"{said['version']} of {said['service']} may be released again"
