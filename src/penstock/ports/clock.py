"""Time comes in through this port."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Laws: `monotonic_s` never falls and does not care when somebody sets the wall clock; `now` is aware UTC and may jump."""

    def now(self) -> datetime: ...

    def monotonic_s(self) -> float: ...
