"""What the trained voice sounds like, as far as numbers can say."""

import io
import threading
import wave

import numpy as np
import pytest

from examples.speech.errors import InvalidRequest, TextTooLong
from examples.speech.espeak import read, speak
from examples.speech.spectra import HOP, SAMPLE_RATE, Floats, istft, log_mel, pitch, stft
from examples.speech.texts import detect_language, load_sentences, load_texts
from examples.speech.voice import MAX_CHARACTERS, Voice, to_pcm, to_wav

ENGLISH = "Could you tell me the way to the nearest station?"
MANDARIN = "今天天气很好, 我们出去走走吧。"
BOTH = pytest.mark.parametrize("text", [ENGLISH, MANDARIN], ids=["english", "mandarin"])


def n_frames(samples: Floats) -> int:
    return len(samples) // HOP


def speaking(samples: Floats) -> Floats:
    """Log-mel frames that are not pauses, each with its own level taken out: what was said, not how loudly."""
    mel = log_mel(samples, n_frames(samples))
    loud = mel[mel.max(axis=1) > mel.max() - 8]
    return np.asarray(loud - loud.mean(axis=1, keepdims=True), np.float32)


def voiced_pitch_hz(samples: Floats) -> Floats:
    """Pitch of the voiced frames; an octave error of the measurement is left out."""
    f0_hz, voiced = pitch(samples, n_frames(samples))
    kept = voiced & (np.abs(np.log(f0_hz / np.median(f0_hz[voiced]))) < 0.4)
    return np.asarray(f0_hz[kept], np.float32)


def last_pitch_hz(samples: Floats) -> float:
    return float(np.median(voiced_pitch_hz(samples)[-5:]))


def warped_distance(one: Floats, other: Floats) -> float:
    """Mean distance along the best path of dynamic time warping, in nepers of power per band."""
    cost = np.sqrt(((one[:, None] - other[None]) ** 2).mean(axis=2))
    total = np.full((len(one) + 1, len(other) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(one)):
        for j in range(len(other)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1]) / (len(one) + len(other))


@BOTH
def test_speech_is_as_long_and_as_high_as_the_voice_it_learned_from(voice: Voice, text: str) -> None:
    samples = voice.say(text)
    _, original = speak(text, detect_language(text))
    assert len(samples) == pytest.approx(len(original), rel=0.15)
    assert 0.3 < pitch(samples, n_frames(samples))[1].mean() < 0.95
    f0_hz = float(np.median(voiced_pitch_hz(samples)))
    assert 70 < f0_hz < 250
    assert f0_hz == pytest.approx(np.median(voiced_pitch_hz(original)), rel=0.15)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_says_the_text_and_not_another_one(voice: Voice, language: str) -> None:
    texts = [text for text in load_texts() if detect_language(text) == language and len(text) in range(8, 32)][:4]
    said = [speaking(voice.say(text)) for text in texts]
    originals = [speaking(speak(text, language)[1]) for text in texts]
    for number, one in enumerate(said):
        distances = [warped_distance(one, original) for original in originals]
        assert int(np.argmin(distances)) == number


def test_a_question_ends_higher_than_a_statement(voice: Voice) -> None:
    assert last_pitch_hz(voice.say("Are you sure?")) > 1.06 * last_pitch_hz(voice.say("You are sure."))


def test_a_level_tone_ends_higher_than_a_falling_one(voice: Voice) -> None:
    assert {phone.accent.strip("'") for clause in read("妈麻马骂", "zh") for phone in clause.phones} == {
        "",
        "55",
        "35",
        "214",
        "51",
    }
    assert last_pitch_hz(voice.say("妈")) > 1.06 * last_pitch_hz(voice.say("骂"))


def test_no_request_of_the_demo_clips_or_is_silent(voice: Voice) -> None:
    for text in load_texts():
        samples = voice.say(text)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() < 1
        assert 0.01 < np.sqrt((samples**2).mean()) < 0.2
        assert 0.3 < len(samples) / SAMPLE_RATE < 60


@BOTH
def test_the_same_request_gives_the_same_samples(voice: Voice, text: str) -> None:
    assert np.array_equal(voice.say(text), voice.say(text))


