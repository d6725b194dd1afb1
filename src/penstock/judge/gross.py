"""The gross-fault rule: a canary that fails without a break, for longer than a stall may last, is condemned.

Gross, over the last 10 s: at least 30 % of the canary's answers bad (5 answers or more), stable below 20 %, and every canary
pod with 2 answers or more at 30 % too. One pod that hangs for S seconds and a version that is broken look the same for S
seconds, so no rule can tell them apart sooner; with more pods an unlucky coincidence is needed, and patience may be
shorter. False verdicts per hour were simulated at 0-0.5 %. This is an assumption about stalls, no theorem.
Source: JUDGE.md 10.3 (rule, table of patience, and its limits).
"""

from collections import deque
from typing import TypeAlias

#: Source for all: JUDGE.md 10.3.
CANARY_RATIO = 0.30
STABLE_RATIO = 0.20
MIN_ANSWERS = 5
MIN_POD_ANSWERS = 2
WINDOW_S = 10.0

#: Patience in longest stalls for 1, 2, 3 and more canary pods: 180, 90, 45, 15 s at 60 s. Source: JUDGE.md 10.3.
_PATIENCE = (3.0, 1.5, 0.75, 0.25)
_MIN_PATIENCE_S = 5.0


#: What one pod answered in one tick: whether canary's, the pod, its answers, and those that were errors or faults.
PodAnswers: TypeAlias = tuple[bool, str, int, int]


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
        self._window: deque[tuple[float, tuple[PodAnswers, ...]]] = deque()
        #: Whether canary -> answers and bad answers within the window; and canary's pods -> the same.
        self._arms = {True: (0, 0), False: (0, 0)}
        self._pods: dict[str, tuple[int, int]] = {}
        self._at_s: float | None = None

    @property
    def condemns(self) -> bool:
        return self.lasted_s >= self.needed_s

    @property
    def canary_ratio(self) -> float | None:
        """Share of bad answers in the window, 0..1; None where the canary is silent."""
        return _ratio(self._arms[True])

    @property
    def stable_ratio(self) -> float | None:
        """The same for stable."""
        return _ratio(self._arms[False])

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
        arms, pods = self._arms, self._pods
        for canary, pod, n, bad in answers:
            if not n:
                continue
            n_before, bad_before = arms[canary]
            arms[canary] = (n_before + sign * n, bad_before + sign * bad)
            if canary:
                n_before, bad_before = pods.get(pod, (0, 0))
                pods[pod] = (n_before + sign * n, bad_before + sign * bad)

    def _is_gross(self, *, needs_stable: bool) -> bool | None:
        """None: unknown."""
        n_canary, bad_canary = self._arms[True]
        n_stable, bad_stable = self._arms[False]
        if n_canary < MIN_ANSWERS or (needs_stable and not n_stable):
            return None
        if bad_canary / n_canary < CANARY_RATIO or (needs_stable and bad_stable / n_stable >= STABLE_RATIO):
            return False
        return all(bad / n >= CANARY_RATIO for n, bad in self._pods.values() if n >= MIN_POD_ANSWERS)


def _ratio(arm: tuple[int, int]) -> float | None:
    n, bad = arm
    return bad / n if n else None
