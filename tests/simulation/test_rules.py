"""A peer's rule as text, and that rule watching traffic as it comes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulation.peers import argo, flagger, rules
from penstock.simulation.peers.rules import ArgoWatch, FlaggerWatch, Rule, Watch, parse_argo, parse_flagger
from penstock.simulation.peers.series import NEVER
from tests.simulation.releases import Traffic, traffic


def test_argo_rules() -> None:
    assert parse_argo("errors_pct<=1,interval=60s,failure-limit=3") == Rule(None, 0.01, 60.0, 60.0, 3)
    assert parse_argo("p95_ms <= 800, interval=5m") == Rule(800.0, 0.05, 300.0, 300.0, 0)
    assert parse_argo("p99_ms<=1200,window=0.5h") == Rule(1200.0, 0.01, 60.0, 1800.0, 0)


def test_flagger_rules() -> None:
    assert parse_flagger("errors_pct<=0.5") == Rule(None, 0.005, 60.0, 60.0, 1)
    assert parse_flagger("p99_ms<=500,threshold=10,interval=5m") == Rule(500.0, 0.01, 300.0, 60.0, 10)
    assert parse_flagger("p99_ms<=500,window=2m,interval=10s") == Rule(500.0, 0.01, 10.0, 120.0, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not a limit: a rule begins like errors_pct<=1"),
        ("errors_pct<1", "'errors_pct<1' is not a limit"),
        ("error_pct<=1", "there is no metric 'error_pct': the known ones are errors_pct, p95_ms, p99_ms"),
        ("errors_pct<=101", "errors_pct is at most 100, not 101"),
        ("errors_pct<=-1", "errors_pct must be a number such as 1 or 0.5, not '-1'"),
        ("errors_pct<=nan", "errors_pct must be a number"),
        ("p95_ms<=0", "p95_ms must be above 0"),
        ("errors_pct<=1,limit=3", "no setting 'limit=3': the known ones are interval=, failure-limit=, window="),
        ("errors_pct<=1,threshold=3", "no setting 'threshold=3'"),
        ("errors_pct<=1,", "no setting ''"),
        ("errors_pct<=1,interval", "no setting 'interval'"),
        ("errors_pct<=1,interval=60", "interval must be a time such as 60s, 5m or 1h, not '60'"),
        ("errors_pct<=1,window=0s", "window must be a time"),
        ("errors_pct<=1,failure-limit=1.5", "failure-limit must be a whole number, 0 or more, not '1.5'"),
        ("errors_pct<=1,failure-limit=-1", "failure-limit must be a whole number"),
        ("errors_pct<=1,window=1m,window=2m", "window is given twice"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        parse_argo(text)
    assert why in str(refused.value)


def test_flagger_has_settings_of_its_own() -> None:
    with pytest.raises(ValueError, match="interval=, threshold=, window="):
        parse_flagger("errors_pct<=1,failure-limit=3")
    with pytest.raises(ValueError, match="threshold must be a whole number, 1 or more"):
        parse_flagger("errors_pct<=1,threshold=0")


@settings(deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"(errors_pct|p95_ms)<=\d+(,(interval|window)=\w+){0,2}", fullmatch=True))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    try:
        rule = parse_argo(text)
    except ValueError:
        return
    assert 0.0 <= rule.max_ratio <= 1.0
    assert rule.interval_s > 0.0
    assert rule.window_s > 0.0


def watched(watch: Watch, releases: Traffic, release: int) -> int:
    for tick, (n, bad) in enumerate(zip(releases.n_canary[release], releases.bad_canary[release], strict=True)):
        if watch.observe((tick + 1) * releases.tick_s, int(n), int(bad)):
            return tick
    return NEVER


@settings(deadline=None)
@given(traffic, st.integers(1, 3), st.sampled_from([10.0, 60.0]), st.sampled_from([30.0, 60.0, 120.0]))
def test_a_watch_says_what_the_simulation_says(
    releases: Traffic, tolerance: int, interval_s: float, window_s: float
) -> None:
    rule = Rule(None, 0.02, interval_s, window_s, tolerance)
    common: dict[str, Any] = {"interval_s": interval_s, "window_s": window_s, "max_ratio": 0.02}
    rows = range(releases.counts.n_releases)
    by_argo = argo.rollback_ticks(releases.counts, failure_limit=tolerance, **common)
    by_flagger = flagger.rollback_ticks(releases.counts, threshold=tolerance, **common)
    assert [watched(ArgoWatch(rule), releases, row) for row in rows] == by_argo.tolist()
    assert [watched(FlaggerWatch(rule), releases, row) for row in rows] == by_flagger.tolist()


def test_ticks_of_a_tenth_of_a_second_miss_no_check() -> None:
    """60 times 0.1 is not 6 in floating point."""
    rule = Rule(None, 0.01, 10.0, 10.0, 3)
    for watch, expected_s in ((ArgoWatch(rule), 40.0), (FlaggerWatch(rule), 40.0)):
        at_s = 0.0
        while not watch.observe(at_s := at_s + 0.1, 1, 1):
            assert at_s < 60.0
        assert at_s == pytest.approx(expected_s)


def test_a_rollback_is_final() -> None:
    watch = ArgoWatch(parse_argo("errors_pct<=1,interval=10s"))
    assert [watch.observe(at_s, 5, bad) for at_s, bad in ((5.0, 5), (10.0, 5), (20.0, 0), (90.0, 0))] == [
        False,
        True,
        True,
        True,
    ]


def test_flagger_checks_once_after_a_gap() -> None:
    """A ticker that missed its ticks does not make up for them."""
    watch = FlaggerWatch(parse_flagger("errors_pct<=1,threshold=2"))
    said = [watch.observe(at_s, 5, 5) for at_s in (300.0, 310.0, 360.0, 419.0, 420.0)]
    assert said == [False, False, False, False, True]


def test_the_window_forgets() -> None:
    watch = FlaggerWatch(rules.parse_flagger("errors_pct<=1,window=30s"))
    assert [watch.observe(at_s, 5, bad) for at_s, bad in ((30.0, 5), (60.0, 0), (120.0, 0))] == [False, False, False]
