"""Text to phones with espeak-ng, and espeak's own voice with the exact time of each phone, which the training learns from.

The only module that touches espeak-ng (GPL-3, an optional extra). espeak-ng keeps one state per process: a second wrapper
would silently take the first one's audio, so there is one engine behind one lock, reached through `read` and `speak`.
"""

import ctypes
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from .errors import EspeakBroken, EspeakMissing
from .spectra import SAMPLE_RATE

LANGUAGES = {"en": "en-us", "zh": "cmn"}  # ours -> espeak-ng's voice
PAUSE = "_"

# Source: espeak-ng's speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS, espeakINITIALIZE_PHONEME_EVENTS | DONT_EXIT, espeakCHARS_UTF8.
_SYNCHRONOUS = 2
_OPTIONS = 0x8001
_UTF8 = 1
_EVENT_CLAUSE_END = 5
_EVENT_PHONE = 7
_SEPARATE_BY_UNDERSCORE = ord("_") << 8
_TUNES = {"?": "?", "!": "!", ",": ",", "、": ",", ";": ",", ":": ","}
_TONED = re.compile(r"(?P<sound>.*?)(?P<tone>11|214|35|51|55)$")


@dataclass(frozen=True, slots=True)
class Phone:
    """One sound.

    Attributes:
        sound: espeak's phone name without stress and tone; `_` or `_:` is a pause.
        accent: stress (`'` primary, `,` secondary), tone, and place in the clause's melody, as one class name.
        begin: first sample in espeak's own rendering.
        end: sample after the last, > begin.
    """

    sound: str
    accent: str
    begin: int
    end: int

    @property
    def is_pause(self) -> bool:
        return self.sound.startswith(PAUSE)


@dataclass(frozen=True, slots=True)
class Clause:
    """Phones up to and including a pause, and the melody that its punctuation asks for: `.`, `,`, `?` or `!`."""

    phones: tuple[Phone, ...]
    tune: str


