"""Whatever is typed wrong: one sentence, a remedy, the right exit code, and nothing has changed."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.load import ask_everybody
from tests.end_to_end.programs import Program, Server, until
from tests.end_to_end.stage import SERVICE, Result, Stage, Url


@pytest.fixture(scope="module")
def standing() -> Iterator[Stage]:
    """A service that is idle; no test of this module may change it."""
    stage = Stage()
    try:
        stage.up(stage.server("1.5.0"))
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def canary(standing: Stage) -> Server:
    return standing.server("2.0.1")


def refused(stage: Stage, *args: Url, code: int, sentence: str) -> Result:
    before = stage.journal()
    result = stage.penstock(*args)
    assert (result.code, stage.journal()) == (code, before), result.err
    error, remedy, *more = result.err.splitlines()
    assert error.startswith("error: ")
    assert sentence in error
    assert remedy.startswith("  remedy: ")
    assert len(remedy) > len("  remedy: ")
    assert more == []
    assert {r.release for r in ask_everybody(stage.gateway_url, ["somebody"])} == {"1.5.0"}
    return result


def test_an_unknown_service(standing: Stage, canary: Server) -> None:
    said = "There is no service 'ttx'; known services: tts"
    refused(standing, "status", "ttx", code=1, sentence=said)
    refused(standing, "release", "ttx", canary, "--version", "2.0.1", code=1, sentence=said)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://127.0.0.1:1", "scheme 'ftp' is not http or https"),
        ("http://127.0.0.1:99999", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:6007/synthesize", "more than a scheme, a host and a port"),
        ("http://", "it names no host"),
    ],
)
def test_a_bad_url(standing: Stage, url: str, sentence: str) -> None:
    refused(standing, "release", SERVICE, url, "--version", "2.0.1", code=2, sentence=sentence)


def test_a_dead_endpoint(standing: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused(standing, "release", SERVICE, url, "--version", "2.0.1", code=8, sentence=f"{url} does not answer")


def test_the_version_that_serves_already(standing: Stage) -> None:
    twin = standing.server("1.5.0")
    said = "Version 1.5.0 of 'tts' is stable already"
    refused(standing, "release", SERVICE, twin, "--version", "1.5.0", code=7, sentence=said)
    refused(standing, "release", SERVICE, twin, code=7, sentence=said)


def test_a_version_that_the_server_does_not_serve(standing: Stage, canary: Server) -> None:
    said = f"{canary.url} says that it serves version 2.0.1, not 2.0.2"
    refused(standing, "release", SERVICE, canary, "--version", "2.0.2", code=7, sentence=said)
    other = standing.server("3.0.0")
    said = f"{other.url} says that it serves version 3.0.0, not 2.0.1"
    refused(standing, "release", SERVICE, canary, other, code=7, sentence=said)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--steps", "10,120"), "its last step must be 100"),
        (("--steps", "10,120,100"), "at most 100"),
        (("--steps", "50,10,100"), "its steps must grow"),
        (("--steps", "ten,100"), "'ten' is not a number"),
        (("--dwell", "soon"), "dwell 'soon' is not a time"),
        (("--on-failure", "panic"), "on_failure is rollback or hold"),
        (("--min-requests", "many"), "'--min-requests': Input should be a valid integer"),
    ],
)
def test_a_plan_that_cannot_be_meant(standing: Stage, canary: Server, options: tuple[str, str], sentence: str) -> None:
    refused(standing, "release", SERVICE, canary, "--version", "2.0.1", *options, code=2, sentence=sentence)


def test_a_typo_in_a_plan_file(standing: Stage, canary: Server) -> None:
    plan = standing.folder / "plan.yaml"
    plan.write_text("steps: 10,100\ndwel: 5s\n", encoding="utf-8")
    said = "unknown field 'dwel'; did you mean 'dwell'?"
    refused(standing, "release", SERVICE, canary, "--plan", str(plan), code=2, sentence=said)
    missing = str(standing.folder / "none.yaml")
    refused(standing, "release", SERVICE, canary, "--plan", missing, code=2, sentence="cannot be read")


def test_the_same_url_twice_a_url_in_use_and_the_gateway_itself(standing: Stage, canary: Server) -> None:
    twice = ("release", SERVICE, canary, canary, "--version", "2.0.1")
    refused(standing, *twice, code=2, sentence=f"{canary.url} is already used by the same release")
    (serving,) = standing.status()["stable"]["endpoints"]
    used = ("release", SERVICE, serving, "--version", "2.0.1")
    refused(standing, *used, code=2, sentence=f"{serving} is already used by tts 1.5.0")
    loop = ("release", SERVICE, standing.gateway_url, "--version", "2.0.1")
    refused(standing, *loop, code=2, sentence="is already used by the gateway itself")


def test_commands_that_need_a_rollout_or_an_earlier_release(standing: Stage) -> None:
    for verb in ("pause", "resume", "promote", "abort"):
        refused(standing, verb, SERVICE, code=1, sentence="has no rollout that could be")
    refused(standing, "rollback", SERVICE, code=7, sentence="has no earlier healthy release to go back to")
    refused(standing, "rollback", SERVICE, "--to", "9.9", code=1, sentence="never ran a release '9.9'")
    refused(standing, "rollback", f"{SERVICE}/vocoder", code=1, sentence="has no component 'vocoder'")
    refused(standing, "unquarantine", SERVICE, "9.9", "--reason", "x", code=1, sentence="9.9")


def test_a_control_plane_that_does_not_answer(standing: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused(standing, "status", SERVICE, "--api", url, code=8, sentence=f"No control plane answers at {url}")


# -- `up` itself


def refused_up(stage: Stage, *args: str, code: int, sentence: str) -> Program:
    """`penstock up` ends by itself, says one sentence with a remedy, and leaves nothing running."""
    envoys = stage.envoys()
    program = stage.start_up(*args)
    until(lambda: not program.running, "it gives up")
    error, remedy = program.said.splitlines()
    assert (program.terminate(), error.startswith("error: "), remedy.startswith("  remedy: ")) == (code, True, True)
    assert sentence in error
    assert stage.envoys() == envoys
    return program


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_up_with_addresses_that_cannot_be_used(stage: Stage, taken: str) -> None:
    tts = f"tts={stage.server('1.5.0').url}"
    refused_up(stage, tts, "--api", taken, code=7, sentence=f"{taken} is already in use")
    assert not stage.state_dir.exists()
    refused_up(stage, tts, "--api", "0.0.0.0:0", code=6, sentence="0.0.0.0:0 can be reached from other machines")
    refused_up(stage, tts, "--api", "localhost", code=2, sentence="'localhost' is not an address to listen on")
    refused_up(stage, tts, "--listen", taken, code=7, sentence=f"{taken} is already in use")
    refused_up(stage, tts, "--listen", "127.0.0.1", code=2, sentence="'127.0.0.1' is not an address to listen on")
    assert not Path(stage.state_dir / "journal.db").exists() or stage.journal() == []


def test_up_with_servers_that_cannot_be_adopted(stage: Stage, taken: str) -> None:
    url = stage.server("1.5.0").url
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused_up(stage, f"tts={dead}", code=8, sentence=f"{dead} does not answer")
    refused_up(stage, f"tts={url},{url}", code=2, sentence=f"{url} is already used by tts")
    refused_up(stage, f"tts={url}", f"asr={url}", code=2, sentence=f"{url} is already used by tts")
    refused_up(stage, f"tts=http://{taken}", "--listen", taken, code=2, sentence="used by the gateway itself")
    refused_up(stage, f"TTS={url}", code=2, sentence="'TTS' cannot name a service")
    refused_up(stage, "tts", code=2, sentence="'tts' is not NAME=URL")
    refused_up(stage, code=2, sentence="there is nothing to serve yet")
    assert stage.journal() == []


def test_a_second_up_on_the_same_state(stage: Stage) -> None:
    first = stage.up(stage.server("1.5.0"))
    before = stage.journal()
    said = f"Another control plane (process {first.pid}) already works in {stage.state_dir}"
    refused_up(stage, f"asr={stage.server('1.0').url}", code=7, sentence=said)
    assert (first.running, stage.journal()) == (True, before)
    first.stop()
