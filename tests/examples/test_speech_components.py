"""The example's components: what is made, what each faulty version does wrong, and that no answer mixes versions."""

import json
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.speech.components import ACOUSTIC, COMPONENTS, EMOTION, FIRST, VOCODER
from examples.speech.pipeline import build_pipeline, check_acoustic, check_emotion, check_vocoder, speaker
from examples.speech.spectra import Floats
from examples.speech.voice import Voice, to_pcm
from examples.speech.weights import read_acoustic, read_emotion, read_vocoder
from penstock import Pipeline
from penstock.kernel.errors import SwapRefused
from penstock.registry.metadata import Metadata
from penstock.runtime.loaders import loader
from tests.examples.conftest import command, environment
from tests.examples.test_speech_voice import MANDARIN, speaking, warped_distance

SENTENCE = "Your order has been shipped."


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, speech_cache: Path) -> Path:
    root = tmp_path_factory.mktemp("components")
    subprocess.run(
        command("--make", str(root)), env=environment(speech_cache), check=True, capture_output=True, timeout=120
    )
    return root


def voice_of(tree: Path, acoustic: str = FIRST, vocoder: str = FIRST, emotion: str = FIRST) -> Voice:
    return Voice(
        read_acoustic(tree / "acoustic" / acoustic),
        read_vocoder(tree / "vocoder" / vocoder),
        read_emotion(tree / "emotion" / emotion),
    )


@pytest.fixture
def pipeline(tree: Path) -> Pipeline:
    whole = build_pipeline(lambda component, read: loader("callable", tree, component, call=read))
    whole.swap(dict.fromkeys(COMPONENTS, FIRST))
    return whole


def n_jumps(samples: Floats) -> int:
    """How often two neighbours are more than half of the scale apart, as no speech is at this rate."""
    return int((np.abs(np.diff(np.frombuffer(to_pcm(samples), "<i2").astype(int))) > 32767).sum())


def test_every_version_is_made_with_complete_metadata(tree: Path) -> None:
    made = {component: {f.name for f in (tree / component).iterdir()} for component in COMPONENTS}
    assert made == {"acoustic": set(ACOUSTIC), "vocoder": set(VOCODER), "emotion": set(EMOTION)}
    for file in tree.glob("*/*/version.json"):
        fields = json.loads(file.read_text("utf-8"))
        assert Metadata.from_json(fields).complete, file
        assert fields["status"] == ("stable" if file.parent.name == FIRST else "unstable")


