"""Kill -9 during releases and rollbacks of one component. benchmarks/kills.py does the same two hundred times."""

import numpy as np

from tests.end_to_end.killing import Killer
from tests.end_to_end.stage import Stage


def test_the_control_plane_and_servers_may_die_while_a_component_goes_out_and_back(stage: Stage) -> None:
    killer = Killer(stage, np.random.default_rng(1), n_servers=3)
    try:
        kills = [killer.kill() for _ in range(5)]
    finally:
        killer.close()
    assert [kill for kill in kills if kill.wrong] == []
    assert (killer.mixed(), killer.failed()[1], killer.n_quarantined) == ([], [], 0)
