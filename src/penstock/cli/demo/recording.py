"""What the demo keeps of a run: requests as clients saw them, the service as its API told it, the journal, audio.

Plain values. All moments are wall-clock seconds since 1970, of this machine, so that they can be held against the
journal's.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SERVER_ERROR = 500


def now_s() -> float:
    """Return the wall-clock time, seconds since 1970."""
    return time.time()  # noqa: TID251 - an observer's watch: nothing is decided by it


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load.

    Attributes:
        at_s: when the client began to send it, seconds since 1970.
        duration_s: until the last byte of the answer, or until it failed.
        status: HTTP status, 0 when there was no whole answer.
        release: what `X-Penstock-Release` said, empty when nothing did.
        version: the same for `X-Model-Version`.
        fault: the same for `X-Penstock-Fault`.
        user: who asked.
    """

    at_s: float
    duration_s: float
    status: int
    release: str
    version: str
    fault: str
    user: str

    @property
    def failed(self) -> bool:
        """Whether the user got no usable answer: none at all, a server error, or one that the server calls bad."""
        return self.status == 0 or self.status >= _SERVER_ERROR or bool(self.fault)

    @property
    def end_s(self) -> float:
        return self.at_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Sample:
    """The service as its API told it at one moment: `status`, as `penstock status -o json` prints it."""

    at_s: float
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence by one version.

    Attributes:
        version: who spoke.
        kind: `short` or `long`.
        text: what was to be said.
        wav: a whole WAV file, or empty.
        error: why there is none, or empty.
    """

    version: str
    kind: str
    text: str
    wav: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole run of the demo.

    Attributes:
        service: its name.
        stable: the version that served at first.
        requests: in the order in which they ended.
        samples: oldest first.
        journal: entries as `penstock history -o json` prints them, oldest first.
        utterances: what each version made of the same sentences.
        commands: what was run, as a user would type it.
    """

    service: str
    stable: str
    requests: tuple[Request, ...]
    samples: tuple[Sample, ...]
    journal: tuple[Mapping[str, Any], ...]
    utterances: tuple[Utterance, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def start_s(self) -> float:
        """The moment that all times are shown from: the first request."""
        return min(request.at_s for request in self.requests)
