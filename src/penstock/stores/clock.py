"""The machine's clocks."""

import time
from datetime import UTC, datetime


class SystemClock:
    """A ports.Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - the one place where the wall clock enters

    def monotonic_s(self) -> float:
        return time.monotonic()  # noqa: TID251 - the one place where the monotonic clock enters
