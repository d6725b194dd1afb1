"""Looks at a service through the API a few times a second and keeps what it says: the source of the report's curves."""

import contextlib
import threading
from types import TracebackType
from typing import Any, Self

from penstock.cli.client import Api, service_path
from penstock.cli.demo.recording import Sample, now_s
from penstock.kernel.errors import PenstockError

_EVERY_S = 0.25


class Sampler:
    """Asks for a service's status in a thread, from entering the block to leaving it.

    Attributes:
        samples: what was seen, oldest first. A moment without an answer leaves a gap.
    """

    def __init__(self, api_url: str, service: str) -> None:
        self.samples: list[Sample] = []
        self._api_url = api_url
        self._path = service_path(service)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with Api(self._api_url) as api:
            while not self._stop.wait(_EVERY_S):
                with contextlib.suppress(PenstockError):  # whether the control plane lives is the releases' business
                    self.samples.append(Sample(now_s(), api.fetch(self._path)))


def fetch_journal(api_url: str, service: str) -> tuple[dict[str, Any], ...]:
    """Return the service's journal, oldest first."""
    with Api(api_url) as api:
        return tuple(api.fetch(f"{service_path(service)}/history"))
