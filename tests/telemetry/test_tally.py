from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from penstock.judge.counts import PodCounts
from penstock.ports.telemetry import ServiceReading
from penstock.telemetry.stats_text import Growth, Labels, Snapshot, grown, parsed
from penstock.telemetry.tally import tallied
from tests.telemetry.test_stats_text import GOLDEN

OWN, OTHER = "c:1", "s:1"


def pods_of(service: str, number: int) -> frozenset[str]:
    pods = {("tts", 1): {OTHER}, ("tts", 2): {OWN}}
    return frozenset(pods.get((service, number), ()))


def rq(pod: str, code: int, *, flags: str = "-", att: int = 1, **others: str) -> Labels:
    labels = {"arm": "tts/2", "route": "header", "pod": pod, "code": str(code), "flags": flags, "att": str(att)}
    return {"name": "penstock.rq"} | labels | others


def failed(pod: str, code: int, *, flags: str = "-", route: str = "header") -> Labels:
    return {"name": "attempt.failed", "arm": "tts/2", "route": route, "pod": pod, "code": str(code), "flags": flags}


def read(*counted: tuple[Labels, int]) -> ServiceReading:
    """Sum up answers and attempts that nobody timed."""
    reading = tallied(Growth(tuple((labels, {7: n}) for labels, n in counted)), pods_of).get("tts", ServiceReading())
    return replace(reading, counts=tuple(untimed for c in reading.counts if (untimed := replace(c, latency_ms={})).n))


def test_the_golden_answer_adds_up_by_hand() -> None:
    pods = {1: {"127.0.0.1:7001", "127.0.0.1:7002"}, 2: {"127.0.0.1:7003"}, 3: {"127.0.0.1:1"}}
    readings = tallied(grown(Snapshot(), parsed(GOLDEN)), lambda _service, number: frozenset(pods[number]))
    reading = readings["tts"]
    assert readings.keys() == {"tts"}
    assert (reading.n_requests, reading.n_anonymous, reading.n_overridden) == (8, 1, 1)
    assert sorted(reading.counts, key=lambda counts: (counts.release, counts.pod)) == [
        PodCounts(1, "127.0.0.1:7001", n=3, errors=3),
        PodCounts(1, "127.0.0.1:7002", n=1, errors=1),
        PodCounts(
            2,
            "127.0.0.1:7003",
            n=7,
            errors=3,
            client_errors=1,
            faults={"silence": 1},
            latency_ms={0: 3, 120: 1},
        ),
        PodCounts(3, "-", n=1, errors=1),
    ]


def test_a_failed_attempt_and_its_answer_are_one() -> None:
    assert read((failed(OWN, 503), 1), (rq(OWN, 503), 1)).counts == (PodCounts(2, OWN, n=1, errors=1),)


def test_a_reading_may_fall_between_an_attempt_and_its_answer() -> None:
    assert read((failed(OWN, 503), 1)).counts == (PodCounts(2, OWN, n=1, errors=1),)
    assert read((rq(OWN, 503), 1)).counts == ()
    assert read((rq(OTHER, 200, att=2), 1)).counts == ()


def test_time_outs_are_found_among_the_answers() -> None:
    for flags, code in (("UT", 504), ("SI", 504), ("UT", 200), ("UMSDR", 504)):
        assert read((rq(OWN, code, flags=flags), 2)).counts == (PodCounts(2, OWN, n=2, errors=2),)
    # Every try timed out by itself: those attempts are counted already.
    assert read((failed(OWN, 0, flags="UT"), 2), (rq(OWN, 504, flags="URX,UT", att=2), 1)).counts == (
        PodCounts(2, OWN, n=2, errors=2),
    )


def test_attempts_that_were_cut_off_say_nothing() -> None:
    assert read((failed(OWN, 0), 1), (failed(OWN, 0, flags="DC"), 1)).counts == ()


def test_what_the_user_did_is_no_error() -> None:
    assert read((rq(OWN, 0, flags="DC"), 1)) == ServiceReading()
    assert read((rq("", 413, flags="-"), 1)).counts == ()
    assert read((rq(OWN, 408, flags="SI"), 1)).counts == ()
    assert read((rq(OWN, 200, flags="DC"), 1)).counts == (PodCounts(2, OWN, n=1),)
    assert read((rq(OWN, 400, flags="DPE"), 1)).counts == (PodCounts(2, OWN, n=1, client_errors=1),)


