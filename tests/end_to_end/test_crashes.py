"""Kill -9 of the control plane at random moments. benchmarks/crashes.py does the same a hundred times."""

import numpy as np

from tests.end_to_end.crashing import GRACE_S, Crasher
from tests.end_to_end.stage import Stage


def test_the_control_plane_may_die_at_any_moment(stage: Stage) -> None:
    crasher = Crasher(stage, np.random.default_rng(2))
    crashes = [crasher.crash() for _ in range(8)]
    crasher.load.stop()
    assert [crash for crash in crashes if crash.wrong] == []
    assert max(crash.canary_s for crash in crashes) <= GRACE_S
    assert (crasher.n_quarantined, crasher.load.failures()) == (0, [])