def test_threads_get_their_own_words(voice: Voice) -> None:
    texts = [text for text in load_texts() if len(text) < 60][:8]
    expected = {text: voice.say(text) for text in texts}
    wrong: list[str] = []

    def check(text: str) -> None:
        wrong.extend(text for _ in range(3) if not np.array_equal(voice.say(text), expected[text]))

    threads = [threading.Thread(target=check, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@BOTH
def test_a_retrained_voice_is_alike_but_not_the_same(voice: Voice, retrained_voice: Voice, text: str) -> None:
    old, new = voice.say(text), retrained_voice.say(text)
    assert len(new) == pytest.approx(len(old), rel=0.15)
    assert not np.array_equal(old, new)


def test_emotion_and_speed_change_the_speech(voice: Voice) -> None:
    neutral, sad, fast = voice.say(ENGLISH), voice.say(ENGLISH, emotion="sad"), voice.say(ENGLISH, speed_ratio=2)
    assert len(sad) > len(neutral)
    assert len(fast) == pytest.approx(len(neutral) / 2, rel=0.15)


def test_language_is_what_the_text_looks_like_unless_told(voice: Voice) -> None:
    assert [detect_language(text) for text in ("Hello", "你好", "Python 很好", "42")] == ["en", "zh", "zh", "en"]
    assert not np.array_equal(voice.say("42"), voice.say("42", language="zh"))


@pytest.mark.parametrize(
    "text", ["Wi-Fi 6, C++ & 你好!", "naïve café", "¡Ñandú!", "a", "1e9", "\0hello", "😀 hello", "我用Python写程序。"]
)
def test_odd_texts_are_spoken(voice: Voice, text: str) -> None:
    assert np.abs(voice.say(text)).max() > 0.01


@pytest.mark.parametrize("text", ["", "   ", "...", "\n"])
def test_nothing_to_say_is_refused(voice: Voice, text: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing to say"):
        voice.say(text)


def test_requests_that_cannot_be_meant_are_refused(voice: Voice) -> None:
    with pytest.raises(TextTooLong, match="4096"):
        voice.say("a" * (MAX_CHARACTERS + 1))
    with pytest.raises(InvalidRequest, match="neutral, happy, sad, angry"):
        voice.say("Hello", emotion="grim")
    with pytest.raises(InvalidRequest, match="en, zh"):
        voice.say("Hello", language="fr")


def test_spectrum_and_back_is_the_same_sound() -> None:
    samples = np.random.default_rng(1).standard_normal(20 * HOP).astype(np.float32)
    inner = slice(4 * HOP, -4 * HOP)
    np.testing.assert_allclose(istft(stft(samples, 20))[inner], samples[inner], atol=1e-4)


def test_white_noise_has_a_level_of_zero_in_every_band() -> None:
    samples = np.random.default_rng(2).standard_normal(400 * HOP).astype(np.float32)
    level = log_mel(samples, 400)[4:-4]
    assert np.abs(np.log(np.exp(level).mean(axis=0))).max() < 0.3


def test_pitch_of_a_known_tone() -> None:
    time_s = np.arange(40 * HOP) / SAMPLE_RATE
    harmonic = np.array([[1.0], [2.0], [3.0]])
    tone = (np.sin(2 * np.pi * 137.0 * harmonic * time_s) / harmonic).sum(axis=0).astype(np.float32)
    f0_hz, voiced = pitch(tone, 40)
    assert voiced[3:-3].all()
    np.testing.assert_allclose(f0_hz[3:-3], 137.0, rtol=0.01)


def test_wav_holds_the_samples_and_cuts_what_is_too_loud() -> None:
    with wave.open(io.BytesIO(to_wav(np.array([0, 0.5, -2], np.float32)))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, -32767]
    assert to_pcm(np.zeros(2, np.float32)) == b"\0\0\0\0"


def test_texts_are_many_and_mixed() -> None:
    texts = load_texts()
    n_mandarin = sum(detect_language(text) == "zh" for text in texts)
    assert len(texts) == len(set(texts)) >= 50
    assert 10 <= n_mandarin <= len(texts) // 2
    assert len(load_sentences("en")) >= 100
    assert len(load_sentences("zh")) >= 45
    assert not set(texts) & {*load_sentences("en"), *load_sentences("zh")}
