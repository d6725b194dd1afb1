"""Buckets: the same user, the same arm, and a growing canary only adds users."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.registry.release import Endpoint, Release
from penstock.routing.bucket import TOTAL, bucket_of, weight_of_pct
from penstock.routing.table import ArmName, Identity, RouteTable, predicted_arm

_STABLE = Release("tts", 1, "1.5.0", {"model": "1.5.0"}, (Endpoint("http", "127.0.0.1", 6006),))
_CANARY = Release("tts", 2, "2.0.1", {"model": "2.0.1"}, (Endpoint("http", "127.0.0.1", 6007),))
_USERS = st.text(min_size=1).filter(lambda user: user.strip(" \t"))


def table(weight: int, *, overrides: bool = True) -> RouteTable:
    return RouteTable("tts", 1, "127.0.0.1:1", _STABLE, _CANARY, weight=weight, salt="tts:1:", overrides=overrides)


@given(user=_USERS, salt=st.text())
def test_a_bucket_is_stable_and_in_range(user: str, salt: str) -> None:
    assert 0 <= bucket_of(salt, user) < TOTAL
    assert bucket_of(salt, f" {user}\t") == bucket_of(salt, user)


@given(user=_USERS, w1=st.integers(0, TOTAL), w2=st.integers(0, TOTAL))
def test_a_growing_canary_only_adds_users(user: str, w1: int, w2: int) -> None:
    small, large = sorted((w1, w2))
    if predicted_arm(table(small), {"x-user-id": user}) is ArmName.CANARY:
        assert predicted_arm(table(large), {"x-user-id": user}) is ArmName.CANARY


def test_the_share_is_the_weight_within_binomial_bounds() -> None:
    n, weight = 20_000, 1000
    hits = sum(bucket_of("tts:1:", f"user-{i}") < weight for i in range(n))
    assert abs(hits - n * weight / TOTAL) < 5 * (n * 0.1 * 0.9) ** 0.5


def test_rollouts_split_independently() -> None:
    first = {i for i in range(5000) if bucket_of("tts:1:", f"u{i}") < 1000}
    second = {i for i in range(5000) if bucket_of("tts:2:", f"u{i}") < 1000}
    assert len(first & second) < 0.2 * len(first)


def test_no_weight_vanishes_and_none_exceeds_everybody() -> None:
    assert [weight_of_pct(p) for p in (0, 0.001, 0.01, 1, 12.5, 100)] == [0, 1, 1, 100, 1250, TOTAL]


def test_overrides_win_over_buckets_and_fall_with_the_lease() -> None:
    for headers in ({"x-penstock-arm": "canary"}, {"cookie": "a=b; gray_test=true"}):
        assert predicted_arm(table(0), headers) is ArmName.CANARY
        assert predicted_arm(table(0, overrides=False), headers) is ArmName.STABLE
    assert predicted_arm(table(TOTAL), {"x-penstock-arm": "stable"}) is ArmName.STABLE


def test_who_carries_no_identity_cannot_be_predicted() -> None:
    assert predicted_arm(table(5000), {}) is None
    assert predicted_arm(table(0), {}) is ArmName.STABLE
    assert predicted_arm(table(TOTAL), {}) is ArmName.CANARY


def test_the_header_wins_over_the_cookie_and_blank_counts_as_none() -> None:
    identity = Identity()
    assert identity.user_in({"x-user-id": "ann", "cookie": "penstock_uid=bob"}) == "ann"
    assert identity.user_in({"x-user-id": " ", "cookie": "x=1; penstock_uid=bob; y=2"}) == "bob"
    assert identity.user_in({"cookie": "penstock_uid="}) is None