def test_local_failures_are_nobodys_pod() -> None:
    for flags in ("UH", "UO", "NC"):
        assert read((rq("", 503, flags=flags), 1)).counts == (PodCounts(2, "-", n=1, errors=1),)
    # Too many retries at once: the attempt itself had failed before.
    assert read((failed(OWN, 503), 1), (rq(OWN, 503, flags="UO"), 1)).counts == (PodCounts(2, OWN, n=1, errors=1),)


def test_an_overflow_is_one_failure_though_it_was_tried_twice() -> None:
    reading = read((failed("", 0, flags="UO"), 2), (rq("", 503, flags="UO", att=2), 1))
    assert reading.counts == (PodCounts(2, "-", n=1, errors=1),)


def test_a_rescue_is_counted_where_it_failed() -> None:
    reading = read((failed(OWN, 0, flags="UF"), 3), (rq(OTHER, 200, att=2), 3))
    assert reading.counts == (PodCounts(2, OWN, n=3, errors=3),)


def test_unknown_releases_and_names_are_left_out() -> None:
    for arm in ("tts/9", "recorder", "", "tts/x", "/1"):
        assert read((rq(OWN, 200, arm=arm), 1)) == ServiceReading()
    assert read(({"name": "penstock.new", "arm": "tts/2", "pod": OWN, "route": "header"}, 1)) == ServiceReading()


def test_faults_are_those_of_own_answers() -> None:
    assert read((rq(OWN, 200, fault="silence"), 2), (rq(OWN, 200), 1)).counts == (
        PodCounts(2, OWN, n=3, faults={"silence": 2}),
    )
    assert read((rq(OTHER, 200, att=2, fault="silence"), 3), (rq(OWN, 200), 2)).counts == (PodCounts(2, OWN, n=2),)


def test_faults_never_outnumber_answers() -> None:
    marked = (rq(OWN, 503, fault="silence"), 1)
    assert read((failed(OWN, 503), 1), marked).counts == (PodCounts(2, OWN, n=1, errors=1, faults={"silence": 1}),)
    assert read(marked).counts == ()  # its attempt stood in the reading before


def test_only_timely_answers_of_own_pods_have_a_latency() -> None:
    others = (rq(OTHER, 200, att=2), rq(OWN, 200, route="override-canary"), rq(OWN, 503), rq(OWN, 504, flags="UT"))
    histograms = ((rq(OWN, 200), {5: 2}), (rq(OWN, 404), {6: 1}), *((labels, {9: 7}) for labels in others))
    reading = tallied(Growth(histograms), pods_of)["tts"]
    assert reading.counts == (PodCounts(2, OWN, n=10, errors=7, client_errors=1, latency_ms={5: 2, 6: 1}),)


_ANSWERS = st.builds(
    rq,
    st.sampled_from([OWN, OTHER, ""]),
    st.sampled_from([0, 200, 404, 499, 500, 503, 504]),
    flags=st.sampled_from(["-", "DC", "UT", "URX", "URX,UC", "UH", "UO", "UPE", "SI", "DPE"]),
    att=st.integers(0, 4),
    route=st.sampled_from(["header", "minted", "address", "override-canary"]),
    arm=st.sampled_from(["tts/1", "tts/2", "tts/9"]),
    fault=st.sampled_from(["", "silence"]),
)
_ATTEMPTS = st.builds(
    failed,
    st.sampled_from([OWN, OTHER, ""]),
    st.sampled_from([0, 200, 500, 503]),
    flags=st.sampled_from(["-", "UC", "UT", "UO", "DC"]),
    route=st.sampled_from(["header", "override-stable"]),
)


@given(st.lists(st.tuples(st.one_of(_ANSWERS, _ATTEMPTS), st.integers(1, 9)), max_size=30))
def test_whatever_was_counted_stays_within_its_bounds(counters: list[tuple[Labels, int]]) -> None:
    reading = read(*counters)
    assert reading.n_anonymous <= reading.n_requests
    assert len({(c.release, c.pod) for c in reading.counts}) == len(reading.counts)
    for counts in reading.counts:
        assert counts.n > 0
        assert counts.errors + counts.client_errors <= counts.n
        assert counts.pod in {OWN, OTHER, "-"}
