"""The gross-fault rule: a canary that fails without a break, for longer than a stall may last, is condemned.

Gross, over the last 10 s: at least 30 % of the canary's answers bad (5 answers or more), stable below 20 %, and every canary
pod with 2 answers or more at 30 % too. One pod that hangs for S seconds and a version that is broken look the same for S
seconds, so no rule can tell them apart sooner; with more pods an unlucky coincidence is needed, and patience may be
shorter. False verdicts per hour were simulated at 0-0.5 %. This is an assumption about stalls, no theorem.
Source: JUDGE.md 10.3 (rule, table of patience, and its limits).
"""

from collections import deque
from typing import NamedTuple

#: Source for all: JUDGE.md 10.3.
CANARY_RATIO = 0.30
STABLE_RATIO = 0.20
MIN_ANSWERS = 5
MIN_POD_ANSWERS = 2
WINDOW_S = 10.0

#: Patience in longest stalls for 1, 2, 3 and more canary pods: 180, 90, 45, 15 s at 60 s. Source: JUDGE.md 10.3.
_PATIENCE = (3.0, 1.5, 0.75, 0.25)
_MIN_PATIENCE_S = 5.0


class PodAnswers(NamedTuple):
    """What one pod answered in one tick: `n` answers, `bad` of them errors or faults."""

    canary: bool
    pod: str
    n: int
    bad: int


def patience_s(longest_stall_s: float, n_canary_pods: int) -> float:
    """Return how long failure must be gross without a break to condemn, seconds."""
    return max(_MIN_PATIENCE_S, _PATIENCE[min(max(n_canary_pods, 1), len(_PATIENCE)) - 1] * longest_stall_s)


class GrossRule:
    """Seconds of unbroken gross failure."""

    def __init__(self, *, longest_stall_s: float, n_canary_pods: int) -> None:
        self._window_s = min(WINDOW_S, longest_stall_s)
        #: How long it must last to condemn, seconds.
        self.needed_s = patience_s(longest_stall_s, n_canary_pods)
        #: How long it has lasted, seconds.
        self.lasted_s = 0.0
        #: Share of bad answers in the window, 0..1; None where an arm is silent.
        self.canary_ratio: float | None = None
        self.stable_ratio: float | None = None
        self._window: deque[tuple[float, tuple[PodAnswers, ...]]] = deque()
        #: (canary, pod) -> answers and bad answers within the window.
        self._pods: dict[tuple[bool, str], tuple[int, int]] = {}
        self._at_s: float | None = None

    @property
    def condemns(self) -> bool:
        return self.lasted_s >= self.needed_s

    def observe(self, at_s: float, answers: tuple[PodAnswers, ...], *, needs_stable: bool) -> bool:
        """Add one tick and return whether failure is gross now.

        A window that cannot be judged (too few answers) freezes the count; one that is not gross ends it. Time without
        any tick, longer than the window, does not count as failure.
        """
        elapsed_s = 0.0 if self._at_s is None else at_s - self._at_s
        self._at_s = at_s
        self._window.append((at_s, answers))
        self._count(answers, 1)
        while self._window[0][0] <= at_s - self._window_s:
            self._count(self._window.popleft()[1], -1)
        gross = self._is_gross(needs_stable=needs_stable)
        if gross is False:
            self.lasted_s = 0.0
        elif gross and elapsed_s <= self._window_s:
            self.lasted_s += elapsed_s
        return bool(gross)

    def _count(self, answers: tuple[PodAnswers, ...], sign: int) -> None:
        pods = self._pods
        for canary, pod, n, bad in answers:
            if n:
                n_before, bad_before = pods.get((canary, pod), (0, 0))
                pods[canary, pod] = (n_before + sign * n, bad_before + sign * bad)

    def _is_gross(self, *, needs_stable: bool) -> bool | None:
        """None: unknown."""
        canary_pods: list[tuple[int, int]] = []
        n_canary = bad_canary = n_stable = bad_stable = 0
        for (canary, _), counts in self._pods.items():
            n, bad = counts
            if canary:
                canary_pods.append(counts)
                n_canary += n
                bad_canary += bad
            else:
                n_stable += n
                bad_stable += bad
        self.canary_ratio = bad_canary / n_canary if n_canary else None
        self.stable_ratio = bad_stable / n_stable if n_stable else None
        if n_canary < MIN_ANSWERS or (needs_stable and not n_stable):
            return None
        if needs_stable and self.stable_ratio is not None and self.stable_ratio >= STABLE_RATIO:
            return False
        if self.canary_ratio is None or self.canary_ratio < CANARY_RATIO:
            return False
        return all(bad / n >= CANARY_RATIO for n, bad in canary_pods if n >= MIN_POD_ANSWERS)
