"""The order in which nodes learn of a change. Pure.

Traffic never meets a cluster that was not acknowledged first; a cluster goes only after its traffic has; and where a
canary loses traffic, that comes before everything else.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.gateways.envoy.clusters import built_assignments, built_clusters
from penstock.gateways.envoy.listeners import built_listeners
from penstock.gateways.envoy.routes import built_routes, built_runtime
from penstock.gateways.envoy.wire import Kind, Resources
from penstock.routing.table import RouteTable


@dataclass(frozen=True, slots=True)
class Wanted:
    """One service's resources, by kind and name, and its values in the runtime layer."""

    clusters: Resources = field(default_factory=dict)
    assignments: Resources = field(default_factory=dict)
    listeners: Resources = field(default_factory=dict)
    routes: Resources = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)

    def of(self, kind: Kind) -> Resources:
        """Return the resources of a kind; the runtime is one resource of all services, so it is not among them."""
        return {
            Kind.CLUSTERS: self.clusters,
            Kind.ASSIGNMENTS: self.assignments,
            Kind.LISTENERS: self.listeners,
            Kind.ROUTES: self.routes,
        }[kind]


def wanted_for(table: RouteTable, tcp_only: Set[str]) -> Wanted:
    """Return what a table means; releases in `tcp_only` (cluster names) are checked by connecting alone."""
    return Wanted(
        clusters=built_clusters(table, tcp_only),
        assignments=built_assignments(table),
        listeners=built_listeners(table),
        routes=built_routes(table),
        runtime=built_runtime(table),
    )


def takes_traffic_away(old: RouteTable | None, new: RouteTable) -> bool:
    """Whether a canary loses traffic to the stable release that serves already."""
    if old is None or old.canary is None or old.stable != new.stable:
        return False
    return new.canary != old.canary or new.weight < old.weight


def stages(old: Wanted, new: Wanted, *, traffic_first: bool) -> Iterator[Wanted]:
    """Return what must be in force, one after the other, on the way from `old` to `new`; the last is `new`."""
    now = old
    for change in _changes(old, new, traffic_first=traffic_first):
        changed = replace(now, **change)
        if changed != now:
            now = changed
            yield now


def _changes(old: Wanted, new: Wanted, *, traffic_first: bool) -> Iterator[Mapping[str, Any]]:
    if traffic_first:
        yield {"runtime": new.runtime}
    yield {
        "clusters": {**old.clusters, **new.clusters},
        "assignments": {**old.assignments, **new.assignments},
    }
    yield {"listeners": new.listeners, "routes": new.routes}
    yield {"runtime": new.runtime}
    yield {"clusters": new.clusters, "assignments": new.assignments}
