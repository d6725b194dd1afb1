"""Who stands in for whom."""

from dataclasses import replace

from penstock.registry.release import Endpoint, Release
from penstock.routing.table import RouteTable

ONE, TWO = (Endpoint("http", "10.0.0.1", port) for port in (1, 2))
STABLE = Release("tts", 1, "set-1", {"vocoder": "1.1.0"}, (ONE,), swapped=True)
CANARY = Release("tts", 2, "vocoder-1.3.0", {"vocoder": "1.3.0"}, (TWO,), swapped=True)
TABLE = RouteTable("tts", 1, "127.0.0.1:1", STABLE, CANARY, reserve=(TWO,))


def test_the_canary_stands_in_for_stable_where_somebody_may_reach_it() -> None:
    assert replace(TABLE, overrides=True).stand_in(STABLE) == CANARY
    assert replace(TABLE, weight=1).stand_in(STABLE) == CANARY
    assert replace(TABLE, reserve=()).stand_in(STABLE) is None


def test_servers_that_serve_the_same_stand_in_under_stables_name() -> None:
    assert TABLE.stand_in(STABLE) == replace(STABLE, endpoints=(TWO,))


def test_stable_always_stands_in_for_the_canary_and_nobody_for_others() -> None:
    assert TABLE.stand_in(CANARY) == STABLE
    assert TABLE.stand_in(replace(CANARY, number=3)) is None
    assert replace(TABLE, canary=None, reserve=()).stand_in(STABLE) is None
    assert replace(TABLE, canary=replace(CANARY, endpoints=(ONE,))).stand_in(STABLE) is None