def test_what_is_there_is_not_made_again(tree: Path, speech_cache: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in tree.rglob("*")}
    again = subprocess.run(
        command("--make", str(tree)),
        env=environment(speech_cache),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert len(again.stdout.splitlines()) == len(ACOUSTIC) + len(VOCODER) + len(EMOTION)
    assert {file: file.stat().st_mtime_ns for file in tree.rglob("*")} == before


def test_making_that_is_killed_leaves_whole_versions_and_goes_on(
    tree: Path, tmp_path: Path, speech_cache: Path
) -> None:
    ask = command("--make", str(tmp_path))
    with subprocess.Popen(
        ask, env=environment(speech_cache), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as maker:
        assert maker.stdout
        maker.stdout.readline()
        maker.send_signal(signal.SIGKILL)
    made = [file.parent for file in tmp_path.glob("*/[!.]*/version.json")]
    assert made == [folder for folder in tmp_path.glob("*/[!.]*") if (folder / "weights.safetensors").is_file()]
    subprocess.run(ask, env=environment(speech_cache), check=True, capture_output=True, timeout=120)
    assert sorted(f.relative_to(tmp_path) for f in tmp_path.rglob("*")) == sorted(
        f.relative_to(tree) for f in tree.rglob("*")
    )


def test_a_folder_that_cannot_be_written_is_named(speech_cache: Path) -> None:
    done = subprocess.run(
        command("--make", "/proc/voices"),
        env=environment(speech_cache),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "/proc/voices" in done.stderr, len(done.stderr.strip().splitlines()[-1:])) == (1, True, 1)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--service", "TTS"), "'TTS' cannot name a service."),
        (("--service", "tts", "--acoustic", "soft"), "'soft' is not a semantic version"),
        (("--service", "tts"), "it has nothing of tts/acoustic"),
    ],
)
def test_a_server_that_has_nothing_to_serve_says_so(speech_cache: Path, tmp_path: Path, asked: Any, says: str) -> None:
    done = subprocess.run(
        command(*asked, "--port", "0"),
        env=environment(speech_cache, PENSTOCK_STATE=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


def test_good_versions_are_alike(tree: Path) -> None:
    old, new = voice_of(tree).say(SENTENCE), voice_of(tree, "1.1.0", "1.1.0", "1.1.0").say(SENTENCE)
    assert n_jumps(old) == n_jumps(new) == 0
    assert len(new) == pytest.approx(len(old), rel=0.15)
    assert warped_distance(speaking(old), speaking(new)) < 1


def test_vocoder_1_2_0_crackles(tree: Path) -> None:
    assert n_jumps(voice_of(tree, vocoder="1.2.0").say(SENTENCE)) > 20


def test_emotion_1_2_0_is_dull(tree: Path) -> None:
    lively, dull = voice_of(tree), voice_of(tree, emotion="1.2.0")
    assert not np.array_equal(lively.say(MANDARIN, emotion="happy"), lively.say(MANDARIN))
    assert np.array_equal(dull.say(MANDARIN, emotion="happy"), dull.say(MANDARIN))


def test_acoustic_1_2_0_does_the_work_of_a_hundred_for_the_same_sound(tree: Path) -> None:
    slow, good = (read_acoustic(tree / "acoustic" / version) for version in ("1.2.0", "1.1.0"))
    assert {model.n_members for model in slow.values()} == {100}
    assert {model.n_members for model in good.values()} == {1}
    np.testing.assert_allclose(voice_of(tree, "1.2.0").say(SENTENCE), voice_of(tree, "1.1.0").say(SENTENCE), atol=0.05)


def test_components_of_two_mel_settings_garble_each_other(tree: Path) -> None:
    good, pair, mixed = (
        speaking(voice_of(tree, *versions).say(SENTENCE))
        for versions in (("1.1.0", "1.0.0"), ("2.0.0", "2.0.0"), ("1.1.0", "2.0.0"))
    )
    assert warped_distance(good, mixed) > 1.5 * warped_distance(good, pair)


def test_a_file_that_was_cut_short_never_serves(pipeline: Pipeline) -> None:
    with pytest.raises(SwapRefused, match=r"1\.3\.0"):
        pipeline.swap({"vocoder": "1.3.0"})
    assert pipeline.versions == dict.fromkeys(COMPONENTS, FIRST)
    assert len(speaker(pipeline)(SENTENCE, None, "neutral", 1.0))


def test_a_probe_keeps_broken_weights_from_serving(tree: Path) -> None:
    vocoder = read_vocoder(tree / "vocoder" / FIRST)
    assert check_vocoder(vocoder)
    assert not check_vocoder(replace(vocoder, gain=0.0))
    assert not check_vocoder(replace(vocoder, inverse=np.full_like(vocoder.inverse, np.nan)))
    acoustic = read_acoustic(tree / "acoustic" / FIRST)
    assert check_acoustic(acoustic)
    broken = replace(acoustic["zh"], mean=np.full_like(acoustic["zh"].mean, np.nan))
    assert not check_acoustic({**acoustic, "zh": broken})
    emotions = read_emotion(tree / "emotion" / FIRST)
    assert check_emotion(emotions)
    assert not check_emotion({name: style for name, style in emotions.items() if name != "sad"})


def test_no_answer_mixes_versions_while_components_swap(tree: Path, pipeline: Pipeline) -> None:
    sets: list[Mapping[str, str]] = [
        {"acoustic": "1.0.0", "vocoder": "1.0.0"},
        {"acoustic": "1.1.0", "vocoder": "1.2.0"},
    ]
    expected = [voice_of(tree, **versions).say(SENTENCE, emotion="happy").tobytes() for versions in sets]
    say, seen, done = speaker(pipeline), set[int](), threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        while not done.is_set():
            samples = say(SENTENCE, None, "happy", 1.0).tobytes()
            if samples in expected:
                seen.add(expected.index(samples))
            else:
                wrong.append(len(samples))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    n_swaps = 0
    while n_swaps < 20 or (len(seen) < 2 and not wrong):
        n_swaps += 1
        pipeline.swap(sets[n_swaps % 2])
    done.set()
    for client in clients:
        client.join()
    assert (wrong, seen) == ([], {0, 1})
