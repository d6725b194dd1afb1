"""Which requests may be sent twice: the one rule behind retries in the gateway and replays of recorded requests.

A pattern is `METHOD /path`; a trailing `*` matches any rest, a query never counts: `GET /*`, `POST /v1/audio/speech`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from penstock.kernel.errors import UsageError

#: What may be repeated unless a service says otherwise.
#:
#: - GET and HEAD: safe by definition; what they change, they change once. Source: RFC 9110, sections 9.2.1 and 9.2.2.
#:   Servers that act on a GET (GPT-SoVITS: `/control`, `/set_gpt_weights`) break that rule: list their paths yourself.
#: - POST to the well-known inference calls: a model answers a question and keeps nothing; asking twice costs compute
#:   time only. Source: the published APIs of OpenAI (`/v1/audio/*`, `/v1/embeddings`), Open Inference Protocol
#:   (`/v2/models/*`; loading and unloading live under `/v2/repository`, which is not listed), TensorFlow Serving
#:   (`/v1/models/*`), EmotiVoice (`/synthesize`) and GPT-SoVITS (`/tts`).
#:
#: Chat completions are missing on purpose: their answers may start tools that act.
DEFAULT_REPEATABLE: tuple[str, ...] = (
    "GET /*",
    "HEAD /*",
    "POST /synthesize",
    "POST /tts",
    "POST /v1/audio/speech",
    "POST /v1/audio/transcriptions",
    "POST /v1/embeddings",
    "POST /v1/models/*",
    "POST /v2/models/*",
)

_PATTERN = re.compile(r"(?P<method>[A-Z]+) (?P<path>/[^\s?#*]*)(?P<rest>\*?)")


def as_regex(patterns: Iterable[str]) -> str | None:
    """Return one RE2 expression that matches `METHOD /path?query` as a whole; None where there is no pattern.

    A pattern that is not written as above raises UsageError.
    """
    alternatives = [_alternative(pattern) for pattern in patterns]
    return "|".join(alternatives) or None


def is_repeatable(patterns: Iterable[str], method: str, path: str) -> bool:
    """Whether a request may be sent twice; `path` may carry a query."""
    compiled = _compiled(tuple(patterns))
    return compiled is not None and compiled.fullmatch(f"{method} {path}") is not None


@lru_cache(maxsize=128)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    regex = as_regex(patterns)
    return re.compile(regex, re.DOTALL) if regex else None


def _alternative(pattern: str) -> str:
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        raise UsageError(detail=f"{pattern!r} is not a pattern such as 'POST /synthesize' or 'GET /*'")
    rest = ".*" if found["rest"] else r"(?:\?.*)?"
    return f"{found['method']} {_escaped(found['path'])}{rest}"


def _escaped(path: str) -> str:
    # Only what both RE2 and Python call special; `re.escape` also escapes what needs none.
    return re.sub(r"([.+()\[\]{}|^$\\])", r"\\\1", path)


def paths_by_method(patterns: Iterable[str]) -> list[tuple[str, str]]:
    """Return (method, expression for its paths) pairs that together match what `as_regex` matches."""
    paths: dict[str, list[str]] = {}
    for pattern in patterns:
        method, _, path = _alternative(pattern).partition(" ")
        paths.setdefault(method, []).append(path)
    return [(method, "|".join(alternatives)) for method, alternatives in paths.items()]
