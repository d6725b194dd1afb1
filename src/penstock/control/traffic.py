"""What users asked of one service: counted since the start, and remembered for about a minute."""

import math

from penstock.ports.telemetry import ServiceReading

#: How long shares look back, seconds: long enough for a quiet service, short enough to forget how it began.
_MEMORY_S = 60.0
#: Fewer requests than this say nothing about a share.
_ENOUGH_REQUESTS = 20.0
#: How fast the rate follows, seconds.
_RATE_MEMORY_S = 2.0


class Traffic:
    """Users' requests of one service.

    Attributes:
        n_requests: since this process started; `n_in_rollout`: since the rollout did.
        n_overridden: of these: sent to an arm by header or cookie.
        rate_hz: requests per second now.
    """

    def __init__(self, at_s: float) -> None:
        self.n_requests = 0
        self.n_in_rollout = 0
        self.n_overridden = 0
        self.rate_hz = 0.0
        self._recent = 0.0
        self._recent_anonymous = 0.0
        self._at_s = at_s

    @property
    def anonymous_ratio(self) -> float | None:
        """Share of the last minute's requests without an identity, 0..1; None while there are too few."""
        return self._recent_anonymous / self._recent if self._recent >= _ENOUGH_REQUESTS else None

    def count(self, reading: ServiceReading, at_s: float) -> None:
        """Add what was counted since the last reading."""
        elapsed_s, self._at_s = at_s - self._at_s, at_s
        self.n_requests += reading.n_requests
        self.n_in_rollout += reading.n_requests
        self.n_overridden += reading.n_overridden
        kept = math.exp(-elapsed_s / _MEMORY_S)
        self._recent = self._recent * kept + reading.n_requests
        self._recent_anonymous = self._recent_anonymous * kept + reading.n_anonymous
        if elapsed_s > 0:
            weight = min(elapsed_s / _RATE_MEMORY_S, 1.0)
            self.rate_hz += weight * (reading.n_requests / elapsed_s - self.rate_hz)