class _Event(ctypes.Structure):
    # Source: espeak_EVENT in espeak-ng's speak_lib.h.
    _fields_: ClassVar = [
        ("kind", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_Mark = tuple[int, int, int, str]  # kind, position in the text in characters, sample, phone name


class _Engine:
    """The process's one espeak-ng. Not safe for threads: the module's lock is."""

    def __init__(self) -> None:
        try:
            import espeakng_loader  # noqa: PLC0415 - an optional, GPL-3 dependency: asked for only here
        except ImportError:
            raise EspeakMissing from None
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise EspeakBroken(str(error)) from error
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _OPTIONS)
        if rate != SAMPLE_RATE:
            raise EspeakBroken(f"sample rate {rate} instead of {SAMPLE_RATE}")
        self._chunks: list[bytes] = []
        self._marks: list[_Mark] = []
        self._callback = _Callback(self._collect)  # kept: espeak calls it for as long as the process lives
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(
        self, samples: "ctypes._Pointer[ctypes.c_short]", n_samples: int, events: "ctypes._Pointer[_Event]"
    ) -> int:
        if samples and n_samples > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * n_samples))
        index = 0
        while (event := events[index]).kind:
            if event.kind in {_EVENT_PHONE, _EVENT_CLAUSE_END}:
                name = event.name.decode("utf-8", "replace") if event.kind == _EVENT_PHONE else ""
                self._marks.append((event.kind, event.text_position, event.sample, name))
            index += 1
        return 0

    def speak(self, text: str, language: str) -> tuple[tuple[Clause, ...], bytes]:
        self._chunks.clear()
        self._marks.clear()
        encoded = text.replace("\0", " ").encode("utf-8", "replace")
        self._library.espeak_SetVoiceByName(LANGUAGES[language].encode())
        self._library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None)
        audio = b"".join(self._chunks)
        clauses = tuple(_clauses(self._marks, text, len(audio) // 2))
        if language == "zh":
            clauses = _with_tones(clauses, self._names(encoded))
        return tuple(_with_melody(clause) for clause in clauses), audio

    def _names(self, encoded: bytes) -> list[str]:
        """Phone names with tones, in order, no pauses. (espeak's events carry no tones.)"""
        rest = ctypes.c_char_p(encoded)
        names: list[str] = []
        while rest.value:
            found = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _SEPARATE_BY_UNDERSCORE)
            names += [name for name in re.split(r"[_ |]+", found.decode("utf-8", "replace")) if name and name[0] != "("]
        return names


def _clauses(marks: list[_Mark], text: str, n_samples: int) -> Iterator[Clause]:
    phones: list[Phone] = []
    begin = 0
    ends = [mark[2] for mark in marks[1:]] + [n_samples]
    for (kind, position, _, name), end in zip(marks, ends, strict=True):
        if kind == _EVENT_CLAUSE_END:
            if phones:
                yield Clause(tuple(phones), _tune(text[:position]))
            phones = []
        # A word border or a change of language is no sound: its time (a closure) belongs to the sound that follows.
        elif name and end > begin and not name.startswith((PAUSE + "|", "(")):
            stress = name[0] if name[0] in "'," and len(name) > 1 else ""
            phones.append(Phone(name.removeprefix(stress), stress, begin, end))
            begin = end
    if phones:
        yield Clause(tuple(phones), ".")


def _tune(text: str) -> str:
    """The melody that the last character of `text` asks for. (NFKC makes Chinese full-width punctuation ASCII.)"""
    return _TUNES.get(normalize("NFKC", text.rstrip()[-1:]), ".")


def _with_tones(clauses: tuple[Clause, ...], names: list[str]) -> tuple[Clause, ...]:
    """The same clauses with each vowel's tone in its accent; unchanged where the two readings of the text differ."""
    bare = [name.lstrip("',") for name in names]
    toned = [match.groups() if (match := _TONED.match(name)) else (name, "") for name in bare]
    sounds = [phone.sound for clause in clauses for phone in clause.phones if not phone.is_pause]
    if [sound for sound, _ in toned] != sounds:
        return clauses
    tones = iter(tone for _, tone in toned)
    return tuple(replace(clause, phones=_toned_phones(clause.phones, tones)) for clause in clauses)


def _toned_phones(phones: tuple[Phone, ...], tones: Iterator[str]) -> tuple[Phone, ...]:
    own = ["" if phone.is_pause else next(tones) for phone in phones]
    accents = []
    for index, (phone, tone) in enumerate(zip(phones, own, strict=True)):
        closes_syllable = phone.sound in {"n", "N"} and not any(own[index + 1 : index + 2])
        accents.append(f"{own[index - 1]}+" if closes_syllable and index else phone.accent + tone)
    return tuple(replace(phone, accent=accent) for phone, accent in zip(phones, accents, strict=True))


def _with_melody(clause: Clause) -> Clause:
    """Mark the last stressed sound (the nucleus, where a question rises) and what follows it with the clause's tune."""
    stressed = [index for index, phone in enumerate(clause.phones) if phone.accent == "'"]
    if not stressed:
        return clause
    nucleus = stressed[-1]
    tail = (
        phone
        if phone.is_pause
        else replace(phone, accent=f"{phone.accent}{'tail' if index else 'nucleus'}{clause.tune}")
        for index, phone in enumerate(clause.phones[nucleus:])
    )
    return replace(clause, phones=(*clause.phones[:nucleus], *tail))


_LOCK = threading.Lock()


@cache
def _engine() -> _Engine:
    return _Engine()


def read(text: str, language: str) -> tuple[Clause, ...]:
    """The text's clauses; empty when there is nothing to say in it. `language` is a key of LANGUAGES. Thread-safe.

    Raises EspeakMissing when the extra is not installed.
    """
    return _speak(text, language)[0]


def speak(text: str, language: str) -> tuple[tuple[Clause, ...], NDArray[np.float32]]:
    """As `read`, with espeak's own voice: n_samples, -1..1, SAMPLE_RATE. Thread-safe."""
    clauses, audio = _speak(text, language)
    return clauses, np.divide(np.frombuffer(audio, "<i2"), 32768, dtype=np.float32)


def _speak(text: str, language: str) -> tuple[tuple[Clause, ...], bytes]:
    with _LOCK:
        return _engine().speak(text, language)
