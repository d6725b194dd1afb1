"""Kill -9 of the control plane and of the servers, while one component goes out and comes back: nothing ends differently."""

import numpy as np
import pytest

from penstock.registry.stage import Stage
from tests.control.killing import Point, Victim
from tests.control.mortal import MortalFleet, Step, run
from tests.control.test_components import BEFORE

SCRIPTS: dict[str, tuple[Step, ...]] = {
    "after its promotion": (MortalFleet.finish, MortalFleet.roll_back),
    "on the way": (MortalFleet.reach_users, MortalFleet.roll_back),
}


def wrong_after(n_nodes: int, steps: tuple[Step, ...], kills: dict[Point, Victim]) -> list[str]:
    """Return what did not hold, or did not end as it does without kills: 1.3.0 is out, and everything else as before."""
    fleet = run(n_nodes, steps, kills)
    wrong = [*fleet.wrong, *(f"never came {point}" for point in fleet.fate.to_come)]
    if fleet.serving != dict.fromkeys(fleet.serving, BEFORE):
        wrong.append(f"at the end: {fleet.serving} serve")
    if fleet.registry.version("tts", "vocoder", "1.3.0").stage is not Stage.QUARANTINED:
        wrong.append("at the end: the version that was rolled back from is not quarantined")
    return wrong


@pytest.mark.parametrize(
    ("n_nodes", "victim"),
    [(1, Victim.CONTROL_PLANE), (3, Victim.CONTROL_PLANE), (2, Victim.SERVER), (3, Victim.SERVER)],
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_who_is_killed_at_any_change_loses_nothing(script: str, n_nodes: int, victim: Victim) -> None:
    steps = SCRIPTS[script]
    points = run(n_nodes, steps, {}).fate.met
    assert len(points) > 40
    found = {str(point): wrong for point in points if (wrong := wrong_after(n_nodes, steps, {point: victim}))}
    assert found == {}


@pytest.mark.parametrize("n_nodes", [1, 2])
@pytest.mark.parametrize("script", SCRIPTS)
def test_another_kill_before_the_first_one_is_mended_loses_nothing(script: str, n_nodes: int) -> None:
    steps, chance = SCRIPTS[script], np.random.default_rng(n_nodes)
    points = run(n_nodes, steps, {}).fate.met
    for _ in range(25):
        first, victims = points[chance.integers(len(points))], chance.choice(list(Victim), 2)
        after = run(n_nodes, steps, {first: Victim(victims[0])}).fate.met
        rest = after[after.index(first) + 1 :][:12]
        second = rest[chance.integers(len(rest))]
        kills = {first: Victim(victims[0]), second: Victim(victims[1])}
        assert (str(kills), wrong_after(n_nodes, steps, kills)) == (str(kills), [])
