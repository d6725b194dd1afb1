"""The journal cannot be written: a full disk, a file that was moved away, a file without write permission."""

import os
import resource
from pathlib import Path

from tests.end_to_end.load import everybody
from tests.end_to_end.programs import until
from tests.end_to_end.stage import SERVICE, Stage

SLOW = ("--steps", "50,100", "--dwell", "10m", "--longest-stall", "5s", "--min-requests", "0")
STABLE, CANARY = "1.5.0", "1.6.0"


def rolling(stage: Stage) -> None:
    stage.up(stage.server(STABLE))
    stage.release(stage.server(CANARY), version=CANARY, plan=SLOW)
    stage.until_stepping(50)


def the_canary_is_out_until_it_can_be_written_again(stage: Stage, n_before: int) -> None:
    status = stage.until_status(lambda s: s["trouble"], "the status tells")
    assert "cannot be written" in status["trouble"]
    assert set(stage.served(everybody(100)).values()) == {STABLE}
    assert stage.penstock("promote", SERVICE).code == 1
    assert len(stage.journal()) == n_before


def it_goes_on(stage: Stage, n_before: int) -> None:
    status = stage.until_status(lambda s: s["phase"] == "held" and not s["trouble"], "it can be written again")
    assert status["weight_pct"] == 0
    assert "could not be written" in status["reason"]
    assert len(stage.journal()) > n_before
    assert stage.penstock("resume", SERVICE).last["weight_pct"] == 50
    assert set(stage.served(everybody(100)).values()) == {STABLE, CANARY}


def test_on_a_full_disk_the_canary_loses_its_traffic_and_the_rollout_goes_on_when_there_is_space(stage: Stage) -> None:
    rolling(stage)
    with stage.users() as load:
        n_before = len(stage.journal())
        no_limit = resource.prlimit(stage.plane.pid, resource.RLIMIT_FSIZE)
        # No file may grow: the kernel answers EFBIG to a write, as it answers ENOSPC on a full disk.
        resource.prlimit(stage.plane.pid, resource.RLIMIT_FSIZE, (1, no_limit[1]))
        refused = stage.penstock("promote", SERVICE)
        assert (refused.code, refused.last["error"]["code"]) == (1, "journal-unwritable")
        the_canary_is_out_until_it_can_be_written_again(stage, n_before)
        resource.prlimit(stage.plane.pid, resource.RLIMIT_FSIZE, no_limit)
        it_goes_on(stage, n_before)
    assert load.failures() == []


def test_a_journal_that_was_moved_away_is_missed_and_found_again(stage: Stage) -> None:
    rolling(stage)
    with stage.users() as load:
        n_before = len(stage.journal())
        journal, away = stage.state_dir / "journal.db", stage.state_dir / "away.db"
        journal.rename(away)
        assert stage.penstock("promote", SERVICE).code == 1
        assert not journal.exists()
        status = stage.until_status(lambda s: s["trouble"], "the status tells")
        assert str(journal) in status["trouble"]
        assert set(stage.served(everybody(100)).values()) == {STABLE}
        away.rename(journal)
        it_goes_on(stage, n_before)
    assert load.failures() == []


#: Permissions bind root only without these.
BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def test_a_read_only_journal_stops_the_control_plane_but_not_the_gateway(stage: Stage) -> None:
    stage.up(stage.server(STABLE), prefix=BOUND)
    stage.release(stage.server(CANARY), version=CANARY, plan=SLOW)
    stage.until_stepping(50)
    n_before = len(stage.journal())
    with stage.users() as load:
        stage.plane.kill()
        journal = stage.state_dir / "journal.db"
        files = [Path(f"{journal}{end}") for end in ("", "-wal", "-shm") if Path(f"{journal}{end}").exists()]
        for file in files:
            file.chmod(0o400)
        refused = stage.start_up(prefix=BOUND)
        until(lambda: not refused.running, "it refuses to start")
        assert refused.terminate() == 1
        assert f"error: The journal {journal} cannot be written" in refused.said
        assert "remedy: " in refused.said
        until(lambda: load.releases(since_s=load.requests[-1].at_s) == {STABLE}, "stable serves on")
        for file in files:
            file.chmod(0o600)
        stage.up(prefix=BOUND)
        status = stage.status()
        assert (status["phase"], status["weight_pct"]) == ("held", 0)
        assert len(stage.journal()) > n_before
    assert load.failures() == []
