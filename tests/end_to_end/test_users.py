"""What single users see while a canary is metered in, and how testers reach it."""

import itertools

from tests.end_to_end.load import Request, ask_everybody, everybody
from tests.end_to_end.programs import until
from tests.end_to_end.stage import SERVICE, Stage, predicted

#: The weight stays until somebody promotes.
SLOW = ("--dwell", "10m", "--min-requests", "0")
STABLE, CANARY = "1.5.0", "1.6.0"
WEIGHTS_PCT = (1, 5, 25, 50, 100)


def test_a_user_sees_stable_then_the_canary_then_stable_and_never_flips_within_a_step(stage: Stage) -> None:
    users = everybody(1000)
    stage.up(stage.server(STABLE))
    seen: list[Request] = []

    def everybody_asks_twice(weight_pct: float) -> int:
        stage.until_stepping(weight_pct)
        rounds = [ask_everybody(stage.gateway_url, users) for _ in range(2)]
        seen.extend(itertools.chain(*rounds))
        served = [{r.user: r.release for r in requests} for requests in rounds]
        assert served[0] == served[1] == predicted(stage.journalled().table(), users)
        return sum(release == CANARY for release in served[0].values())

    assert everybody_asks_twice(0) == 0
    stage.release(stage.server(CANARY), version=CANARY, plan=("--steps", "1,5,25,50,100", *SLOW))
    n_canary = [everybody_asks_twice(1)]
    for weight_pct in WEIGHTS_PCT[1:]:
        assert stage.penstock("promote", SERVICE).code == 0
        n_canary.append(everybody_asks_twice(weight_pct))
    assert stage.penstock("rollback", SERVICE, "--reason", "dull voice").code == 0
    assert everybody_asks_twice(0) == 0
    # Binomial: six standard deviations around 10, 50, 250, 500.
    assert all(
        abs(n - 10 * w) <= 6 * (10 * w * (1 - w / 100)) ** 0.5 for n, w in zip(n_canary, WEIGHTS_PCT, strict=True)
    )
    assert not [r for r in seen if r.status != 200]
    for user in users:
        changes = [release for release, _ in itertools.groupby(r.release for r in seen if r.user == user)]
        assert changes == [STABLE, CANARY, STABLE]


def test_testers_reach_the_canary_before_users_do_are_no_evidence_and_lose_it_with_the_rollback(stage: Stage) -> None:
    stage.up(stage.server(STABLE))
    canary = stage.server(CANARY)
    testers = everybody(30)
    by_header, by_cookie = {"x-penstock-arm": "canary"}, {"cookie": "a=b; gray_test=true"}
    to_stable = {"x-penstock-arm": "stable"}

    def served(headers: dict[str, str]) -> set[str]:
        return {answer.release for answer in ask_everybody(stage.gateway_url, testers, headers)}

    assert served(by_header) == {STABLE}
    stage.release(canary, version=CANARY, plan=("--steps", "0.01,100", *SLOW))
    stage.until_stepping(0.01)
    canary.behave(error_pct=100)  # what testers find must not roll anything back
    for _ in range(10):
        assert served(by_header) == served(by_cookie) == {CANARY}
    assert served(to_stable) == {STABLE}
    status = stage.until_status(lambda s: s["n_overridden"] >= 600, "overridden requests are counted")
    assert (status["evidence"]["n_canary"], status["verdict"], status["weight_pct"]) == (0, "undecided", 0.01)
    assert stage.penstock("rollback", SERVICE).code == 0
    assert served(by_header) == served(by_cookie) == {STABLE}
    until(lambda: stage.status()["phase"] == "idle", "the rollback ends")
    assert served(by_header) == served(by_cookie) == {STABLE}


def test_a_tester_reaches_a_canary_that_has_no_users_yet(stage: Stage) -> None:
    stage.up(stage.server(STABLE))
    stage.release(stage.server(CANARY), version=CANARY, plan=("--steps", "50,100", *SLOW))
    stage.until_stepping(50)
    stage.penstock("pause", SERVICE)
    stage.plane.kill()
    stage.up()
    assert stage.status()["weight_pct"] == 0
    assert set(stage.served(everybody(30), {"x-penstock-arm": "canary"}).values()) == {CANARY}
    assert set(stage.served(everybody(30)).values()) == {STABLE}
