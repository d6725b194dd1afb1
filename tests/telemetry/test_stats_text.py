from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penstock.telemetry.stats_text import Snapshot, grown, labels_of, parsed

GOLDEN = (Path(__file__).parent / "golden_stats.txt").read_text()
_RQ = "penstock.rq.arm.tts/2.pod.127.0.0.1:7003.route.header.code.200.flags.-.att.1.fault."
_FAILED = "attempt.failed.arm.tts/2.pod.127.0.0.1:7003.route.header.code.503.flags.-"


def test_what_envoy_wrote() -> None:
    snapshot = parsed(GOLDEN)
    assert snapshot.uptime_s == 3
    assert len(snapshot.histograms) == 16
    assert snapshot.histograms[_RQ] == "0,0:1"
    assert snapshot.histograms[_FAILED] == "500,10:2"


def test_since_the_beginning_everything_has_grown() -> None:
    growth = grown(Snapshot(), parsed(GOLDEN))
    assert not growth.was_reset
    assert len(growth.histograms) == 16
    assert (labels_of(_FAILED), {500: 2}) in growth.histograms


def test_nothing_grew_between_equal_snapshots() -> None:
    growth = grown(parsed(GOLDEN), parsed(GOLDEN))
    assert (growth.histograms, growth.was_reset) == ((), False)


def test_labels() -> None:
    assert labels_of(_RQ) == {
        "name": "penstock.rq",
        "arm": "tts/2",
        "pod": "127.0.0.1:7003",
        "route": "header",
        "code": "200",
        "flags": "-",
        "att": "1",
        "fault": "",
    }
    assert labels_of("attempt.failed.pod.pod.example:80.arm.a/1.code.0.flags.URX,UC.route.minted")["pod"] == (
        "pod.example:80"
    )
    assert labels_of("penstock.rq.arm..route..pod..code.404.flags.NR.att.0") == {
        "name": "penstock.rq",
        "arm": "",
        "route": "",
        "pod": "",
        "code": "404",
        "flags": "NR",
        "att": "0",
    }
    assert labels_of("penstock.fault.arm.tts/2.pod.[::1]:80.route.header.fault.silence")["fault"] == "silence"


def test_lines_nobody_knows_are_skipped() -> None:
    assert parsed("\nnonsense\nfar: out\nserver.state: 0\na.b: No recorded values\n") == Snapshot()


def test_only_what_was_added_counts() -> None:
    before = Snapshot({_RQ: "0,0:1, 10,1:2", _FAILED: "500,10:1"}, uptime_s=7)
    now = Snapshot({_RQ: "0,0:1, 10,1:5, 1200,100:1", _FAILED: "500,10:1"}, uptime_s=8)
    growth = grown(before, now)
    assert growth.histograms == ((labels_of(_RQ), {10: 3, 1200: 1}),)
    assert not growth.was_reset


def test_what_fell_started_again() -> None:
    growth = grown(Snapshot({_RQ: "0,0:9, 10,1:2"}), Snapshot({_RQ: "0,0:3, 10,1:5"}))
    assert growth.histograms == ((labels_of(_RQ), {0: 3, 10: 5}),)
    assert growth.was_reset


def test_what_vanished_is_a_reset_and_starts_at_nothing() -> None:
    before = Snapshot({_RQ: "0,0:9"})
    growth = grown(before, Snapshot())
    assert (growth.histograms, growth.was_reset) == ((), True)
    assert grown(Snapshot(), before).histograms == ((labels_of(_RQ), {0: 9}),)


def test_a_restarted_gateway_is_told_by_its_age_even_if_nothing_fell() -> None:
    growth = grown(Snapshot({_RQ: "1,0.1:5"}, uptime_s=60), Snapshot({_RQ: "1,0.1:7"}, uptime_s=1))
    assert growth.histograms == ((labels_of(_RQ), {1: 7}),)
    assert growth.was_reset


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=20))
def test_increments_add_up_however_they_are_cut(ticks: list[list[int]]) -> None:
    totals = [0, 0, 0]
    before, sums = Snapshot(), [0, 0, 0]
    for tick in ticks:
        totals = [total + n for total, n in zip(totals, tick, strict=True)]
        now = Snapshot({f"penstock.rq.pod.{i}": f"7,0.1:{total}" for i, total in enumerate(totals) if total})
        growth = grown(before, now)
        assert not growth.was_reset
        for labels, bins in growth.histograms:
            sums[int(labels["pod"])] += sum(bins.values())
        before = now
    assert sums == totals
